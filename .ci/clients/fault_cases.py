"""Every kind of fault, in its modes, and what a capture of it must show: these deviations and no other.

A deviation is expected with its value, as `deviations.py` defines it, or with a function that says whether a value will
do, where the server draws it at random. What follows from a fault is listed too: tshark pairs no reply that has another
transaction, unit or function with its request, and reads no registers where the byte count is not that of the frame.
"""

import dataclasses

from fault_conversation import ONE_BY_ONE, TOGETHER, UNTIL_THE_END, WRITING, Conversation

# The honest reply to the second request of ONE_BY_ONE and TOGETHER, behind its function code; and its length.
BODY = bytes.fromhex("0410031004")
SIZE = 13
_CLOCKS = 0.999
"""The times of a capture are from the clock that is set now and then, those of the server are not."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A fault, how the client talks, and what shows."""

    fault: str
    """Its parameters, as in a plant."""
    shows: dict
    conversation: Conversation = ONE_BY_ONE
    size: int | None = None
    """How many bytes the server sends between the second turn and the next, if not those of the honest reply."""
    waits: dict = dataclasses.field(default_factory=dict)
    """What is never early: the n-th thing of this name comes at least n times so many seconds after request 2."""
    linger: str = "0"
    """That of the server. With none, closed is closed: whoever comes after its FIN is told by a reset."""
    script: str = "talk"
    """How the client goes about it: a function of `fault_captures.py`."""

    @property
    def name(self):
        return self.fault.replace(f'kind = "{self.kind}"', self.kind) or f"nothing, {self.conversation.name}"

    @property
    def kind(self):
        return self.fault.split('"')[1] if self.fault else "none"


def unexpected(case, observation):
    """Everything in which an observation is not what a case must show, as texts."""
    seen = observation.deviations
    wrong = [f"no {name}" for name in case.shows if name not in seen]
    for name, value in seen.items():
        if name not in case.shows:
            wrong.append(f"{name} is {value!r}, and should not be")
            continue
        expected = case.shows[name]
        if not (expected(value) if callable(expected) else expected == value):
            wrong.append(f"{name} is {value!r}" + ("" if callable(expected) else f", expected {expected!r}"))
    for name, least in case.waits.items():
        for nth, elapsed in enumerate(observation.waits.get(name, []), 1):
            if elapsed < nth * least * _CLOCKS:
                wrong.append(f"{name}: {nth} after {elapsed} s, but {nth * least} s is the earliest")
    return wrong


def any_but(*values):
    return lambda value: value not in values


def anything(_):
    return True


def _changed(places, bits=None):
    """A body in which all these bytes are altered, by so many bits each, and no other is."""
    def check(value):
        altered = [a ^ b for a, b in zip(bytes.fromhex(value), BODY)]
        return len(value) == 2 * len(BODY) and {at for at, bit in enumerate(altered) if bit} == set(places) and all(
            bits in (None, bit.bit_count()) for bit in altered if bit)
    return check


def _somewhere(value):
    """One bit of a body is altered."""
    return any(_changed([place], 1)(value) for place in range(len(BODY)))


def _longer_by(count):
    return lambda value: value.startswith(BODY.hex()) and len(value) == 2 * (len(BODY) + count)


def _registers(*values):
    return {"registers": values}


UNPAIRED = {"unpaired": True}
NO_REGISTERS = _registers()
NOT_MODBUS = {"tshark": "not Modbus"}
MALFORMED = {"tshark": "malformed"}
INCOMPLETE = {"tshark": "unreassembled"}
MISSING = {"missing": True}
THIRD_MISSING = {"reply 3: missing": True}
# The third request finds nobody: the connection was closed, by FIN and on both sides.
FIN = {"fin": 2, "dead": True, **THIRD_MISSING}
RST = {"rst": 2, "unsaid": (3,)}
OLD_VALUES = {"reply 3: body": BODY.hex(), "reply 3: registers": (0x1003, 0x1004)}
# Longer than what the checker calls late.
SPAN = 3.0
LONG = f'"{SPAN:g}s"'



ON_THE_REPLY = [
    Case('kind = "no_response"', MISSING, TOGETHER, 11),
    Case('kind = "no_response", execute = true', MISSING, WRITING, 0),
    Case('kind = "no_response", execute = false', {**MISSING, **OLD_VALUES}, WRITING, 0),
    Case('kind = "exception"', {"length": 3, "exception": 4}, size=9),
    Case('kind = "exception", code = 6', {"length": 3, "exception": 6, **OLD_VALUES}, WRITING, 9),
    Case('kind = "exception", code = 11, execute = true', {"length": 3, "exception": 11}, WRITING, 9),
    Case('kind = "wrong_count"', {"length": 5, "body": "021003", **_registers(0x1003)}, size=11),
    Case('kind = "wrong_count", count = 4',
         {"length": 11, "body": "081003100410051006", **_registers(0x1003, 0x1004, 0x1005, 0x1006)}, size=17),

    Case('kind = "wrong_function"', {"function": 4, **UNPAIRED}),
    Case('kind = "wrong_function", mode = "fixed", value = 0x63', {"function": 0x63, **NO_REGISTERS, **UNPAIRED}),
    Case('kind = "wrong_function", mode = "random"',
         {"function": lambda value: value in range(1, 128) and value != 3, "registers": anything, **UNPAIRED}),
    Case('kind = "wrong_function", mode = "swap_rw"', {"function": 16, **NO_REGISTERS, **UNPAIRED}),
    Case('kind = "corrupt"', {"body": _somewhere, "registers": any_but((0x1003, 0x1004))}),
    Case('kind = "corrupt", offset = 2', {"body": _changed([2], 1), "registers": any_but((0x1003, 0x1004))}),
    Case('kind = "corrupt", mode = "set", offset = 1, value = 0xEE',
         {"body": "04ee031004", **_registers(0xEE03, 0x1004)}),
    Case('kind = "corrupt", mode = "random", offset = 3, count = 2',
         {"body": _changed([3, 4]), "registers": lambda value: value[:1] == (0x1003,) and value[1:] != (0x1004,)}),
    Case('kind = "truncate"', {"length": 2, "body": "", **NO_REGISTERS, **MALFORMED}, size=8),
    Case('kind = "truncate", relength = false', {"body": "", **NO_REGISTERS, **INCOMPLETE}, size=8),
    Case('kind = "truncate", mode = "fixed_bytes", bytes = 4',
         {"length": 5, "body": "041003", **NO_REGISTERS}, size=11),
    Case('kind = "truncate", mode = "percentage", percentage = 0.5',
         {"length": 4, "body": "0410", **NO_REGISTERS}, size=10),
    Case('kind = "truncate", mode = "remove_last", bytes = 1',
         {"length": 6, "body": "04100310", **NO_REGISTERS}, size=12),
    Case('kind = "truncate", mode = "remove_last", bytes = 1, relength = false',
         {"body": "04100310", **NO_REGISTERS, **INCOMPLETE}, size=12),
    Case('kind = "extra"', {"length": 11, "body": _longer_by(4), **NO_REGISTERS}, size=17),
    Case('kind = "extra", mode = "append", bytes = [1, 2]',
         {"length": 9, "body": "04100310040102", **NO_REGISTERS}, size=15),
    Case('kind = "extra", mode = "append", bytes = [1, 2], relength = false',
         {"unasked": [("after", "0102")]}, size=15),
    Case('kind = "extra", mode = "duplicate_last", count = 3',
         {"length": 10, "body": "0410031004040404", **NO_REGISTERS}, size=16),

    Case('kind = "wrong_unit"', {"unit": 2, **UNPAIRED}),
    Case('kind = "wrong_unit", mode = "fixed"', {"unit": 255, **UNPAIRED}),
    Case('kind = "wrong_unit", mode = "random"', {"unit": any_but(1), **UNPAIRED}),
    Case('kind = "wrong_unit", mode = "swap"', {"unit": 254, **UNPAIRED}),
    Case('kind = "wrong_transaction"', {"transaction": 0x0A21, **UNPAIRED}),
    Case('kind = "wrong_transaction", mode = "fixed"', {"transaction": 0xFFFF, **UNPAIRED}),
    Case('kind = "wrong_transaction", mode = "random"', {"transaction": any_but(0x0A20), **UNPAIRED}),
    Case('kind = "wrong_transaction", mode = "swap_bytes"', {"transaction": 0x200A, **UNPAIRED}),
    Case('kind = "wrong_protocol"', {"protocol": 1, **NOT_MODBUS}),
    Case('kind = "wrong_protocol", value = 0xBEEF', {"protocol": 0xBEEF, **NOT_MODBUS}),
    Case('kind = "wrong_length"', {"length": 8, **NO_REGISTERS, **INCOMPLETE}),
    # tshark believes the length: two bytes belong to no frame.
    Case('kind = "wrong_length", value = -2',
         {"length": 5, "body": "041003", **NO_REGISTERS, "unasked": [("after", "1004")]}),
    Case('kind = "wrong_length", mode = "fixed", value = 300', {"length": 300, **NO_REGISTERS, **INCOMPLETE}),
    Case('kind = "wrong_length", mode = "fixed", value = 0', {"length": 0, **NOT_MODBUS}),

    Case(f'kind = "delay", delay = {LONG}', {"late": True}, waits={"reply 2": SPAN}),
    # The third reply waits behind the second.
    Case(f'kind = "delay", delay = {LONG}, jitter = "100ms"', {"late": True}, TOGETHER, waits={"reply 2": SPAN}),
    Case('kind = "duplicate"', {"repeated": [("after", 2)]}, size=2 * SIZE),
    Case('kind = "duplicate", copies = 2, gap = "30ms"', {"repeated": [("after", 2)] * 2}, size=3 * SIZE,
         waits={"repeated": 0.03}),
    Case('kind = "reorder", wait = "1m"', {"order": (3, 2)}, TOGETHER),
    # Two replies would have to overtake it, and there is one.
    Case(f'kind = "reorder", behind = 2, wait = {LONG}',
         {"order": (3, 2), "late": True}, TOGETHER, waits={"reply 2": SPAN}),
    Case('kind = "unsolicited"', {"unasked": [("after", "ffff000000070103" + BODY.hex())]}, size=2 * SIZE),
    Case('kind = "unsolicited", when = "before", transaction = 0x0A99',
         {"unasked": [("before", "0a99000000070103" + BODY.hex())]}, size=2 * SIZE),
    Case('kind = "unsolicited", bytes = [0xDE, 0xAD]', {"unasked": [("after", "dead")]}, size=SIZE + 2),
    Case(f'kind = "unsolicited", when = "idle", idle = {LONG}, bytes = [0xDE, 0xAD]',
         {"unasked": [("after", "dead")], "unasked late": True}, size=SIZE + 2, waits={"unasked": SPAN}),
    Case('kind = "split"', {"segments": (7, 6)}, waits={"segments": 0.02}),
    Case('kind = "split", at = [3, 8], gap = "30ms"', {"segments": (3, 5, 5)}, waits={"segments": 0.03}),
    Case('kind = "dribble"', {"segments": (1,) * SIZE}, waits={"segments": 0.005}),
    Case('kind = "dribble", chunk = 5, gap = "10ms"', {"segments": (5, 5, 3)}, waits={"segments": 0.01}),
]

ON_THE_CONNECTION = [
    Case('kind = "close"', FIN, size=UNTIL_THE_END),
    Case('kind = "close", how = "rst"', RST, size=UNTIL_THE_END),
    Case('kind = "close", when = "before"', {**MISSING, **FIN}, size=UNTIL_THE_END),
    Case('kind = "close", when = "before", how = "rst"', {**MISSING, **RST}, size=UNTIL_THE_END),
    Case(f'kind = "close", delay = {LONG}', {**FIN, "fin late": True}, size=UNTIL_THE_END, waits={"fin": SPAN}),
    Case('kind = "cut_frame"', {"cut to": "0a200000", **FIN}, size=UNTIL_THE_END, waits={"fin": 0.05}),
    Case('kind = "cut_frame", bytes = 9, how = "rst"', {"body": "04", **NO_REGISTERS, **INCOMPLETE, **RST},
         size=UNTIL_THE_END),
    Case('kind = "half_close"', {"fin": 2, **THIRD_MISSING}, size=UNTIL_THE_END),
    Case(f'kind = "stop_reading", for = {LONG}', {"reply 3: late": True}, waits={"reply 3": SPAN}),
    Case(f'kind = "stop_reading", for = {LONG}, then = "close"',
         {**THIRD_MISSING, "zero window": True, "fin": 3, "fin late": True},
         script="flood", waits={"fin": SPAN}, linger="10s"),
    Case(f'kind = "stop_reading", for = {LONG}, then = "reset"',
         {**THIRD_MISSING, "zero window": True, "rst": 3, "rst late": True}, script="flood", waits={"rst": SPAN}),
    Case(f'kind = "hold_open", for = {LONG}', {**THIRD_MISSING, "fin": 3, "fin late": True}, waits={"fin": SPAN}),
    Case(f'kind = "hold_open", for = {LONG}, then = "reset"',
         {**THIRD_MISSING, "rst": 3, "rst late": True}, waits={"rst": SPAN}),
    Case('kind = "accept_close", max = 1', {"rst": 0}, script="turned away"),
    Case('kind = "accept_close", max = 1, how = "fin"', {"fin": 0}, script="turned away"),
    Case('kind = "stall_accept", enabled = false', {"held until": "lifted"}, script="kept waiting"),
    Case('kind = "refuse", enabled = false', {"refused": True}, script="refused"),
]

FAULTS = ON_THE_REPLY + ON_THE_CONNECTION
# Those that say what is due, and those that are judged.
HONEST = [Case("", {}, conversation) for conversation in (ONE_BY_ONE, TOGETHER, WRITING)]
CASES = HONEST + FAULTS
