"""What a capture of a client must show, when tshark decodes it: sound replies, each paired with its request, and values
that a plain store would have held.

The store here is a dict for each table, filled from the plant file; it knows nothing of Wharf but that file. A write
takes effect when its normal reply is seen, which is before any request that its client sends afterwards.
"""

import struct
import tomllib

from capture import FROM_SERVER, PORT

COILS, DISCRETE, INPUT, HOLDING = "coils", "discrete", "input", "holding"
READS = {1: COILS, 2: DISCRETE, 3: HOLDING, 4: INPUT}


class Store:
    """The tables of every unit of one server."""

    def __init__(self, units):
        self.units = units

    @classmethod
    def of_plant(cls, path):
        """What a plant file says; every unit in it must name its blocks."""
        server, = tomllib.loads(path.read_text())["modbus"]["server"]
        units = {}
        for unit in server["unit"]:
            tables = units[unit["id"]] = {COILS: {}, DISCRETE: {}, INPUT: {}, HOLDING: {}}
            for block in unit["block"]:
                values = block.get("values", [])
                if "bits" in block:
                    values = _bits(bytes.fromhex(block["bits"]))
                values = dict(enumerate(values))
                for entry in range(block["len"]):
                    tables[block["table"]][block["start"] + entry] = values.get(entry, block.get("default", 0))
        return cls(units)

    @classmethod
    def zeroed(cls, units, size):
        """What `serve` has without a plant."""
        return cls({unit: {table: dict.fromkeys(range(size), 0) for table in (COILS, DISCRETE, INPUT, HOLDING)}
                    for unit in units})


def check(capture, store):
    """(what, why not) of each thing that the capture must show; `why not` is None where it does."""
    rows = capture.rows()
    replies = [row for row in rows if row["tcp.srcport"] == [str(PORT)]]
    requests = {row["frame.number"][0]: row for row in rows if row["tcp.srcport"] != [str(PORT)]}
    return [
        (f"tshark finds none of {len(replies)} replies malformed", malformed(capture, replies)),
        ("tshark pairs every reply with its request", unpaired(replies, requests)),
        ("the values that tshark decodes are the store's", _strange(replies, requests, store)),
    ]


def malformed(capture, replies):
    """Why some reply is not sound, or None."""
    bad = [row["frame.number"][0] for row in replies if row["_ws.malformed"]]
    sent = capture.frames(FROM_SERVER)
    decoded = sum(len(row["mbtcp.trans_id"]) for row in replies)
    if bad:
        return f"packets {bad[:10]} are malformed"
    if not sent or decoded != sent:
        return f"{decoded} replies are decoded, {sent} were sent"
    return None


def unpaired(replies, requests):
    """Why some reply has no request of its own, or None.

    tshark names the request of a normal reply; that of an exception is the last one open with the same transaction. A
    client that means to be refused may send what tshark cannot read.
    """
    answered = set()
    for reply in replies:
        number = reply["frame.number"][0]
        if reply["modbus.exception_code"]:
            before = (str(earlier) for earlier in range(int(number) - 1, 0, -1))
        else:
            before = reply["modbus.request_frame"]
        asked = next((found for found in before if found in requests and found not in answered
                      and _pair(requests[found], reply)), None)
        if asked is None:
            return f"packet {number} answers request {reply['modbus.request_frame']}"
        answered.add(asked)
    return None


def _pair(request, reply):
    fields = ("mbtcp.trans_id", "mbtcp.unit_id", "modbus.func_code")
    return request["tcp.stream"] == reply["tcp.stream"] and (
        bool(request["_ws.malformed"]) or all(request[field] == reply[field] for field in fields))


def _strange(replies, requests, store):
    """Why some value is not the store's, or None."""
    compared = 0
    for reply in replies:
        request = requests.get((reply["modbus.request_frame"] or [""])[0])
        if request is None or reply["modbus.exception_code"]:
            continue
        function = _number(reply, "modbus.func_code")
        tables = store.units.get(_number(reply, "mbtcp.unit_id"))
        if tables is None or function not in _EFFECTS:
            continue
        for address, got, expected in _EFFECTS[function](tables, request, reply):
            compared += 1
            if got != expected:
                return (f"packet {reply['frame.number'][0]}, function {function}: {address} is {got}, "
                        f"expected {expected}")
    return None if compared else "no value was compared"


def _read_bits(tables, request, reply):
    table = tables[READS[_number(request, "modbus.func_code")]]
    count = _number(request, "modbus.bit_cnt")
    decoded = zip(reply["modbus.bitnum"], reply["modbus.bitval"])
    found = {int(address): int(value) for address, value in decoded}
    start = _number(request, "modbus.reference_num")
    return [(address, found.get(address), table[address]) for address in range(start, start + count)]


def _read_registers(tables, request, reply):
    table = tables[READS[_number(request, "modbus.func_code")]]
    found = {int(address): int(value) for address, value in zip(reply["modbus.regnum16"], reply["modbus.regval_uint16"])}
    start, count = _number(request, "modbus.reference_num"), _number(request, "modbus.word_cnt")
    return [(address, found.get(address), table[address]) for address in range(start, start + count)]


def _write_one(tables, request, reply):
    address, (word,) = _number(request, "modbus.reference_num"), _words(request)
    if _number(request, "modbus.func_code") == 5:
        tables[COILS][address] = int(word == 0xFF00)
    else:
        tables[HOLDING][address] = word
    return [(address, (_number(reply, "modbus.reference_num"), _words(reply)), (address, [word]))]


def _write_bits(tables, request, reply):
    start, count = _number(request, "modbus.reference_num"), _number(request, "modbus.bit_cnt")
    bits = _bits(bytes.fromhex("".join(request["modbus.data"])))[:count]
    tables[COILS].update(enumerate(bits, start))
    return [(start, (_number(reply, "modbus.reference_num"), _number(reply, "modbus.bit_cnt")), (start, len(bits)))]


def _write_registers(tables, request, reply):
    start, words = _number(request, "modbus.reference_num"), [int(word) for word in request["modbus.regval_uint16"]]
    tables[HOLDING].update(enumerate(words, start))
    return [(start, (_number(reply, "modbus.reference_num"), _number(reply, "modbus.word_cnt")), (start, len(words)))]


def _mask(tables, request, reply):
    fields = ("modbus.reference_num", "modbus.and_mask", "modbus.or_mask")
    address, keep, take = (_number(request, field) for field in fields)
    tables[HOLDING][address] = tables[HOLDING][address] & keep | take & ~keep
    return [(address, tuple(_number(reply, field) for field in fields), (address, keep, take))]


def _read_write(tables, request, reply):
    tables[HOLDING].update(enumerate(_words(request), _number(request, "modbus.write_reference_num")))
    start, count = _number(request, "modbus.read_reference_num"), _number(request, "modbus.read_word_cnt")
    return [(start, _words(reply), [tables[HOLDING][address] for address in range(start, start + count)])]


_EFFECTS = {1: _read_bits, 2: _read_bits, 3: _read_registers, 4: _read_registers, 5: _write_one, 6: _write_one,
            15: _write_bits, 16: _write_registers, 22: _mask, 23: _read_write}


def _number(row, field):
    value, = row[field]
    return int(value, 0)


def _words(row):
    data = bytes.fromhex("".join(row["modbus.data"]))
    return list(struct.unpack(f">{len(data) // 2}H", data))


def _bits(packed):
    return [byte >> bit & 1 for byte in packed for bit in range(8)]
