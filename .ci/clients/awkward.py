"""Hostile bytes over plain sockets: what the Modbus specification of Wharf says about bad input, row by row.

Written from that text alone. `plant` has the values of `plant.toml`; `plain` has one unit with 100 entries a table;
`impatient` has short deadlines, silence for unknown units, and broadcasts on unit 0; `gateway` ignores unit 0.
"""

import random
import select
import socket
import struct
import time

from harness import PATIENCE, Peer, frame, pdu, run_all, same, scenario, write_registers

READ_ONE = pdu(3, 0, 1)
TEN = b"\x03\x02\x00\x0a"
"""The reply to READ_ONE on the plant."""


class Servers:
    """Connects to a server by name."""

    def __init__(self, addresses):
        self.addresses = addresses

    def peer(self, name="plant"):
        return Peer(self.addresses[name])


def bad_header_ends_the_connection(servers, length):
    header = struct.pack(">HHH", 9, 0, length)
    with servers.peer() as peer:
        peer.send(header)
        peer.ended()
    with servers.peer() as peer:
        peer.send(frame(READ_ONE, 1) + frame(READ_ONE, 2) + header + b"\x01")
        same(peer.reply(), (1, 1, TEN), "reply to the first earlier frame")
        same(peer.reply(), (2, 1, TEN), "reply to the second earlier frame")
        peer.ended()


@scenario
def a_length_of_0_ends_the_connection_after_earlier_replies(servers):
    bad_header_ends_the_connection(servers, 0)


@scenario
def a_length_of_1_ends_the_connection_after_earlier_replies(servers):
    bad_header_ends_the_connection(servers, 1)


@scenario
def a_length_of_255_ends_the_connection_after_earlier_replies(servers):
    bad_header_ends_the_connection(servers, 255)


@scenario
def a_length_of_65535_ends_the_connection_after_earlier_replies(servers):
    bad_header_ends_the_connection(servers, 65535)


@scenario
def a_bad_length_beats_a_bad_protocol_id(servers):
    with servers.peer() as peer:
        peer.send(struct.pack(">HHH", 9, 1, 255))
        peer.ended()


@scenario
def what_follows_a_bad_length_destroys_no_earlier_reply(servers):
    with servers.peer() as peer:
        peer.send(b"".join(frame(READ_ONE, n) for n in range(20)) + struct.pack(">HHH", 9, 0, 0) + bytes(1 << 18))
        for n in range(20):
            same(peer.reply(), (n, 1, TEN))
        peer.ended()


@scenario
def nothing_after_a_bad_length_is_executed(servers):
    with servers.peer() as peer:
        peer.send(struct.pack(">HHHB", 9, 0, 1, 1) + frame(pdu(6, 300, 4711)))
        peer.ended()
    with servers.peer() as peer:
        same(peer.registers(300, 1), [0])


@scenario
def fc16_of_124_registers_announces_255_bytes_and_ends_the_connection(servers):
    with servers.peer() as peer:
        peer.send(frame(write_registers(310, [1] * 124)))
        peer.ended()
    with servers.peer() as peer:
        same(peer.registers(310, 1), [0])


@scenario
def fc16_of_123_registers_is_the_longest_write(servers):
    values = list(range(123))
    with servers.peer() as peer:
        same(peer.ask(write_registers(320, values)), pdu(16, 320, 123))
        same(peer.registers(320, 123), values)


@scenario
def fc21_of_length_254_is_the_longest_frame(servers):
    data = bytes(range(244))
    request = bytes([21, 251, 6]) + struct.pack(">HHH", 4, 40, 122) + data
    same(len(request), 253, "bytes of the PDU")
    with servers.peer() as peer:
        same(peer.ask(request), request)
        answer = peer.ask(bytes([20, 7, 6]) + struct.pack(">HHH", 4, 40, 122))
        same(answer, bytes([20, 246, 245, 6]) + data, "the records read back")


@scenario
def a_frame_of_another_protocol_is_skipped_whole(servers):
    with servers.peer() as peer:
        peer.send(frame(READ_ONE, 1, protocol=1) + frame(READ_ONE, 2))
        same(peer.reply(), (2, 1, TEN))
        peer.send(frame(bytes(253), 3, protocol=0xFFFF))
        peer.send(frame(pdu(6, 600, 1), 4, protocol=0x0100))
        same(peer.registers(600, 1), [0], "the register written by another protocol")


@scenario
def one_byte_at_a_time_gives_the_normal_replies(servers):
    with servers.peer() as peer:
        for byte in frame(READ_ONE, 7) + frame(pdu(4, 0, 2), 8):
            peer.send(bytes([byte]))
        same(peer.reply(), (7, 1, TEN))
        same(peer.reply(), (8, 1, b"\x04\x04\x00\x01\x00\x02"))


@scenario
def a_header_may_pause_in_its_middle(servers):
    data = frame(READ_ONE, 5)
    for cut in range(1, len(data)):
        with servers.peer() as peer:
            peer.send(data[:cut])
            if cut == 3:
                time.sleep(0.5)  # the pause is the input under test, not a wait for the server
            peer.send(data[cut:])
            same(peer.reply(), (5, 1, TEN), f"reply to a frame cut after {cut} bytes")


@scenario
def requests_in_one_segment_are_answered_in_order(servers):
    requests = b"".join(frame(pdu(3, n % 5, 1), n) for n in range(100))
    with servers.peer() as peer:
        peer.send(requests)
        for n in range(100):
            same(peer.reply(), (n, 1, b"\x03\x02" + struct.pack(">H", 10 * (n % 5 + 1))), f"reply {n}")


@scenario
def equal_transaction_ids_are_two_transactions(servers):
    with servers.peer() as peer:
        peer.send(frame(READ_ONE, 6) + frame(pdu(3, 1, 1), 6))
        same(peer.reply(), (6, 1, TEN))
        same(peer.reply(), (6, 1, b"\x03\x02\x00\x14"))


@scenario
def a_segment_may_end_inside_the_next_frame(servers):
    first, second = frame(READ_ONE, 1), frame(pdu(3, 1, 1), 2)
    with servers.peer() as peer:
        peer.send(first + second[:9])
        same(peer.reply(), (1, 1, TEN))
        peer.send(second[9:])
        same(peer.reply(), (2, 1, b"\x03\x02\x00\x14"))


@scenario
def function_code_0_and_those_above_127_get_01(servers):
    with servers.peer() as peer:
        for function in (0, *range(128, 256)):
            same(peer.ask(bytes([function])), bytes([function | 0x80, 1]), f"reply to function {function}")
            same(peer.ask(bytes([function, 0, 0, 0, 1])), bytes([function | 0x80, 1]), f"reply to function {function}")


@scenario
def function_codes_that_nobody_registered_get_01(servers):
    served = {1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 15, 16, 17, 20, 21, 22, 23, 24, 43}
    with servers.peer() as peer:
        for function in sorted(set(range(1, 128)) - served):
            peer.refused(bytes([function, 0, 0, 0, 1]), 1)


@scenario
def sub_functions_and_mei_types_that_do_not_exist_get_01(servers):
    with servers.peer() as peer:
        for sub in (5, 6, 7, 8, 9, 19, 21, 22, 255, 256, 65535):
            peer.refused(pdu(8, sub, 0), 1)
        peer.refused(b"\x2b\x0d\x00\x00", 1)
        peer.refused(b"\x2b\xc8\x01\x00", 1)
        peer.refused(b"\x2b\x00", 1)


@scenario
def diagnostics_and_mei_requests_too_short_to_name_a_sub_function_get_03(servers):
    with servers.peer() as peer:
        for request in (b"\x08", b"\x08\x00", b"\x2b"):
            peer.refused(request, 3)


@scenario
def diagnostics_with_wrong_data_get_03(servers):
    with servers.peer() as peer:
        for request in (b"\x08\x00\x00\xaa", pdu(8, 1), pdu(8, 1, 1), pdu(8, 1, 0xFF01), pdu(8, 2, 1), pdu(8, 3, 0x000A),
                        pdu(8, 4, 1), pdu(8, 10, 1), pdu(8, 11, 1), pdu(8, 18, 0xFF00), pdu(8, 20, 1), pdu(8, 11, 0, 0),
                        pdu(8, 11)):
            peer.refused(request, 3)
        same(peer.ask(READ_ONE), TEN, "the unit still answers")


@scenario
def wrong_quantities_and_values_get_03_at_good_and_at_bad_addresses(servers):
    with servers.peer() as peer:
        for address in (0, 5000):
            for request in (pdu(1, address, 0), pdu(1, address, 2001), pdu(2, address, 0), pdu(2, address, 2001),
                            pdu(3, address, 0), pdu(3, address, 126), pdu(4, address, 0), pdu(4, address, 126),
                            pdu(3, address, 0xFFFF), pdu(5, address, 0x1234), pdu(5, address, 0x00FF),
                            pdu(5, address, 0xFF01), pdu(15, address, 1969) + bytes([247]) + bytes(247),
                            pdu(15, address, 0) + b"\x00", write_registers(address, []),
                            pdu(23, address, 0, address, 1) + b"\x02\x00\x00",
                            pdu(23, address, 126, address, 1) + b"\x02\x00\x00",
                            pdu(23, address, 1, address, 0) + b"\x00",
                            pdu(23, address, 1, address, 122) + bytes([244]) + bytes(242)):
                peer.refused(request, 3)
        same(peer.registers(0, 5), [10, 20, 30, 40, 50], "registers after all that")


@scenario
def pdus_that_are_shorter_or_longer_than_they_say_get_03(servers):
    with servers.peer() as peer:
        for request in (b"\x03\x00\x00", READ_ONE + b"\x00\x00", b"\x03", pdu(1, 0, 1) + b"\x00", pdu(2, 0), pdu(4, 0),
                        pdu(5, 0), pdu(5, 0, 0xFF00) + b"\x00", pdu(6, 0), pdu(6, 0, 1) + b"\x00", b"\x07\x00",
                        b"\x0b\x00", b"\x0c\x00", b"\x11\x00", b"\x0f", b"\x10", b"\x14", b"\x15", b"\x16",
                        pdu(22, 0, 0), pdu(22, 0, 0, 0) + b"\x00", b"\x17", b"\x18", pdu(24, 1246) + b"\x00",
                        b"\x2b\x0e", b"\x2b\x0e\x01", b"\x2b\x0e\x01\x00\x00"):
            peer.refused(request, 3)
        same(peer.registers(0, 5), [10, 20, 30, 40, 50], "registers after all that")


@scenario
def byte_counts_that_lie_get_03_and_write_nothing(servers):
    with servers.peer() as peer:
        for request in (pdu(15, 0, 1) + b"\x02\x00\x00", pdu(15, 0, 9) + b"\x01\x00", pdu(15, 0, 8) + b"\x01",
                        pdu(15, 0, 8) + b"\x01\x00\x00", write_registers(610, [1, 2], byte_count=2),
                        write_registers(610, [1, 2], byte_count=5), write_registers(610, [1], quantity=2),
                        write_registers(610, [1], quantity=2, byte_count=4),
                        write_registers(610, [1, 2, 3], quantity=2, byte_count=4),
                        pdu(23, 0, 1, 610, 1) + b"\x04\x00\x00", pdu(23, 0, 1, 610, 1) + b"\x02\x00\x07\x00"):
            peer.refused(request, 3)
        same(peer.registers(610, 3), [0, 0, 0], "registers")
        same(peer.ask(pdu(1, 0, 8)), b"\x01\x01\xcd", "coils")


@scenario
def file_requests_that_do_not_add_up_get_03(servers):
    def group(record, length):
        return b"\x06" + struct.pack(">HHH", 4, record, length)

    with servers.peer() as peer:
        for request in (b"\x14\x00", b"\x14\x06" + bytes(6), b"\x14\x08" + group(0, 1) + b"\x00",
                        b"\x14\x0e" + group(0, 1), b"\x14\x07" + group(0, 0), b"\x14\x07" + group(0, 125),
                        b"\x14\x0e" + group(0, 62) + group(0, 62), b"\x14\xf6" + group(0, 1) * 35 + b"\x00",
                        b"\x15\x07" + group(0, 0), b"\x15\x09" + group(0, 2) + b"\x00\x01",
                        b"\x15\x0a" + group(0, 1) + b"\x00\x01\x00", b"\x15\x09" + group(0, 1) + b"\x00"):
            peer.refused(request, 3)
        same(len(peer.ask(b"\x14\xf5" + group(0, 1) * 35)), 142, "bytes of a reply with 35 groups")
        longest = peer.ask(b"\x14\x07" + group(0, 124))
        same((len(longest), longest[:4]), (252, b"\x14\xfa\xf9\x06"), "the longest single group")
        same(peer.ask(b"\x14\x07" + group(0, 3))[4:], b"\x00\x01\x00\x02\x00\x03", "records after all that")


@scenario
def fc21_with_a_bad_second_group_writes_neither(servers):
    first = b"\x06" + struct.pack(">HHHH", 4, 170, 1, 4711)
    with servers.peer() as peer:
        for second in (struct.pack(">BHHHH", 7, 4, 171, 1, 1), struct.pack(">BHHHH", 6, 9, 171, 1, 1),
                       struct.pack(">BHHHH", 6, 4, 200, 1, 1), struct.pack(">BHHHH", 6, 5, 0, 1, 1)):
            peer.refused(b"\x15\x12" + first + second, 2)
        peer.refused(b"\x15\x12" + first + struct.pack(">BHHHH", 6, 4, 190, 1, 1), 8)
        same(peer.ask(b"\x14\x07\x06" + struct.pack(">HHH", 4, 170, 1)), b"\x14\x04\x03\x06\x00\x00", "the first record")


@scenario
def spans_past_the_table_get_02(servers):
    with servers.peer() as peer:
        peer.refused(pdu(3, 65535, 2), 2)
        same(peer.ask(pdu(3, 65535, 1)), b"\x03\x02\xbe\xef", "the last register")
        peer.refused(write_registers(65535, [1, 2]), 2)
        same(peer.ask(pdu(3, 65535, 1)), b"\x03\x02\xbe\xef", "the last register after a refused write")
    with servers.peer("plain") as peer:
        peer.refused(pdu(3, 96, 5), 2)
        same(peer.registers(96, 4), [0, 0, 0, 0])
        peer.refused(pdu(1, 96, 5), 2)
        peer.refused(write_registers(98, [1, 2, 3]), 2)
        same(peer.registers(98, 2), [0, 0])


@scenario
def fc23_with_only_its_read_span_bad_writes_nothing(servers):
    with servers.peer() as peer:
        peer.refused(pdu(23, 1009, 2, 620, 1) + b"\x02\x00\x01", 2)
        peer.refused(pdu(23, 620, 1, 1009, 2) + b"\x04\x00\x01\x00\x01", 2)
        same((peer.registers(620, 1), peer.registers(1009, 1)), ([0], [7]))


@scenario
def spare_bits_of_fc15_are_ignored_and_those_of_replies_are_zero(servers):
    with servers.peer() as peer:
        same(peer.ask(pdu(15, 600, 3) + b"\x01\xff"), pdu(15, 600, 3))
        same(peer.ask(pdu(1, 600, 8)), b"\x01\x01\x07", "coils 600..=607")
        same(peer.ask(pdu(1, 0, 1)), b"\x01\x01\x01", "one coil")


@scenario
def unknown_units_answer_0b_whatever_is_asked(servers):
    with servers.peer() as peer:
        for unit in (2, 5, 7, 99, 254):
            peer.refused(READ_ONE, 0x0B, unit)
            peer.refused(b"\x64", 0x0B, unit)
            peer.refused(b"\x00", 0x0B, unit)


@scenario
def unknown_units_are_silent_where_the_plant_says_so(servers):
    with servers.peer("impatient") as peer:
        peer.send(frame(READ_ONE, 1, unit=99) + frame(READ_ONE, 2, unit=1))
        same(peer.reply(), (2, 1, b"\x03\x02\x00\x00"))


@scenario
def unit_0_is_ignored_where_the_plant_says_so(servers):
    with servers.peer("gateway") as peer:
        peer.send(frame(pdu(6, 0, 1), 1, unit=0) + frame(READ_ONE, 2, unit=0) + frame(READ_ONE, 3))
        same(peer.reply(), (3, 1, b"\x03\x02\x00\x2a"))


@scenario
def a_broadcast_writes_to_every_unit_that_can_and_is_never_answered(servers):
    with servers.peer("impatient") as peer:
        peer.send(frame(pdu(6, 10, 55), 1, unit=0) + frame(pdu(5, 3, 0xFF00), 2, unit=0) + frame(READ_ONE, 3, unit=0))
        same((peer.registers(10, 1, unit=1), peer.registers(10, 1, unit=2)), ([55], [55]))
        same(peer.ask(pdu(1, 3, 1), unit=2), b"\x01\x01\x01", "the coil, which only unit 2 has")


@scenario
def a_web_browser_is_sent_away(servers):
    with servers.peer() as peer:
        peer.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        peer.ended()


@scenario
def a_tls_client_is_sent_away(servers):
    hello = bytes.fromhex("16030100c4010000c00303") + bytes(32)
    with servers.peer() as peer:
        # Bytes 5 and 6 are C4 01: no legal length.
        peer.send(hello)
        peer.ended()


@scenario
def random_bytes_end_the_connection_at_the_first_bad_length(servers):
    for seed in range(20):
        noise = random.Random(seed).randbytes(1 << 16)
        with servers.peer() as peer:
            try:
                peer.send(noise)
                while peer.socket.recv(4096):
                    pass
            except (ConnectionResetError, BrokenPipeError):
                pass  # the server need not read for ever what it throws away
    with servers.peer() as peer:
        same(peer.ask(pdu(3, 0, 2)), b"\x03\x04\x00\x0a\x00\x14", "the next connection is served")


@scenario
def a_stream_that_ends_inside_a_frame_is_closed_after_earlier_replies(servers):
    data = frame(READ_ONE, 3)
    for cut in (1, 5, 6, 7, 11):
        with servers.peer() as peer:
            peer.send(frame(READ_ONE, 2) + data[:cut])
            peer.finish()
            same(peer.reply(), (2, 1, TEN))
            peer.ended()


@scenario
def a_peer_that_shuts_its_write_side_still_gets_every_reply(servers):
    with servers.peer() as peer:
        peer.send(b"".join(frame(pdu(3, 0, 125), n) for n in range(50)))
        peer.finish()
        for n in range(50):
            same(peer.reply()[0], n, "transaction of the reply")
        peer.ended()


@scenario
def a_peer_that_only_connects_and_closes_harms_nobody(servers):
    for _ in range(50):
        servers.peer().socket.close()
    for _ in range(20):
        peer = servers.peer()
        peer.send(frame(READ_ONE))
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.socket.close()
    with servers.peer() as peer:
        same(peer.ask(READ_ONE), TEN)


@scenario
def a_frame_that_is_never_finished_ends_the_connection(servers):
    with servers.peer("impatient") as peer:
        peer.send(frame(READ_ONE, 1) + frame(READ_ONE, 2)[:7])
        same(peer.reply(), (1, 1, b"\x03\x02\x00\x00"))
        peer.ended()


@scenario
def a_peer_that_never_reads_is_reset_and_costs_others_nothing(servers):
    requests = frame(pdu(3, 0, 125)) * 500
    with servers.peer("impatient") as deaf, servers.peer("impatient") as good:
        sent, unsent = 0, requests
        deaf.socket.setblocking(False)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            same(good.ask(READ_ONE), b"\x03\x02\x00\x00", "reply to the good peer")
            select.select([], [deaf.socket], [], 0.05)
            try:
                taken = deaf.socket.send(unsent)
            except BlockingIOError:
                continue
            except (ConnectionResetError, BrokenPipeError):
                break
            sent, unsent = sent + taken, unsent[taken:] or requests
            if sent > 256 << 20:
                raise AssertionError("the server goes on reading from a peer that takes no reply")
        else:
            raise AssertionError("the peer was never reset")
        same(good.ask(READ_ONE), b"\x03\x02\x00\x00", "reply to the good peer afterwards")


@scenario
def many_connections_are_served_side_by_side(servers):
    peers = [servers.peer() for _ in range(200)]
    for n, peer in enumerate(peers):
        peer.send(frame(READ_ONE, n))
    for n, peer in enumerate(peers):
        same(peer.reply(), (n, 1, TEN), f"reply to peer {n}")
        peer.socket.close()


run_all(Servers)
