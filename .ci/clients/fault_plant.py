"""One running `wharf` with a server for each fault, so that none can hide another."""

import os
import pathlib
import re
import subprocess
import tempfile
import threading

from fault_conversation import ONE_BY_ONE, TOGETHER, WRITING

STOP_SECONDS = 60
_SERVER = """
[[modbus.server]]
name = "{name}"
listen = ["127.0.0.1:0"]
max_connections = 8
linger = "{linger}"
fault = [{fault}]
[[modbus.server.unit]]
id = 1
block = [
  {{ table = "holding", start = 0, len = 16, values = {holding} }},
  {{ table = "input", start = 0, len = 16, values = {input} }},
]
"""
HOLDING = [0x1000 + entry for entry in range(16)]
INPUT = [0x2000 + entry for entry in range(16)]

# Every fault on a request is aimed at the second one of its conversation.
_AIM = {ONE_BY_ONE: "functions = [3], addresses = [3, 4]", TOGETHER: "functions = [3], addresses = [3, 4]",
        WRITING: "functions = [16]"}
_UNAIMED = ("accept_close", "stall_accept", "refuse")


class Plant:
    """The servers of some cases, in their order. Use it as a context."""

    def __init__(self, program, cases):
        self.program = program
        self.folder = tempfile.TemporaryDirectory(prefix="wharf-faults-")
        self.home = pathlib.Path(self.folder.name)
        self.socket = self.home / "admin.sock"
        servers = [_SERVER.format(name=f"s{at}", linger=case.linger, fault=_fault(case), holding=HOLDING, input=INPUT)
                   for at, case in enumerate(cases)]
        file = self.home / "faults.toml"
        file.write_text("\n".join([f'[admin]\nsocket = "{self.socket}"', *servers]))
        self.errors = (self.home / "errors").open("w+b")
        self.process = subprocess.Popen([program, "modbus", "serve", file], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=self.errors, text=True)
        self.addresses = []
        for _ in cases:
            found = re.fullmatch(r"listening (.+):(\d+)", self.process.stdout.readline().strip())
            if not found:
                self.process.kill()
                raise AssertionError(f"{len(self.addresses)} of {len(cases)} servers listen: {self.said()}")
            self.addresses.append((found[1], int(found[2])))
        # So that the server never blocks on what it prints.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.errors.close()
        self.folder.cleanup()

    def switch(self, at, on):
        """Switches the fault of a server; it is in force when this comes back."""
        subprocess.run([self.program, "modbus", "control", "--admin", self.socket, "--server", f"s{at}", "fault",
                        "on" if on else "off", "f"], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def stop(self):
        """Ends it by SIGTERM, and with it every connection."""
        self.process.terminate()
        try:
            status = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            status = f"still running {STOP_SECONDS} s after SIGTERM"
        if status != 0:
            raise AssertionError(f"wharf ends with status {status}: {self.said()}")

    def said(self):
        self.errors.seek(0)
        return self.errors.read()[-2000:].decode(errors="replace").strip()


def _fault(case):
    if not case.fault:
        return ""
    aim = "" if case.kind in _UNAIMED else f", {_AIM[case.conversation]}"
    return f'{{ name = "f", {case.fault}{aim} }}'
