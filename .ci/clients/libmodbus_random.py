"""libmodbus's `random-test-client` against a server without a plant: it reads back what it wrote, at a hundred places."""

from harness import run_all, same, scenario
from libmodbus_program import run


@scenario
def its_random_test_client_finds_every_value_as_it_wrote_it(_):
    status, said, complaints = run("random-test-client")
    same((status, complaints), (0, ""), "status and complaints")
    same([line for line in said.splitlines() if "ERROR" in line or line.startswith("Test: ")], ["Test: SUCCESS"])


run_all(lambda servers: servers)
