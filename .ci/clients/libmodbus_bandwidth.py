"""libmodbus's `bandwidth-client` against a server without a plant: it ends at the first reply that is not right."""

from harness import run_all, same, scenario
from libmodbus_program import run


@scenario
def its_bandwidth_client_reads_and_writes_three_hundred_thousand_times(_):
    status, said, complaints = run("bandwidth-client", "tcp")
    same((status, complaints), (0, ""), "status and complaints")
    same([said.count(head) for head in ("READ BITS\n", "\nREAD REGISTERS\n", "WRITE AND READ REGISTERS\n")], [1, 1, 1])


run_all(lambda servers: servers)
