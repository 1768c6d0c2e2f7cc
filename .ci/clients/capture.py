"""Conversations as captures: recorded by a relay, or made from bytes, and decoded by tshark. No privileges are needed.

A `Tap` relays connections to a server and keeps what passes, in an order in which no reply comes before its request. A
`Capture` is a list of such pieces that can be written as a pcap file and given to tshark, whose decoding comes back as
rows. Frames are laid into segments of their own, so that a row is a frame; a stream whose frames cannot be told apart is
laid in as it came.
"""

import os
import pathlib
import socket
import struct
import subprocess
import tempfile
import threading

TO_SERVER, FROM_SERVER = 0, 1
PORT = 502
"""The port of the server in every capture."""
_CLIENT_PORT = 20_000
_SEGMENT = 60_000
_SYN, _ACK, _FIN, _PSH = 0x02, 0x10, 0x01, 0x08

# What a row has, each a list of texts.
FIELDS = (
    "frame.number", "tcp.stream", "tcp.srcport", "_ws.malformed", "mbtcp.trans_id", "mbtcp.unit_id", "mbtcp.prot_id",
    "mbtcp.len", "modbus.func_code", "modbus.exception_code", "modbus.request_frame", "modbus.reference_num",
    "modbus.bit_cnt", "modbus.word_cnt", "modbus.byte_cnt", "modbus.regnum16", "modbus.regval_uint16", "modbus.bitnum",
    "modbus.bitval", "modbus.data", "modbus.and_mask", "modbus.or_mask", "modbus.read_reference_num",
    "modbus.read_word_cnt", "modbus.write_reference_num", "modbus.write_word_cnt", "modbus.object_str_value",
)


class Capture:
    """Pieces of conversations: (connection, direction, bytes), where None for bytes is the end of that direction."""

    def __init__(self):
        self.pieces = []

    def add(self, connection, direction, data):
        self.pieces.append((connection, direction, data))

    def rows(self):
        """What tshark makes of it: a dict of `FIELDS` for each packet with Modbus in it."""
        with tempfile.TemporaryDirectory(prefix="wharf-capture-") as folder:
            file = pathlib.Path(folder) / "capture.pcap"
            file.write_bytes(self.pcap())
            # The user's preferences and plugins play no part, nor does the protocol that tshark takes some numbers for.
            command = ["tshark", "-n", "-r", file, "--disable-protocol", "opensafety", "-d", f"tcp.port=={PORT},mbtcp", "-Y", "mbtcp || _ws.malformed",
                       "-o", "tcp.desegment_tcp_streams:TRUE", "-T", "fields", "-E", "separator=;",
                       "-E", "aggregator=|", "-E", "occurrence=a"]
            for field in FIELDS:
                command += ["-e", field]
            done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True, errors="replace", check=False,
                                  env={**os.environ, "HOME": folder, "WIRESHARK_CONFIG_DIR": folder})
        if done.returncode != 0:
            raise AssertionError(f"tshark ends with status {done.returncode}: {done.stderr[-500:]}")
        return [{field: value.split("|") if value else [] for field, value in zip(FIELDS, line.split(";"))}
                for line in done.stdout.splitlines()]

    def frames(self, direction):
        """How many whole frames passed in one direction, by their length fields alone."""
        cutters = {}
        return sum(1 for connection, way, data in self.pieces if way == direction and data
                   for _ in cutters.setdefault(connection, _Cutter()).cut(data))

    def pcap(self):
        """The capture as a pcap file of raw IPv4 packets, a microsecond apart."""
        out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)]
        sequence, cutters, time = {}, {}, 0

        def packet(connection, direction, flags, data=b""):
            nonlocal time
            time += 1
            ports = [PORT, _CLIENT_PORT + connection]
            source, target = reversed(ports) if direction == TO_SERVER else ports
            ours, theirs = (sequence.get((connection, way), 1000) for way in (direction, 1 - direction))
            tcp = struct.pack(">HHIIBBHHH", source, target, ours, theirs if flags & _ACK else 0, 0x50, flags, 65535, 0, 0)
            hosts = [socket.inet_aton("127.0.0.2"), socket.inet_aton("127.0.0.1")]
            if direction == FROM_SERVER:
                hosts.reverse()
            ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40 + len(data), time & 0xFFFF, 0, 64, 6, 0, *hosts)
            record = ip + tcp + data
            out.append(struct.pack("<IIII", time // 1_000_000, time % 1_000_000, len(record), len(record)) + record)
            sequence[connection, direction] = ours + len(data) + bool(flags & (_SYN | _FIN))

        for connection, direction, data in self.pieces:
            if (connection, TO_SERVER) not in cutters:
                cutters[connection, TO_SERVER], cutters[connection, FROM_SERVER] = _Cutter(), _Cutter()
                packet(connection, TO_SERVER, _SYN)
                packet(connection, FROM_SERVER, _SYN | _ACK)
                packet(connection, TO_SERVER, _ACK)
            cutter = cutters[connection, direction]
            for segment in cutter.rest() if data is None else cutter.cut(data):
                packet(connection, direction, _PSH | _ACK, segment)
            if data is None:
                packet(connection, direction, _FIN | _ACK)
        for (connection, direction), cutter in cutters.items():
            for segment in cutter.rest():
                packet(connection, direction, _PSH | _ACK, segment)
        return b"".join(out)


class _Cutter:
    """Cuts one direction into frames, as long as their length fields are legal."""

    def __init__(self):
        self.buffer = b""
        self.lost = False

    def cut(self, data):
        self.buffer += data
        while not self.lost and len(self.buffer) >= 6:
            length = struct.unpack(">H", self.buffer[4:6])[0]
            if not 2 <= length <= 254:
                self.lost = True
            elif len(self.buffer) < 6 + length:
                return
            else:
                yield self.buffer[:6 + length]
                self.buffer = self.buffer[6 + length:]
        if self.lost:
            yield from self.rest()

    def rest(self):
        while self.buffer:
            yield self.buffer[:_SEGMENT]
            self.buffer = self.buffer[_SEGMENT:]


class Tap:
    """Relays TCP connections to `target`, (host, port), and records them. Use it as a context; then see `capture`."""

    def __init__(self, target, listen=("127.0.0.1", 0)):
        self.target = target
        self.capture = Capture()
        self.listener = socket.create_server(listen)
        self.address = self.listener.getsockname()[:2]
        self.count = 0
        self.pumps = []

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        # Shutting it down wakes the thread in accept.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for pump in self.pumps:
            pump.join()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.target)
            number, self.count = self.count, self.count + 1
            for side in (client, server):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for way, source, sink in ((TO_SERVER, client, server), (FROM_SERVER, server, client)):
                pump = threading.Thread(target=self._pump, args=(number, way, source, sink), daemon=True)
                self.pumps.append(pump)
                pump.start()

    def _pump(self, number, way, source, sink):
        """Records before it sends on: what is caused by a piece is recorded behind it."""
        data = True
        while data:
            try:
                data = source.recv(65536)
            except OSError:
                data = b""
            self.capture.add(number, way, data or None)
            try:
                if data:
                    sink.sendall(data)
                else:
                    sink.shutdown(socket.SHUT_WR)
            except OSError:
                data = b""
