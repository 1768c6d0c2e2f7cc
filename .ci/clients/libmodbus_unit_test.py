"""libmodbus's own `unit-test-client` 3.1.6, unmodified, against the plant of `libmodbus.toml` instead of its own server.

It stops at its first failure and says on which line of its source. Two of its checks depend on how soon the machine lets
programs run: one of a timeout of 1 us, which it forgives and which is not counted here, and one that demands each byte
within 7 ms of the one before, which are sent 4 ms apart. When that one fails the client is run again.
"""

from harness import run_all, same, scenario
from libmodbus_program import run

LUCK = "4/6 1us response timeout: "
IN_TIME = "2/2 Adapted byte timeout (7ms > 5ms): "
ATTEMPTS = 50


def checks(backend):
    """How many checks the client says are well; it must pass all that it makes."""
    for _ in range(ATTEMPTS):
        status, said, _ = run("unit-test-client", backend)
        if f"{IN_TIME}\n" not in said:
            break
    failed = [line for line in said.splitlines() if "assertion error" in line]
    same((failed, status), ([], 0), "failed checks and status")
    same("\nALL TESTS PASS WITH SUCCESS.\n" in said, True, "its own opinion")
    return said.count("OK\n") - said.count(f"{LUCK}OK\n")


@scenario
def all_checks_pass_over_ipv4(_):
    same(checks("tcp"), 110, "checks")


@scenario
def all_checks_pass_over_ipv6(_):
    # Two checks of the time between bytes are made over IPv4 alone.
    same(checks("tcppi"), 108, "checks")


run_all(lambda servers: servers)
