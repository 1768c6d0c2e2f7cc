"""What is wrong in a recorded conversation: how it deviates from the same conversation with an honest server.

`observe` reduces the packets of one server to a dict of deviations, empty if there is none. The requests of a
conversation are numbered from 1; what is wrong with the reply to request 2, at which every fault here aims, has a bare
name, and what is wrong with another one is `reply N: name`. The names:

* of a reply: `transaction`, `protocol`, `length`, `unit`, `function`, `exception`, `body` (the bytes behind the
  function code), `registers` (their values as tshark decodes them), each with its value; `tshark`, with what it
  remarks; `unpaired`, if it finds no request for a normal reply; `segments`, with their sizes, if it came in several;
  `late`; `missing`;
* of what answers no request: `unasked` and `repeated`, with the bytes or the number of the reply, and where it was;
  `order`, with the numbers of the replies as they came;
* of the conversation: `unsaid`, with the numbers of requests that were never sent;
* of the connection: `fin` and `rst`, with the number of requests before it, as the server's word; `dead`: a request
  behind its FIN was answered by a reset, because nobody has the connection any more; `refused`: an attempt to connect
  was; `zero window`; `held until`, with the marker that lies between a request and its reply.

A reply, an end or a frame is late from `LATE` seconds on after whatever came last. An honest server could be so slow
only on a machine that stood still, so that nothing here depends on how quick it is.
"""

import dataclasses
import functools
import itertools
import pathlib
import struct
import tempfile

import capture
from recording import read

TARGET = 2
LATE = 2.5


@dataclasses.dataclass
class Observation:
    """What was seen of one server."""

    deviations: dict
    """Names and values."""
    waits: dict
    """How many seconds after request 2 each thing came: `reply 2` and so on, each of `unasked` and `repeated`, each
    piece of what has several (`segments`), `fin` and `rst`."""


def observe(packets, port, honest):
    """What is seen of the server on this port. `honest` has the replies that are due, by transaction."""
    seen, streams, asked = Observation({}, {}), {}, set()
    for packet in packets:
        if packet.marker is not None:
            about, _, text = packet.marker.partition(" ")
            for stream in streams.values() if about == str(port) else ():
                stream.append(dataclasses.replace(packet, marker=text))
        elif port in (packet.source, packet.target):
            streams.setdefault(packet.stream, []).append(packet)
    for stream in streams.values():
        _Stream(port, honest, asked, seen).see(stream)
    unsaid = tuple(number for number, transaction in enumerate(honest, 1) if transaction not in asked)
    if unsaid:
        seen.deviations["unsaid"] = unsaid
    return seen


def replies(packets, port):
    """The replies of an honest server, by transaction."""
    return {_number(frame, "mbtcp.trans_id"): frame
            for packet in packets if packet.source == port for frame in packet.frames}


class _Turn:
    """Some requests in one segment, and all that the server sent until the next."""

    def __init__(self, packet, due):
        self.time, self.requests, self.due = packet.time, packet.payload, due
        self.segments, self.marker = [], None

    def add(self, packet):
        """Adds a segment at its place in the stream."""
        self.segments.append(packet)
        self.segments.sort(key=lambda segment: segment.sequence)


class _Stream:
    """One connection."""

    def __init__(self, port, honest, asked, seen):
        self.port, self.honest, self.deviations, self.waits = port, honest, seen.deviations, seen.waits
        self.order = list(honest)
        self.said, self.asked, self.turns, self.quiet_since, self.begun = asked, [], [], 0.0, None
        self.passed = set()
        self.opened = self.client_ended = self.server_ended = False

    def note(self, name, value=True):
        self.deviations[name] = value

    def see(self, packets):
        for packet in packets:
            if packet.marker is not None:
                if self.turns and not self.turns[-1].segments:
                    self.turns[-1].marker = packet.marker
            elif packet.payload and (packet.source, packet.sequence) in self.passed:
                pass  # sent once more because it was not acknowledged in time
            elif packet.source == self.port:
                self._server(packet)
            else:
                self._client(packet)
            if packet.payload:
                self.passed.add((packet.source, packet.sequence))
        for turn in self.turns:
            self._judge(turn)

    def _client(self, packet):
        if packet.payload:
            transactions = dict.fromkeys(_number(frame, "mbtcp.trans_id") for frame in packet.frames if frame.fields)
            due = [transaction for transaction in transactions if transaction not in self.asked]
            self.asked += due
            self.said.update(due)
            if self.order[TARGET - 1] in due:
                self.begun = packet.time
            self.turns.append(_Turn(packet, due))
        if packet.flags & {"fin", "reset"}:
            self.client_ended = True
        if packet.payload or packet.flags & {"syn", "fin"}:
            self.quiet_since = packet.time

    def _server(self, packet):
        late = packet.time - self.quiet_since >= LATE
        if "reset" in packet.flags:
            if not self.opened:
                self.note("refused")
            elif self.server_ended:
                self.note("dead")
            else:
                self._ended("rst", packet, late)
            return
        self.opened |= "syn" in packet.flags
        if packet.zero_window:
            self.note("zero window")
        if packet.payload:
            if not self.turns:
                self.turns.append(_Turn(packet, []))
            self.turns[-1].add(packet)
        if "fin" in packet.flags:
            if not self.client_ended:
                self._ended("fin", packet, late)
            self.server_ended = True
        if packet.payload or packet.flags & {"syn", "fin"}:
            self.quiet_since = packet.time

    def _ended(self, how, packet, late):
        self.note(how, len(self.asked))
        self._came(how, packet.time)
        if late:
            self.note(f"{how} late")

    def _came(self, what, *times):
        if self.begun is not None:
            self.waits.setdefault(what, []).extend(time - self.begun for time in times)

    def _judge(self, turn):
        """Finds for each reply that is due what came instead."""
        came = list(_arrivals(turn))
        matched = {}
        for at, arrival in enumerate(came):
            same = next((due for due in turn.due if due not in matched.values()
                         and _told(self.honest[due]) == _told(arrival.frame)), None)
            if same is not None:
                matched[at] = same
        spare = [due for due in turn.due if due not in matched.values()]
        for at, arrival in enumerate(came):
            if at not in matched and spare and not self._is_repeated(arrival):
                matched[at] = spare.pop(0)
        numbers = [self._place(due) for due in matched.values()]
        if turn.marker and came:
            self.note("held until", turn.marker)
        came_in_order = [self._place(matched[at]) for at in sorted(matched)]
        if came_in_order != sorted(numbers):
            self.note("order", tuple(came_in_order))
        for due in spare:
            self.note(self._name(due, "missing"))
        before = turn.time
        for at, arrival in enumerate(came):
            if at in matched:
                due = matched[at]
                what, name = f"reply {self._place(due)}", functools.partial(self._name, due)
                for difference, value in _differences(self.honest[due], arrival.frame):
                    self.note(name(difference), value)
            else:
                what, name = self._surplus(arrival, before_all=not any(other < at for other in matched))
            self._came(what, arrival.times[-1])
            if len(arrival.sizes) > 1:
                self.note(name("segments"), arrival.sizes)
                self._came(name("segments"), *arrival.times)
            if arrival.times[-1] - before >= LATE:
                self.note(name("late"))
            before = arrival.times[-1]

    def _surplus(self, arrival, before_all):
        place = "before" if before_all else "after"
        again = self._is_repeated(arrival)
        kind, value = ("repeated", again) if again else ("unasked", arrival.frame.raw.hex())
        self.deviations.setdefault(kind, []).append((place, value))
        return kind, f"{kind} {{}}".format

    def _is_repeated(self, arrival):
        """The number of the reply that this one is, among those asked for."""
        return next((self._place(due) for due in self.asked if _told(self.honest[due]) == _told(arrival.frame)), None)

    def _place(self, due):
        return self.order.index(due) + 1

    def _name(self, due, what):
        place = self._place(due)
        return what if place == TARGET else f"reply {place}: {what}"


class _Arrival:
    """A frame with the sizes and times of the segments that it came in."""

    def __init__(self, frame, sizes, times):
        self.frame, self.sizes, self.times = frame, sizes, times


def _arrivals(turn):
    """The frames of a turn. Segments that tshark cannot read by themselves are joined with their neighbours."""
    for sound, run in itertools.groupby(turn.segments, _is_sound):
        segments = list(run)
        if sound or len(segments) == 1:
            for segment in segments:
                for frame in segment.frames:
                    yield _Arrival(frame, (len(frame.raw),), (segment.time,))
        else:
            yield from _joined(turn, segments)


def _is_sound(segment):
    return all(frame.fields and not frame.remark for frame in segment.frames)


def _joined(turn, segments):
    begin = 0
    for frame in _read_joined(turn.requests, b"".join(segment.payload for segment in segments)):
        end, at, sizes, times = begin + len(frame.raw), 0, [], []
        for segment in segments:
            shared = min(end, at + len(segment.payload)) - max(begin, at)
            if shared > 0:
                sizes.append(shared)
                times.append(segment.time)
            at += len(segment.payload)
        yield _Arrival(frame, tuple(sizes), tuple(times))
        begin = end


def _read_joined(requests, replies):
    joined = capture.Capture()
    joined.add(0, capture.TO_SERVER, requests)
    joined.add(0, capture.FROM_SERVER, replies)
    with tempfile.TemporaryDirectory(prefix="wharf-joined-") as folder:
        file = pathlib.Path(folder) / "joined.pcap"
        file.write_bytes(joined.pcap())
        packets = read(file, [capture.PORT])
    return [frame for packet in packets if packet.source == capture.PORT for frame in packet.frames]


def _told(frame):
    """What makes two frames the same: not when they came, nor with which request tshark pairs them."""
    return frame.raw, frame.remark


_HEADER = {"transaction": "mbtcp.trans_id", "protocol": "mbtcp.prot_id", "length": "mbtcp.len", "unit": "mbtcp.unit_id",
           "function": "modbus.func_code", "exception": "modbus.exception_code"}


def _view(frame):
    """What the names of the module docs stand for in one reply."""
    if not frame.fields:
        # tshark has no fields for it, so what would be in their places is read here.
        transaction, protocol, length, unit, function = struct.unpack(">HHHBB", frame.raw[:8])
        return {"transaction": transaction, "protocol": protocol, "length": length, "unit": unit, "function": function,
                "body": frame.raw[8:].hex(), "tshark": frame.remark or "not Modbus"}
    view = {name: _number(frame, field) for name, field in _HEADER.items() if field in frame.fields}
    if "exception" not in view:
        view["body"] = frame.raw[8:].hex()
        view["registers"] = tuple(int(value, 0) for value in frame.fields.get("modbus.regval_uint16", ()))
        view["unpaired"] = "modbus.request_frame" not in frame.fields
    view["tshark"] = frame.remark
    return view


def _differences(due, got):
    """(name, value) of everything in which a reply is not the one that is due."""
    if len(got.raw) < 8:
        yield "cut to", got.raw.hex()
        return
    expected, actual = _view(due), _view(got)
    for name in {**expected, **actual}:
        # An exception has no body and no registers, and tshark names no request for it.
        if name in actual and actual[name] != expected.get(name):
            yield name, actual[name]


def _number(frame, field):
    value, = frame.fields[field]
    return int(value, 0)
