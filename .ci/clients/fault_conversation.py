"""The conversations that are held with a server with a fault, over a plain socket, the same whatever the fault.

A client sends a turn, one or two requests in one segment, waits for as many bytes as are due, and sends the next. At
the end it finishes its side and waits for the server to finish too. It judges nothing: what went wrong is in the
capture.
"""

import dataclasses
import socket

from harness import frame, pdu, write_registers

PATIENCE = 30.0
"""How long a client waits for bytes that do not come. It only ends a hang; then the capture tells what was missing."""
UNTIL_THE_END = 1 << 20
_FLOOD_BUFFER = 65536
_FLOOD = 200
"""How often such a buffer is sent to a server that goes on reading though it should not."""


@dataclasses.dataclass(frozen=True)
class Conversation:
    name: str
    turns: tuple
    """The requests of each turn."""
    sizes: tuple
    """How long the honest replies to each turn are, together."""
    values: tuple
    """The registers in each reply, from the plant of `fault_plant.py`."""


def _numbered(*turns):
    """Gives each request a transaction: 0x0A10, 0x0A20 and so on."""
    numbers = iter(range(0x0A10, 0x0B00, 0x10))
    return tuple(b"".join(frame(request, next(numbers)) for request in turn) for turn in turns)


_FIRST, _TARGET, _OTHER, _LAST = pdu(4, 0, 3), pdu(3, 3, 2), pdu(3, 8, 1), pdu(4, 5, 2)
_INPUT, _HELD = (0x2000, 0x2001, 0x2002), (0x1003, 0x1004)

ONE_BY_ONE = Conversation("one by one", _numbered([_FIRST], [_TARGET], [_OTHER]), (15, 13, 11),
                          (_INPUT, _HELD, (0x1008,)))
# The second request and the third are in one segment.
TOGETHER = Conversation("together", _numbered([_FIRST], [_TARGET, _OTHER], [_LAST]), (15, 24, 13),
                        (_INPUT, _HELD, (0x1008,), (0x2005, 0x2006)))
# The second request writes what the third reads.
WRITING = Conversation("writing", _numbered([_TARGET], [write_registers(3, [0x5555])], [_TARGET]), (13, 12, 13),
                       (_HELD, (), (0x5555, 0x1004)))


class Client:
    """One connection, from its beginning."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def talk(self, conversation, size=None, flood=False, once_asked=None):
        """Holds a conversation; the second turn yields `size` bytes, if that is not what an honest server says.

        With `flood` the last turn is sent over and over until nobody takes more of it. `once_asked` is called when the
        first turn is on its way.
        """
        *before, last = conversation.turns
        sizes = list(conversation.sizes)
        if size is not None:
            sizes[1] = size
        for turn, due in zip(before, sizes):
            self._send(turn)
            if once_asked:
                once_asked()
                once_asked = None
            self._receive(due)
        if flood:
            self._flood(last)
        else:
            self._send(last)
        self._receive(sizes[-1])
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:  # reset
            pass
        self._receive(UNTIL_THE_END)
        self.socket.close()

    def _send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:  # reset
            pass

    def _flood(self, data):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _FLOOD_BUFFER)
        self.socket.setblocking(False)
        try:
            for _ in range(_FLOOD):
                self.socket.send(data * (_FLOOD_BUFFER // len(data)))
        except OSError:  # nobody takes more, or reset
            pass
        self.socket.settimeout(PATIENCE)

    def _receive(self, size):
        while size > 0:
            try:
                got = len(self.socket.recv(min(size, 65536)))
            except OSError:  # reset, or out of patience
                return
            if got == 0:
                return
            size -= got


def say_nothing(address):
    """Waits for what becomes of a connection on which this side says nothing."""
    try:
        with socket.create_connection(address, timeout=PATIENCE) as connection:
            connection.recv(1)
    except OSError:  # reset, perhaps before this side knew that it was connected
        pass


def is_refused(address):
    """Whether nobody listens."""
    try:
        socket.create_connection(address, timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False
