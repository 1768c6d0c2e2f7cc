"""Runs a test client of libmodbus 3.1.6. Each knows one address, 127.0.0.1:1502, and `unit-test-client` also [::1]:1502.

`tools.py` says where they come from and how they are built.
"""

import os
import pathlib
import subprocess

PROGRAMS = pathlib.Path(os.environ.get("WHARF_LIBMODBUS", "."))
# A busy machine takes minutes.
PATIENCE = 1200


def run(name, *arguments):
    """(exit status, what it printed, what it complained about)"""
    done = subprocess.run([PROGRAMS / name, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=PATIENCE, text=True, errors="replace", check=False)
    return done.returncode, done.stdout, done.stderr[-500:]
