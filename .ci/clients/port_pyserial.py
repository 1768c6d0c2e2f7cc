"""pyserial's `socket://` as a client of device ports: `port_pyserial.py WHAT HOST PORT`, for `port_clients.py`.

`lines` sends 10 000 requests and takes each reply by `read_until`; `reconnects` does so once on each of 100 connections,
and after each says `closed` and waits for a line before it comes again.
"""

import sys

import serial
from serial.urlhandler import protocol_socket

PATIENCE = 60
REQUESTS = 10_000
RECONNECTS = 100


def connected(host, port):
    return serial.serial_for_url(f"socket://{host}:{port}", timeout=PATIENCE, write_timeout=PATIENCE)


def ask(line, number):
    request = b"MEAS%d?\r\n" % number
    line.write(request)
    reply = line.read_until(b"\r\n")
    if reply != request:
        raise AssertionError(f"request {number}: {reply!r} came back")


def lines(address):
    with connected(*address) as line:
        for number in range(REQUESTS):
            ask(line, number)


class NoPause:
    """Stands for `time` in pyserial, which sleeps after each close so that a server may notice. Here it is awaited."""

    @staticmethod
    def sleep(_):
        pass


def reconnects(address):
    protocol_socket.time = NoPause
    for number in range(RECONNECTS):
        with connected(*address) as line:
            ask(line, number)
        print("closed", flush=True)
        sys.stdin.readline()


{"lines": lines, "reconnects": reconnects}[sys.argv[1]]((sys.argv[2], sys.argv[3]))
