"""pyModbusTCP: its calls for 1 to 6, 15, 16, 23 and 43/14, and raw PDUs for each exception.

Exceptions are caused by the mistake that each of them stands for; those that only a fault can cause are in `faults.py`.
"""

from harness import PATIENCE, pdu, run_all, same, scenario, write_registers
from pyModbusTCP.client import ModbusClient


class Clients:
    """One client for each server."""

    def __init__(self, servers):
        def client(name):
            host, port = servers[name]
            return ModbusClient(host=host, port=port, unit_id=1, timeout=PATIENCE)

        self.plant, self.gateway = client("plant"), client("gateway")


def refused(client, request, code, unit=1):
    """The raw request must get this exception."""
    client.unit_id = unit
    answer = client.custom_request(request)
    client.unit_id = 1
    same((answer, client.last_error_as_txt, client.last_except), (None, "modbus exception", code),
         f"reply to {request.hex(' ')}")


def bits(packed):
    return [bool(byte >> bit & 1) for byte in packed for bit in range(8)]


@scenario
def fc1_reads_coils(clients):
    same(clients.plant.read_coils(0, 40), bits(b"\xcd\x6b\xb2\x7f\x00"))
    same(len(clients.plant.read_coils(0, 2000)), 2000, "number of coils")


@scenario
def fc2_reads_discrete_inputs(clients):
    same(clients.plant.read_discrete_inputs(0, 22), bits(b"\xac\xdb\x35")[:22])


@scenario
def fc3_reads_holding_registers(clients):
    same(clients.plant.read_holding_registers(0, 6), [10, 20, 30, 40, 50, 0])
    same(clients.plant.read_holding_registers(1000, 10), [7] * 10)


@scenario
def fc4_reads_input_registers(clients):
    same(clients.plant.read_input_registers(0, 4), [1, 2, 3, 65535])


@scenario
def fc5_writes_one_coil(clients):
    same(clients.plant.write_single_coil(300, True), True)
    same(clients.plant.read_coils(299, 3), [False, True, False])
    same(clients.plant.write_single_coil(300, False), True)
    same(clients.plant.read_coils(299, 3), [False, False, False])


@scenario
def fc6_writes_one_register(clients):
    same(clients.plant.write_single_register(300, 0xFFFF), True)
    same(clients.plant.read_holding_registers(299, 3), [0, 0xFFFF, 0])


@scenario
def fc15_writes_coils(clients):
    pattern = [True, False, False, True, True, True, False, True, True]
    same(clients.plant.write_multiple_coils(400, pattern), True)
    same(clients.plant.read_coils(399, 11), [False] + pattern + [False])


@scenario
def fc16_writes_registers(clients):
    values = list(range(1, 124))
    same(clients.plant.write_multiple_registers(400, values), True)
    same(clients.plant.read_holding_registers(399, 125), [0] + values + [0])


@scenario
def fc23_writes_before_it_reads(clients):
    same(clients.plant.write_read_multiple_registers(600, [5, 6, 7], 599, 5), [0, 5, 6, 7, 0])
    most = [n + 1000 for n in range(121)]
    same(clients.plant.write_read_multiple_registers(610, most, 610, 125), most + [0] * 4)


@scenario
def fc43_reads_the_identification(clients):
    basic = clients.plant.read_device_identification()
    same((basic.vendor_name, basic.product_code, basic.major_minor_revision), (b"Wharf", b"boiler", b"1.0"))
    everything = clients.plant.read_device_identification(read_code=3)
    same(everything.objects_by_id,
         {0: b"Wharf", 1: b"boiler", 2: b"1.0", 3: b"https://example.invalid", 4: b"Boiler", 5: b"B7", 6: b"heating",
          0x80: b"hall 3"})
    same((everything.conformity_level, everything.more_follows, everything.next_object_id), (0x83, 0, 0))
    one = clients.plant.read_device_identification(read_code=4, object_id=0x80)
    same(one.objects_by_id, {0x80: b"hall 3"})


@scenario
def fc17_carries_run_indicator_and_extra_bytes(clients):
    clients.plant.unit_id = 3
    answer = clients.plant.custom_request(b"\x11")
    clients.plant.unit_id = 1
    same(answer, b"\x11\x07\xb4\x00spare")


@scenario
def exception_01_for_codes_and_sub_functions_that_do_not_exist(clients):
    for request in (b"\x64", b"\x41\x00", b"\x09", b"\x2b\x0d\x01\x00", b"\x2b\xc8\x01\x00", pdu(8, 19, 0), pdu(8, 21, 3)):
        refused(clients.plant, request, 1)
    refused(clients.plant, pdu(6, 0, 1), 1, unit=3)


@scenario
def exception_02_for_addresses_outside_the_blocks(clients):
    for request in (pdu(1, 1999, 2), pdu(2, 22, 1), pdu(3, 1005, 6), pdu(4, 4, 1), pdu(5, 2000, 0xFF00), pdu(6, 1010, 0),
                    pdu(15, 1999, 2) + b"\x01\x03", write_registers(1009, [1, 2]), pdu(22, 1010, 0, 0),
                    pdu(23, 1009, 2, 0, 1) + b"\x02\x00\x00", pdu(24, 1247), b"\x2b\x0e\x04\x07",
                    pdu(3, 65535, 2), pdu(6, 900, 1)):
        refused(clients.plant, request, 2)


@scenario
def exception_03_for_quantities_and_values_that_cannot_be(clients):
    for request in (pdu(1, 0, 0), pdu(1, 0, 2001), pdu(2, 0, 0), pdu(3, 0, 0), pdu(3, 0, 126), pdu(4, 0, 126),
                    pdu(5, 0, 0x1234), pdu(15, 0, 0) + b"\x00", write_registers(0, []), pdu(24, 1300),
                    b"\x2b\x0e\x00\x00", b"\x2b\x0e\x05\x00", pdu(8, 1, 1), b"\x08\x00", b"\x2b"):
        refused(clients.plant, request, 3)


@scenario
def exception_08_for_a_damaged_file_record(clients):
    refused(clients.plant, bytes([20, 7, 6]) + b"\x00\x04\x00\xbe\x00\x01", 8)
    refused(clients.plant, bytes([21, 9, 6]) + b"\x00\x04\x00\xc7\x00\x01\x00\x00", 8)


@scenario
def exception_0a_and_0b_for_units_that_nobody_answers_for(clients):
    refused(clients.gateway, pdu(3, 0, 1), 0x0A, unit=9)
    refused(clients.gateway, pdu(3, 0, 1), 0x0A, unit=255)
    refused(clients.plant, pdu(3, 0, 1), 0x0B, unit=9)
    refused(clients.plant, pdu(3, 0, 1), 0x0B, unit=7)


@scenario
def units_0_and_255_are_devices_of_their_own(clients):
    for unit, expected in ((0, [1000, 1001]), (255, [2550, 2551]), (1, [10, 20])):
        clients.plant.unit_id = unit
        same(clients.plant.read_holding_registers(0, 2), expected, f"unit {unit}")


run_all(Clients)
