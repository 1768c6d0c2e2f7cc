"""gensio as a client of device ports: `port_gensio.py WHAT HOST PORT`, for `port_clients.py`.

`echo` sends 4 MiB and reads them back at the same time; `parting` sends what its standard input has and closes at once;
`full` connects 100 times, one after another, and prints what it was told until the end, a line of hex each.
"""

import os
import sys

import gensio

PATIENCE = 60_000
"""Milliseconds that anything may take. It only ends a hang."""
AMOUNT = 4 << 20
COMERS = 100
PIECE = 64 * 1024


class Log:
    def gensio_log(self, level, log):
        print(f"gensio {level}: {log}", file=sys.stderr)


OS = gensio.alloc_gensio_selector(Log())


class Client:
    """One connection; it sends `data`, and has what came in `got` and how that ended in `ended`."""

    def __init__(self, host, port, data=b"", wanted=None):
        self.waiter = gensio.waiter(OS)
        self.data, self.sent, self.wanted = data, 0, wanted
        self.got, self.ended = bytearray(), None
        # Its own syntax has an IPv6 address without brackets too.
        self.io = gensio.gensio(OS, f"tcp,{host},{port}", self)
        self.io.open(self)
        self.wait("no connection")
        if self.ended is not None:
            raise AssertionError(f"no connection: {self.ended}")

    def wait(self, what):
        if self.waiter.wait_timeout(1, PATIENCE) == 0:
            raise AssertionError(f"{what}: {self.sent} of {len(self.data)} bytes sent, {len(self.got)} came")

    def open_done(self, io, err):
        self.ended = err
        self.waiter.wake()

    def close_done(self, io):
        self.waiter.wake()

    def read_callback(self, io, err, buf, auxdata):
        if err:
            io.read_cb_enable(False)
            self.ended = err
            self.waiter.wake()
            return 0
        self.got += buf
        if len(self.got) == self.wanted:
            self.waiter.wake()
        return len(buf)

    def write_callback(self, io):
        while self.sent < len(self.data):
            taken = io.write(self.data[self.sent:self.sent + PIECE], None)
            if taken == 0:
                return
            self.sent += taken
        io.write_cb_enable(False)
        if self.wanted is None:
            self.waiter.wake()

    def close(self):
        self.io.read_cb_enable(False)
        self.io.close(self)
        self.wait("not closed")


def echo(address):
    data = os.urandom(AMOUNT)
    client = Client(*address, data, len(data))
    client.io.read_cb_enable(True)
    client.io.write_cb_enable(True)
    client.wait("not all came back")
    if bytes(client.got) != data:
        raise AssertionError("other bytes came back than were sent")
    client.close()


def parting(address):
    client = Client(*address, sys.stdin.buffer.read())
    client.io.write_cb_enable(True)
    client.wait("not all was sent")
    client.close()


def full(address):
    for _ in range(COMERS):
        client = Client(*address)
        client.io.read_cb_enable(True)
        client.wait("no end")
        print(client.got.hex(), client.ended)
        client.close()


{"echo": echo, "parting": parting, "full": full}[sys.argv[1]]((sys.argv[2], sys.argv[3]))
