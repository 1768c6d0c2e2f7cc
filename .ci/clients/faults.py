"""Faults as a client sees them: every exception on demand, and what happens to requests that wait for late replies."""

from harness import PATIENCE, Peer, frame, pdu, run_all, same, scenario
from pyModbusTCP.client import ModbusClient


class Faulty:
    """Where the faulty server is, and a pyModbusTCP client of it."""

    def __init__(self, servers):
        self.address = servers["faulty"]
        host, port = self.address
        self.client = ModbusClient(host=host, port=port, unit_id=1, timeout=PATIENCE)


@scenario
def every_exception_can_be_provoked_by_a_fault(faulty):
    for code in (1, 2, 3, 4, 5, 6, 7, 8, 10, 11):
        same(faulty.client.read_holding_registers(code, 1), None, f"register {code}")
        same((faulty.client.last_error_as_txt, faulty.client.last_except), ("modbus exception", code))
        same(faulty.client.read_holding_registers(code + 100, 1), [42], "a register without a fault")


@scenario
def a_fault_leaves_other_functions_alone(faulty):
    for address in (1, 4, 11):
        same(faulty.client.write_single_register(address, 7), True)


@scenario
def the_seventeenth_waiting_request_gets_06_at_once(faulty):
    late = pdu(3, 100, 1)
    with Peer(faulty.address) as peer:
        peer.send(b"".join(frame(late, n) for n in range(1, 17)) + frame(pdu(3, 0, 1), 17))
        same(peer.reply(), (17, 1, b"\x83\x06"), "the first reply to arrive")
        for n in range(1, 17):
            same(peer.reply(), (n, 1, b"\x03\x02\x00\x2a"), f"late reply {n}")


@scenario
def a_late_reply_holds_up_its_own_connection_only(faulty):
    with Peer(faulty.address) as slow, Peer(faulty.address) as quick:
        slow.send(frame(pdu(3, 100, 1), 1) + frame(pdu(3, 0, 1), 2))
        same(quick.ask(pdu(3, 0, 1)), b"\x03\x02\x00\x2a", "reply to the other connection")
        same([slow.reply()[0] for _ in range(2)], [1, 2], "replies behind the late one stay in order")


run_all(Faulty)
