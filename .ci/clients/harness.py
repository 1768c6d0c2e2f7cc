"""What every scenario file shares: named scenarios, exact comparison, and a peer that speaks raw bytes.

A scenario file is run by `clients.py` as `FILE NAME=HOST:PORT...`, one pair for each server of its suite. Every
scenario prints `ok NAME` or `FAIL NAME: why`; the exit status is 1 if any failed.
"""

import os
import socket
import struct
import sys
import traceback

# How long a peer waits before it calls a missing reply a failure. No scenario measures time: this only ends a hang.
PATIENCE = 60.0

_scenarios = []


def scenario(function):
    """Registers `function`; its attribute `title`, or its name with spaces, is the name of the scenario."""
    _scenarios.append(function)
    return function


def run_all(setup):
    """Runs the scenarios of the calling file, each with what `setup(servers)` returns; never comes back."""
    servers = {}
    for pair in sys.argv[1:]:
        name, _, address = pair.partition("=")
        host, _, port = address.rpartition(":")
        servers[name] = (host, int(port))
    context = setup(servers)
    failed = 0
    for function in _scenarios:
        name = getattr(function, "title", function.__name__.replace("_", " "))
        try:
            function(context)
        except Exception as error:  # a scenario may fail in any way; the others still run
            failed += 1
            print(f"FAIL {name}: {type(error).__name__}: {error}", flush=True)
            if os.environ.get("WHARF_CLIENTS_TRACE"):
                traceback.print_exc()
        else:
            print(f"ok {name}", flush=True)
    sys.exit(1 if failed else 0)


def same(actual, expected, what="value"):
    """Fails unless both are equal; byte strings are shown in hex."""
    if actual != expected:
        raise AssertionError(f"{what} is {_show(actual)}, expected {_show(expected)}")


def _show(value):
    return value.hex(" ") if isinstance(value, (bytes, bytearray)) else repr(value)


def pdu(function, *words):
    """A PDU of a function code and 16-bit words."""
    return bytes([function]) + b"".join(struct.pack(">H", word) for word in words)


def write_registers(address, values, quantity=None, byte_count=None):
    """An FC16 request; `quantity` and `byte_count` can be made to lie."""
    body = b"".join(struct.pack(">H", value) for value in values)
    count = len(values) if quantity is None else quantity
    return pdu(16, address, count) + bytes([len(body) & 0xFF if byte_count is None else byte_count]) + body


def frame(request, transaction=1, unit=1, protocol=0, length=None):
    """An MBAP frame around `request`; `protocol` and `length` can be made to lie."""
    announced = len(request) + 1 if length is None else length
    return struct.pack(">HHHB", transaction, protocol, announced, unit) + request


class Peer:
    """One TCP connection that sends exactly the bytes it is told to, each `send` as its own segment."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def finish(self):
        """Shuts the write side: the server sees the end of the stream and can still reply."""
        self.socket.shutdown(socket.SHUT_WR)

    def exactly(self, count):
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise AssertionError(f"the server closed after {_show(data)}, {count} bytes were due")
            data += piece
        return data

    def reply(self):
        """The next frame as (transaction, unit, PDU); its header must be sound."""
        transaction, protocol, length, unit = struct.unpack(">HHHB", self.exactly(7))
        same(protocol, 0, "protocol id of the reply")
        if not 2 <= length <= 254:
            raise AssertionError(f"the reply announces a length of {length}")
        return transaction, unit, self.exactly(length - 1)

    def ask(self, request, unit=1, transaction=0x1234):
        """Sends one request; the PDU of its reply, whose transaction and unit must be those of the request."""
        self.send(frame(request, transaction, unit))
        got_transaction, got_unit, answer = self.reply()
        same((got_transaction, got_unit), (transaction, unit), "transaction and unit of the reply")
        return answer

    def refused(self, request, code, unit=1):
        """The request must be answered by this exception."""
        same(self.ask(request, unit), bytes([request[0] | 0x80, code]), f"reply to {_show(request)}")

    def ended(self):
        """The server must end the stream by FIN, with nothing more before it."""
        rest = self.socket.recv(4096)
        if rest:
            raise AssertionError(f"expected FIN, got {_show(rest)}")

    def registers(self, address, count, unit=1):
        """Holding registers by FC3."""
        answer = self.ask(pdu(3, address, count), unit)
        same(answer[:2], bytes([3, 2 * count]), "head of the FC3 reply")
        return list(struct.unpack(f">{count}H", answer[2:]))
