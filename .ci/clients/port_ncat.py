"""ncat as a broker and as eight clients of one, for `port_clients.py`.

What several senders said cannot be told apart by the cuts in what arrives, which are the network's. So each sender has
bytes of its own: the upper half of a byte is who sent it, the lower half is what.
"""

import os
import random
import selectors
import socket
import subprocess
import time

from port_plant import PATIENCE, same

CLIENTS = 8
PIECE = 16 * 1024
"""Bytes that each sends in a round."""
ROUNDS = 20
MANY = 64
"""Rounds in which more is said than the queue and the kernel keep for one that does not read."""
QUEUE = "256k"
"""More than all say in a round: a client misses nothing that reads what came before it says more."""

# What the first client says until all others hear it. No sender has this number.
_CALL = 0xF0
_AGAIN = 0.05

_OF = [bytes(range(16 * sender, 16 * sender + 16)) for sender in range(CLIENTS)]
_ALL = bytes(range(256))
_OTHERS = [_ALL.translate(None, of) for of in _OF]


def client(address):
    return ["ncat", address[0], str(address[1])]


class Broker:
    """`ncat --broker` on a free port; used as a context it gives its address."""

    def __enter__(self):
        # It cannot say which port it was given, so it is told one that was free a moment ago.
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = free.getsockname()
        self.process = subprocess.Popen(["ncat", "--broker", "-v", "-l", address[0], str(address[1])],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                        text=True)
        said = ""
        for line in self.process.stderr:
            said += line
            if "Listening on" in line:
                return address
        raise AssertionError(f"ncat --broker does not listen: {said}")

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


class _Client:
    """An ncat, and what it has heard of each sender."""

    def __init__(self, address, number):
        self.number = number
        self.process = subprocess.Popen(client(address), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        os.set_blocking(self.process.stdin.fileno(), False)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.heard = [bytearray() for _ in range(CLIENTS)]
        self.called = number == 0
        self.unsaid = b""

    def say(self, data):
        self.unsaid += data

    def push(self):
        if self.unsaid:
            try:
                self.unsaid = self.unsaid[os.write(self.process.stdin.fileno(), self.unsaid):]
            except BlockingIOError:
                pass

    def hear(self):
        data = os.read(self.process.stdout.fileno(), 1 << 20)
        if not data:
            said = self.process.stderr.read().decode(errors="replace")
            raise AssertionError(f"client {self.number} was closed: {said}")
        self.called |= _CALL in data
        for sender, others in enumerate(_OTHERS):
            self.heard[sender] += data.translate(None, others)

    def end(self):
        self.process.kill()
        self.process.communicate()


def _words(sender, round_):
    return random.Random(f"{sender} {round_}").randbytes(PIECE).translate(bytes(_OF[sender][byte & 15] for byte in _ALL))


def conversation(address, rounds=ROUNDS):
    """Eight clients talk in rounds, and in each round wait until everybody has heard everybody else. What each has heard
    of each, which is checked to be what was said."""
    clients = [_Client(address, number) for number in range(CLIENTS)]
    try:
        with selectors.DefaultSelector() as selector:
            for each in clients:
                selector.register(each.process.stdout, selectors.EVENT_READ, each)
            _until(selector, clients, lambda: all(each.called for each in clients),
                   lambda: clients[0].say(bytes([_CALL])))
            said = [bytearray() for _ in clients]
            for round_ in range(rounds):
                for each in clients:
                    words = _words(each.number, round_)
                    said[each.number] += words
                    each.say(words)
                _until(selector, clients, lambda: all(_has_heard(each, said) for each in clients))
        for each in clients:
            for sender, heard in enumerate(each.heard):
                expected = b"" if sender == each.number else said[sender]
                same(heard == expected, True, f"whether client {each.number} heard {sender} right")
        return [each.heard for each in clients]
    finally:
        for each in clients:
            each.end()


def _has_heard(client_, said):
    return all(len(client_.heard[sender]) >= len(said[sender]) for sender in range(CLIENTS) if sender != client_.number)


def _until(selector, clients, done, meanwhile=None):
    deadline = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > deadline:
            heard = [[len(heard) for heard in each.heard] for each in clients]
            raise AssertionError(f"not everybody has heard everybody: {heard}")
        if meanwhile:
            meanwhile()
        for each in clients:
            each.push()
        for key, _ in selector.select(_AGAIN):
            key.data.hear()
