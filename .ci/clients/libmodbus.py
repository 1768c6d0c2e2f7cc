"""The load and random test clients that come with libmodbus 3.1.6, against a server without a plant.

They know one address, 127.0.0.1:1502. `tools.py` says where they come from and how they are built.
"""

import os
import pathlib
import subprocess

from harness import run_all, same, scenario

PROGRAMS = pathlib.Path(os.environ.get("WHARF_LIBMODBUS", "."))
# A busy machine takes minutes.
PATIENCE = 1200


def run(name, *arguments):
    """What the program printed; it must end with status 0."""
    done = subprocess.run([PROGRAMS / name, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=PATIENCE, text=True, errors="replace", check=False)
    same((done.returncode, done.stderr[-500:]), (0, ""), f"status and errors of {name}")
    return done.stdout


@scenario
def its_random_test_client_finds_every_value_as_it_wrote_it(_):
    said = run("random-test-client")
    same([line for line in said.splitlines() if "ERROR" in line or line.startswith("Test: ")], ["Test: SUCCESS"])


@scenario
def its_bandwidth_client_reads_and_writes_three_hundred_thousand_times(_):
    said = run("bandwidth-client", "tcp")
    same([said.count(head) for head in ("READ BITS\n", "\nREAD REGISTERS\n", "WRITE AND READ REGISTERS\n")], [1, 1, 1])


run_all(lambda servers: servers)
