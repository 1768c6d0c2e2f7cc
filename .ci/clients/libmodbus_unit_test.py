"""libmodbus's own `unit-test-client` 3.1.6, unmodified, against the plant of `libmodbus.toml` instead of its own server.

It stops at its first failure and says on which line of its source. Of its checks one, that of a timeout of 1 us, is luck
and not counted.
"""

import os
import pathlib
import subprocess

from harness import run_all, same, scenario

PROGRAM = pathlib.Path(os.environ.get("WHARF_LIBMODBUS", ".")) / "unit-test-client"
PATIENCE = 120
LUCK = "4/6 1us response timeout: "


def checks(backend):
    """How many checks the client says are well; it must pass all that it makes."""
    done = subprocess.run([PROGRAM, backend], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=PATIENCE, text=True, errors="replace", check=False)
    lines = done.stdout.splitlines()
    failed = [line for line in lines if "assertion error" in line]
    same((failed, done.returncode, lines[-1]), ([], 0, "ALL TESTS PASS WITH SUCCESS."))
    return done.stdout.count("OK\n") - done.stdout.count(f"{LUCK}OK\n")


@scenario
def all_checks_pass_over_ipv4(_):
    same(checks("tcp"), 110, "checks")


@scenario
def all_checks_pass_over_ipv6(_):
    # Two checks of the time between bytes are made over IPv4 alone.
    same(checks("tcppi"), 108, "checks")


run_all(lambda servers: servers)
