"""Packets of the loopback interface, recorded by dumpcap while a suite talks, and what tshark makes of each.

Nothing here sleeps and hopes: a recording has begun when a marker, a datagram that it sent itself, is in the file, and
it is complete when another one is that was sent after everything else.
"""

import dataclasses
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time
import xml.etree.ElementTree as ElementTree

INTERFACE = "lo"
PATIENCE = 60.0
"""How long a marker may take to reach the file. It only ends a hang."""
_AGAIN = 0.05
_SNAP = 600
"""How much of a packet is kept: more than any reply here."""


class Recording:
    """What passes the loopback interface to or from some TCP ports, and markers between. Use it as a context."""

    def __init__(self, ports):
        self.folder = tempfile.TemporaryDirectory(prefix="wharf-recording-")
        self.file = pathlib.Path(self.folder.name) / "loopback.pcapng"
        # Somebody listens, so that the kernel has nothing to say about the markers.
        self.markers = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.markers.bind(("127.0.0.1", 0))
        own = f"udp dst port {self.markers.getsockname()[1]}"
        wanted = " or ".join([own, *(f"tcp port {port}" for port in ports)])
        self.ports = ports
        self.process = subprocess.Popen(
            ["dumpcap", "-q", "-i", INTERFACE, "-s", str(_SNAP), "-B", "16", "-f", wanted, "-w", str(self.file)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        self._see("the recording has begun")
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        self.markers.close()
        self.folder.cleanup()

    def mark(self, port, text):
        """Puts a marker for the server on a port between the packets before this call and those after it."""
        self._send(f"{port} {text}")

    def _send(self, text):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(text.encode(), self.markers.getsockname())

    def finish(self):
        """Ends the recording; everything sent before is in it, or this fails."""
        self._see("the recording is complete")
        self.process.send_signal(signal.SIGINT)
        _, said = self.process.communicate(timeout=PATIENCE)
        lost = re.search(r"received/dropped on interface .*: (\d+)/(\d+)", said)
        if self.process.returncode != 0 or not lost or lost[2] != "0":
            raise AssertionError(f"dumpcap ends with status {self.process.returncode}: {said[-500:]}")

    def packets(self):
        return read(self.file, self.ports)

    def _see(self, text):
        """Sends a marker over and over until it is in the file."""
        deadline = time.monotonic() + PATIENCE
        while not (self.file.exists() and text.encode() in self.file.read_bytes()):
            if self.process.poll() is not None:
                raise AssertionError(f"dumpcap ends: {self.process.stderr.read()[-500:]}")
            if time.monotonic() > deadline:
                raise AssertionError(f"no packet reached dumpcap in {PATIENCE} s")
            self._send(text)
            time.sleep(_AGAIN)


@dataclasses.dataclass(frozen=True)
class Frame:
    """What tshark finds in a payload: a Modbus frame, or bytes that it does not take for one, which have no fields."""

    raw: bytes
    fields: dict
    """The values of each field."""
    remark: str | None = None
    """`malformed` or `unreassembled`, if tshark says so."""


@dataclasses.dataclass(frozen=True)
class Packet:
    """What tshark says about one packet."""

    time: float
    marker: str | None
    """What a marker says; the other fields are empty then."""
    stream: int = -1
    source: int = 0
    target: int = 0
    flags: frozenset = frozenset()
    sequence: int = 0
    """Where its payload lies in its direction of the stream. One CPU may overtake another with what it records."""
    payload: bytes = b""
    frames: tuple = ()
    zero_window: bool = False


_FLAGS = ("syn", "ack", "fin", "reset")
_REMARKS = ("malformed", "unreassembled")


def read(file, ports):
    """The packets of a capture file, with Modbus on these ports, each segment decoded by itself."""
    with tempfile.TemporaryDirectory(prefix="wharf-tshark-") as home:
        command = ["tshark", "-n", "-r", str(file), "-T", "pdml", "--disable-protocol", "opensafety",
                   "-o", "mbtcp.desegment:FALSE", "-o", f"mbtcp.tcp.port:{','.join(map(str, ports))}"]
        for port in ports:
            command += ["-d", f"tcp.port=={port},mbtcp"]
        # The user's preferences and plugins play no part.
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                              env={**os.environ, "HOME": home, "WIRESHARK_CONFIG_DIR": home})
    if done.returncode != 0:
        said = done.stderr[-500:].decode(errors="replace")
        raise AssertionError(f"tshark ends with status {done.returncode}: {said}")
    return [_packet(element.findall("proto")) for element in ElementTree.fromstring(done.stdout).iter("packet")]


def _packet(protocols):
    fields = {}
    for protocol in protocols:
        if protocol.get("name") not in ("mbtcp", "modbus"):
            fields.update(_fields(protocol))
    moment = float(fields["frame.time_epoch"][0])
    if "tcp.stream" not in fields:
        return Packet(moment, bytes.fromhex(fields["udp.payload"][0].replace(":", "")).decode())
    payload = bytes.fromhex(fields.get("tcp.payload", [""])[0].replace(":", ""))
    return Packet(
        moment, None, int(fields["tcp.stream"][0]), int(fields["tcp.srcport"][0]), int(fields["tcp.dstport"][0]),
        frozenset(flag for flag in _FLAGS if fields[f"tcp.flags.{flag}"][0] in ("1", "True")),
        int(fields["tcp.seq"][0]), payload, tuple(_frames(protocols, payload)),
        "tcp.analysis.zero_window" in fields)


def _frames(protocols, payload):
    """The frames of a payload; a remark is about the last thing in it."""
    found, rest = [], payload
    for protocol in protocols:
        if protocol.get("name") == "mbtcp":
            size = int(protocol.get("size"))
            found.append([rest[:size], _fields(protocol)])
            rest = rest[size:]
        elif protocol.get("name") == "modbus":
            found[-1][1].update(_fields(protocol))
    if rest:
        found.append([rest, {}])
    remark = next((remark for remark in _REMARKS for protocol in protocols if protocol.get("name") == f"_ws.{remark}"),
                  None)
    return [Frame(raw, fields, remark if at == len(found) else None) for at, (raw, fields) in enumerate(found, 1)]


def _fields(protocol):
    """Every field below this protocol, with all its values in order."""
    found = {}
    for field in protocol.iter("field"):
        found.setdefault(field.get("name"), []).append(field.get("show"))
    return found
