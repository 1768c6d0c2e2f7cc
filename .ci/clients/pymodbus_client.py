"""pymodbus: every call that it has for the codes Wharf serves, each checked by value.

Its calls can be told to expect no reply. That a reply truly does not come is shown by order: replies leave in order, so
the next reply read must be that of the next request.
"""

from harness import PATIENCE, run_all, same, scenario
from pymodbus.client import ModbusTcpClient
from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.file_message import FileRecord


class Custom(ModbusPDU):
    """A request with a function code that pymodbus does not know."""

    function_code = 0x64

    def encode(self):
        return b"\x01\x02"

    def decode(self, data):
        self.data = data


class Client:
    """pymodbus clients of both servers; that of the plant also keeps the last bytes that it was offered."""

    def __init__(self, servers):
        self.received = b""
        host, port = servers["plant"]
        self.call = ModbusTcpClient(host, port=port, timeout=PATIENCE, retries=0, trace_packet=self._keep)
        self.call.register(Custom)
        host, port = servers["impatient"]
        self.impatient = ModbusTcpClient(host, port=port, timeout=PATIENCE, retries=0)

    def _keep(self, sending, data):
        if not sending:
            self.received = data
        return data


def good(response):
    """The response, which must be a normal one."""
    if response.isError():
        raise AssertionError(f"function {response.function_code & 0x7F} got exception {response.exception_code:02X}")
    return response


def refused(response, function, code):
    """The response must be this exception of this function."""
    same((response.function_code, response.exception_code), (function | 0x80, code), "exception")


def bits(packed):
    return [bool(byte >> bit & 1) for byte in packed for bit in range(8)]


@scenario
def fc1_reads_coils_across_touching_blocks(client):
    same(list(good(client.call.read_coils(0, count=40)).bits), bits(b"\xcd\x6b\xb2\x7f\x00"), "coils")
    same(list(good(client.call.read_coils(3, count=5)).bits), [True, False, False, True, True, False, False, False],
         "coils 3..=7 and spare bits")
    same(len(good(client.call.read_coils(0, count=2000)).bits), 2000, "number of coils")
    refused(client.call.read_coils(1999, count=2), 1, 2)


@scenario
def fc2_reads_discrete_inputs(client):
    same(list(good(client.call.read_discrete_inputs(0, count=22)).bits), bits(b"\xac\xdb\x35"), "discrete inputs")
    refused(client.call.read_discrete_inputs(0, count=23), 2, 2)


@scenario
def fc3_reads_holding_registers(client):
    same(list(good(client.call.read_holding_registers(0, count=6)).registers), [10, 20, 30, 40, 50, 0], "registers")
    same(list(good(client.call.read_holding_registers(998, count=4)).registers), [0, 0, 7, 7], "across blocks")
    same(len(good(client.call.read_holding_registers(100, count=125)).registers), 125, "number of registers")
    same(list(good(client.call.read_holding_registers(65535, count=1)).registers), [0xBEEF], "the last register")
    refused(client.call.read_holding_registers(1009, count=2), 3, 2)


@scenario
def fc4_reads_input_registers(client):
    same(list(good(client.call.read_input_registers(0, count=4)).registers), [1, 2, 3, 65535], "registers")
    refused(client.call.read_input_registers(3, count=2), 4, 2)


@scenario
def typed_values_decode_in_both_word_orders(client):
    def value(address, kind, order):
        words = list(good(client.call.read_input_registers(address, count=2)).registers)
        return client.call.convert_from_registers(words, kind, word_order=order)

    kinds = client.call.DATATYPE
    same(value(100, kinds.FLOAT32, "big"), 123456.0)
    same(value(102, kinds.FLOAT32, "little"), 123456.0)
    same(value(200, kinds.INT32, "big"), -123456)
    same(value(202, kinds.INT32, "little"), -123456)


@scenario
def fc5_writes_one_coil_and_echoes(client):
    for state in (True, False):
        answer = good(client.call.write_coil(100, state))
        same((answer.address, list(answer.bits)), (100, [state]), "echo")
        same(good(client.call.read_coils(100, count=1)).bits[0], state, "the coil")
    refused(client.call.write_coil(2000, True), 5, 2)


@scenario
def fc6_writes_one_register_and_echoes(client):
    answer = good(client.call.write_register(100, 0xABCD))
    same((answer.address, list(answer.registers)), (100, [0xABCD]), "echo")
    same(list(good(client.call.read_holding_registers(99, count=3)).registers), [0, 0xABCD, 0], "around the register")
    refused(client.call.write_register(1010, 1), 6, 2)


@scenario
def fc6_to_a_read_only_register_is_refused_and_it_can_be_read(client):
    refused(client.call.write_register(900, 1), 6, 2)
    same(list(good(client.call.read_holding_registers(900, count=1)).registers), [0])


@scenario
def fc7_reads_the_exception_status(client):
    same(good(client.call.read_exception_status()).status, 0x5A)


@scenario
def fc8_0_echoes_its_data(client):
    for data in (b"\xa5\x37", b"\x00\x01\x02\x03", bytes(range(250))):
        same(good(client.call.diag_query_data(data)).message, data, "echo")


@scenario
def fc8_1_restarts_and_echoes(client):
    same(good(client.call.diag_restart_communication(False)).message, 0x0000, "echo")
    same(good(client.call.diag_restart_communication(True)).message, 0xFF00, "echo")


@scenario
def fc8_3_takes_the_delimiter_from_the_high_byte(client):
    same(good(client.call.diag_change_ascii_input_delimeter(delimiter=0x0A00)).message, 0x0A00, "echo")
    refused(client.call.diag_change_ascii_input_delimeter(delimiter=0x000A), 8, 3)


@scenario
def fc8_4_silences_the_unit_until_a_restart(client):
    silent = {"no_response_expected": True}
    client.call.diag_force_listen_only()
    client.call.write_register(110, 77, **silent)
    client.call.read_holding_registers(0, count=1, **silent)
    client.call.diag_restart_communication(False, **silent)
    same(list(good(client.call.read_holding_registers(110, count=1)).registers), [0], "the register written in silence")
    same(len(client.received), 11, "bytes received since the silence began")


@scenario
def fc8_14_and_15_count_a_broadcast_as_left_without_reply(client):
    good(client.impatient.diag_clear_counters())
    client.impatient.write_register(0, 1, device_id=0, no_response_expected=True)
    same(good(client.impatient.diag_read_device_no_response_count()).message, 1, "counter 15")
    same(good(client.impatient.diag_read_device_message_count()).message, 3, "counter 14")


@scenario
def fc8_2_and_10_read_and_clear_the_diagnostic_register(client):
    same(good(client.call.diag_read_diagnostic_register()).message, 0x1234, "register")
    same(good(client.call.diag_clear_counters()).message, 0, "echo")
    same(good(client.call.diag_read_diagnostic_register()).message, 0, "cleared register")


@scenario
def fc8_counters_start_again_after_a_clear_and_count_their_own_request(client):
    good(client.call.diag_clear_counters())
    same(good(client.call.diag_read_bus_message_count()).message, 1, "counter 11")
    same(good(client.call.diag_read_device_message_count()).message, 2, "counter 14")
    refused(client.call.read_input_registers(9999), 4, 2)
    refused(client.call.diag_change_ascii_input_delimeter(delimiter=1), 8, 3)
    same(good(client.call.diag_read_bus_exception_error_count()).message, 2, "counter 13")
    same(good(client.call.diag_read_bus_message_count()).message, 6, "counter 11")
    same(good(client.call.diag_read_bus_comm_error_count()).message, 0, "counter 12")
    same(good(client.call.diag_read_device_nak_count()).message, 0, "counter 16")
    same(good(client.call.diag_read_device_busy_count()).message, 0, "counter 17")
    same(good(client.call.diag_read_bus_char_overrun_count()).message, 0, "counter 18")
    same(good(client.call.diag_read_device_message_count()).message, 11, "counter 14")


@scenario
def fc8_11_counts_every_unit_and_14_this_one(client):
    good(client.call.diag_clear_counters())
    good(client.call.read_holding_registers(0, count=1, device_id=255))
    same(good(client.call.diag_read_bus_message_count()).message, 2, "counter 11")
    same(good(client.call.diag_read_device_message_count()).message, 2, "counter 14")


@scenario
def fc8_20_clears_the_overrun_counter_and_echoes(client):
    same(good(client.call.diag_clear_overrun_counter()).message, 0, "echo")


@scenario
def fc8_19_and_21_are_unknown_sub_functions(client):
    refused(client.call.diag_read_iop_overrun_count(), 8, 1)
    refused(client.call.diag_getclear_modbus_response(data=3), 8, 1)
    refused(client.call.diag_getclear_modbus_response(data=4), 8, 1)


@scenario
def fc11_counts_what_completed_without_exception_but_not_itself(client):
    first = good(client.call.diag_get_comm_event_counter())
    same(first.status, True, "status word is 0")
    good(client.call.read_holding_registers(0, count=1))
    good(client.call.write_register(120, 1))
    refused(client.call.read_input_registers(9999), 4, 2)
    good(client.call.read_coils(0, count=1))
    same(good(client.call.diag_get_comm_event_counter()).count, first.count + 3, "event count")
    same(good(client.call.diag_get_comm_event_counter()).count, first.count + 3, "event count, asked again")


@scenario
def fc12_shows_the_newest_event_first_and_itself(client):
    good(client.call.diag_restart_communication(True))
    first = good(client.call.diag_get_comm_event_log())
    same((first.status, first.events), (True, [0x80, 0x40, 0x00]), "log after a restart that clears it")
    refused(client.call.read_input_registers(9999), 4, 2)
    second = good(client.call.diag_get_comm_event_log())
    same(second.events, [0x80, 0x41, 0x80, 0x40, 0x80, 0x40, 0x00], "log after an exception 02")
    same(second.message_count, first.message_count + 2, "message count")
    # The first 12 completed and counts; the refused read does not.
    same(second.event_count, first.event_count + 1, "event count")


@scenario
def fc12_keeps_sixty_four_events(client):
    for _ in range(40):
        good(client.call.read_holding_registers(0, count=1))
    same(good(client.call.diag_get_comm_event_log()).events, [0x80] + [0x40, 0x80] * 31 + [0x40], "a full log")


@scenario
def fc15_writes_coils_and_leaves_their_neighbours(client):
    pattern = [True, False, True, True, False, False, True, True, True, False]
    good(client.call.write_coils(200, [False] * 12))
    answer = good(client.call.write_coils(201, pattern))
    same((answer.address, answer.count), (201, 10), "address and quantity")
    same(list(good(client.call.read_coils(200, count=12)).bits)[:12], [False] + pattern + [False], "coils")
    good(client.call.write_coils(32, [True] * 1968))
    same(list(good(client.call.read_coils(32, count=1968)).bits), [True] * 1968, "1968 coils")
    good(client.call.write_coils(32, [False] * 1968))
    refused(client.call.write_coils(1999, [True, True]), 15, 2)
    same(good(client.call.read_coils(1999, count=1)).bits[0], False, "nothing is written by half")


@scenario
def fc16_writes_registers(client):
    values = [(7 * n) & 0xFFFF for n in range(123)]
    answer = good(client.call.write_registers(200, values))
    same((answer.address, answer.count), (200, 123), "address and quantity")
    same(list(good(client.call.read_holding_registers(200, count=123)).registers), values, "registers")
    refused(client.call.write_registers(899, [1, 2]), 16, 2)
    same(list(good(client.call.read_holding_registers(899, count=2)).registers), [0, 0], "nothing is written by half")


@scenario
def fc17_reports_the_server_id(client):
    answer = good(client.call.report_device_id())
    same((answer.byte_count, answer.identifier, answer.status), (3, b"\x57\x48", True), "server id")


@scenario
def fc20_reads_file_records_in_groups(client):
    wanted = [FileRecord(file_number=4, record_number=1, record_length=4),
              FileRecord(file_number=5, record_number=0, record_length=4)]
    answer = good(client.call.read_file_record(wanted))
    same([record.record_data for record in answer.records], [b"\x00\x02\x00\x03", b"\xaa\xaa\xbb\xbb"], "records")


@scenario
def fc20_refuses_what_is_past_the_file_and_reports_parity_errors(client):
    def read(file, record, length):
        return client.call.read_file_record([FileRecord(file_number=file, record_number=record, record_length=length)])

    refused(read(6, 0, 2), 20, 2)
    refused(read(0, 0, 2), 20, 2)
    refused(read(4, 199, 4), 20, 2)
    refused(read(4, 10000, 2), 20, 2)
    refused(read(4, 189, 4), 20, 8)
    same(good(read(4, 189, 2)).records[0].record_data, b"\x00\x00", "the record before the damaged ones")


@scenario
def fc21_writes_file_records_and_echoes(client):
    records = [FileRecord(file_number=4, record_number=20, record_data=b"\x06\xaf\x04\xbe"),
               FileRecord(file_number=4, record_number=30, record_data=b"\x10\x0d")]
    answer = good(client.call.write_file_record(records))
    same([(r.file_number, r.record_number, r.record_data) for r in answer.records],
         [(4, 20, b"\x06\xaf\x04\xbe"), (4, 30, b"\x10\x0d")], "echo")
    read = good(client.call.read_file_record([FileRecord(file_number=4, record_number=20, record_length=4),
                                              FileRecord(file_number=4, record_number=30, record_length=2)]))
    same([record.record_data for record in read.records], [b"\x06\xaf\x04\xbe", b"\x10\x0d"], "records")
    refused(client.call.write_file_record([FileRecord(file_number=5, record_number=0, record_data=b"\x00\x00")]), 21, 2)
    refused(client.call.write_file_record([FileRecord(file_number=4, record_number=190, record_data=b"\x00\x00")]), 21, 8)


@scenario
def fc22_masks_a_register(client):
    good(client.call.write_register(130, 0x12))
    answer = good(client.call.mask_write_register(address=130, and_mask=0xF2, or_mask=0x25))
    same((answer.address, answer.and_mask, answer.or_mask), (130, 0xF2, 0x25), "echo")
    same(list(good(client.call.read_holding_registers(130, count=1)).registers), [0x17], "the register")
    refused(client.call.mask_write_register(address=905, and_mask=0, or_mask=1), 22, 2)


@scenario
def fc23_writes_before_it_reads(client):
    good(client.call.write_registers(140, [1, 2, 3, 4]))
    answer = good(client.call.readwrite_registers(read_address=140, read_count=4, write_address=141, values=[8, 9]))
    same(list(answer.registers), [1, 8, 9, 4], "registers after the write")
    refused(client.call.readwrite_registers(read_address=1009, read_count=2, write_address=140, values=[99]), 23, 2)
    same(list(good(client.call.read_holding_registers(140, count=1)).registers), [1], "nothing is written")


@scenario
def fc24_reads_a_queue_without_emptying_it(client):
    for _ in range(2):
        same(list(good(client.call.read_fifo_queue(address=1246)).values), [440, 4740], "queue")
    refused(client.call.read_fifo_queue(address=1247), 24, 2)
    refused(client.call.read_fifo_queue(address=1300), 24, 3)


@scenario
def fc43_streams_identification_by_read_code(client):
    basic = {0: b"Wharf", 1: b"boiler", 2: b"1.0"}
    regular = {**basic, 3: b"https://example.invalid", 4: b"Boiler", 5: b"B7", 6: b"heating"}
    extended = {**regular, 0x80: b"hall 3"}
    for code, expected in ((1, basic), (2, regular), (3, extended)):
        answer = good(client.call.read_device_information(read_code=code))
        same(dict(answer.information), expected, f"objects of read code {code}")
        same((answer.read_code, answer.conformity, answer.more_follows, answer.next_object_id, answer.number_of_objects),
             (code, 0x83, 0, 0, len(expected)), f"head of read code {code}")


@scenario
def fc43_streams_begin_at_the_object_asked_for(client):
    same(dict(good(client.call.read_device_information(read_code=2, object_id=5)).information),
         {5: b"B7", 6: b"heating"}, "objects from 5")
    restarted = good(client.call.read_device_information(read_code=1, object_id=0x80))
    same(dict(restarted.information), {0: b"Wharf", 1: b"boiler", 2: b"1.0"}, "an id outside the set restarts at 0")


@scenario
def fc43_4_reads_one_object(client):
    for object_id, value in ((1, b"boiler"), (0x80, b"hall 3")):
        answer = good(client.call.read_device_information(read_code=4, object_id=object_id))
        same((dict(answer.information), answer.conformity, answer.number_of_objects), ({object_id: value}, 0x83, 1))
    refused(client.call.read_device_information(read_code=4, object_id=0x81), 43, 2)
    refused(client.call.read_device_information(read_code=5), 43, 3)


@scenario
def a_custom_code_that_nobody_handles_is_refused(client):
    refused(client.call.execute(False, Custom(dev_id=1)), 0x64, 1)


@scenario
def units_0_and_255_are_devices_of_their_own(client):
    for unit, expected in ((0, [1000, 1001]), (1, [10, 20]), (255, [2550, 2551])):
        same(list(good(client.call.read_holding_registers(0, count=2, device_id=unit)).registers), expected, f"unit {unit}")


@scenario
def unknown_and_disabled_units_answer_0b(client):
    refused(client.call.read_holding_registers(0, device_id=99), 3, 0x0B)
    refused(client.call.read_holding_registers(0, device_id=7), 3, 0x0B)


@scenario
def a_unit_serves_only_the_codes_it_lists(client):
    same(list(good(client.call.read_holding_registers(0, count=2, device_id=3)).registers), [300, 301])
    refused(client.call.write_register(0, 1, device_id=3), 6, 1)
    refused(client.call.read_coils(0, device_id=3), 1, 1)


@scenario
def serial_functions_can_be_turned_off(client):
    refused(client.call.read_exception_status(device_id=4), 7, 1)
    refused(client.call.diag_query_data(b"\x00\x01", device_id=4), 8, 1)
    refused(client.call.diag_get_comm_event_counter(device_id=4), 11, 1)
    refused(client.call.diag_get_comm_event_log(device_id=4), 12, 1)
    refused(client.call.report_device_id(device_id=4), 17, 1)
    same(list(good(client.call.read_holding_registers(0, count=1, device_id=4)).registers), [400])


run_all(Client)
