#!/usr/bin/env python3
"""Runs independent Modbus clients against `wharf modbus serve` on loopback.

    .ci/clients/clients.py [--wharf PROGRAM] [--tools FOLDER] [--tokio-client PROGRAM] [--vectors PROGRAM]
                           [--poll-seconds N] [SUITE...]

Every suite gets servers of its own, or starts one itself; they must announce their addresses and must end with status 0
on SIGTERM. They listen on free ports, but for those of libmodbus, whose clients know one port alone. Suites run side by
side where their ports allow it. What a suite needs is put into the folder of tools if it is missing; where that cannot
be, the suite is skipped aloud. Where there is tshark, the conversations of suites with a tap are recorded, and it must
find them sound; where its dumpcap may record the loopback interface too, captures of every fault must show that fault
alone.
The last line is `clients: N passed, M failed`; the exit status is 1 if any failed.
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import os
import pathlib
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading

import captured
import tools
from capture import Tap

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))

# What `wharf modbus serve` is told, by the name that scenarios use for the server.
SERVERS = {
    "plant": [HERE / "plant.toml"],
    "impatient": [HERE / "impatient.toml"],
    "gateway": [HERE / "gateway.toml"],
    "faulty": [HERE / "faulty.toml"],
    "plain": ["--listen", "127.0.0.1:0", "--units", "1,3-5", "--size", "100"],
    "libmodbus": [HERE / "libmodbus.toml"],
    "zeroed": ["--listen", "127.0.0.1:0"],
    "plain-1502": ["--listen", "127.0.0.1:1502"],
}
# What is in the servers whose conversations are recorded.
STORES = {
    "plant": lambda: captured.Store.of_plant(HERE / "plant.toml"),
    "zeroed": lambda: captured.Store.zeroed([255], 10_000),
}


@dataclasses.dataclass(frozen=True)
class Suite:
    """A scenario file, the servers that it talks to, and what runs it."""

    servers: tuple
    needs: str = "python"
    """What it takes: a key of `Toolbox`, or the name of a program."""
    exclusive: bool = False
    """It needs the fixed port, so that suites like it take turns."""
    tap: tuple = ()
    """The server that it reaches through a tap, and the port of the tap, where 0 is any."""


SUITES = {
    "pymodbus_client": Suite(("plant", "impatient"), tap=("plant", 0)),
    "pymodbustcp_client": Suite(("plant", "gateway"), tap=("plant", 0)),
    "mbpoll_client": Suite(("plant",), "mbpoll", tap=("plant", 0)),
    "modbus_serial": Suite(("plant",), "node", tap=("plant", 0)),
    "jsmodbus": Suite(("plant",), "node", tap=("plant", 0)),
    "tokio_modbus": Suite(("plant",), "tokio", tap=("plant", 0)),
    "libmodbus_random": Suite(("zeroed",), "libmodbus", exclusive=True, tap=("zeroed", 1502)),
    "libmodbus_bandwidth": Suite(("plain-1502",), "libmodbus", exclusive=True),
    "libmodbus_unit_test": Suite(("libmodbus",), "libmodbus", exclusive=True),
    "vector_table": Suite((), "vectors"),
    "awkward": Suite(("plant", "plain", "impatient", "gateway")),
    "faults": Suite(("faulty",)),
    "fault_captures": Suite((), "recorder"),
}
START_SECONDS = 60
STOP_SECONDS = 60
FIXED_PORT = threading.Lock()


class Toolbox:
    """The command that runs a suite, by what it needs; each tool is made ready once."""

    def __init__(self, folder, tokio_client, vectors):
        self.folder = folder
        self.built = {"tokio": tokio_client, "vectors": vectors}
        self.python = tools.venv(folder / "clients-venv")
        self.ready = {"python": (self.python,)}

    def command(self, name, needs):
        """Command and additions to the environment for suite `name`."""
        if needs not in self.ready:
            self.ready[needs] = self._make(needs)
        program, *more = self.ready[needs]
        if needs == "node":
            return [program, HERE / "node" / f"{name}.js"], {"NODE_PATH": more[0]}
        if needs == "tokio":
            return [program], {}
        if needs == "libmodbus":
            return [self.python, HERE / f"{name}.py"], {"WHARF_LIBMODBUS": program}
        if needs == "vectors":
            return [self.python, HERE / f"{name}.py"], {"WHARF_VECTORS": program}
        return [self.python, HERE / f"{name}.py"], {}

    def _make(self, needs):
        if needs == "node":
            return tools.node_modules(self.folder / "clients-node")
        if needs in self.built:
            if not (self.built[needs] and self.built[needs].exists()):
                raise tools.Missing(f"{self.built[needs]} is not built")
            if needs == "vectors":
                tools.program("tshark")
            return (str(self.built[needs]),)
        if needs == "recorder":
            return (tools.recorder(),)
        if needs == "libmodbus":
            return (str(tools.libmodbus(self.folder / "clients-libmodbus")),)
        return (tools.program(needs),)


class Server:
    """One running `wharf`; `address` is what it announced."""

    def __init__(self, wharf, name, runtime):
        self.name = name
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [str(wharf), "modbus", "serve", *map(str, SERVERS[name])],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.errors, text=True,
            env={**os.environ, "WHARF_RUNTIME_DIR": runtime},
        )
        announced = queue.Queue()
        threading.Thread(target=self._watch, args=(announced,), daemon=True).start()
        try:
            self.address = announced.get(timeout=START_SECONDS)
        except queue.Empty:
            self.address = None
        if self.address is None:
            self.process.kill()
            status = self.process.wait()
            raise RuntimeError(f"server {name} announced no address (status {status}): {self.said()}")

    def _watch(self, announced):
        """Reads standard output to its end, so that the server never blocks on it."""
        for line in self.process.stdout:
            found = re.fullmatch(r"listening (\S+)", line.strip())
            if found:
                announced.put(found[1])
        announced.put(None)

    def said(self):
        """The end of what it wrote to standard error."""
        self.errors.seek(0)
        return self.errors.read()[-2000:].decode(errors="replace").strip()

    def stop(self):
        """Why the server did not end with status 0 on SIGTERM, or None."""
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return f"still running {STOP_SECONDS} s after SIGTERM"
        return None if status == 0 else f"status {status}: {self.said()}"


def run_suite(suite, wharf, command, environment):
    """The lines that the suite printed, one per scenario."""
    with FIXED_PORT if suite.exclusive else contextlib.nullcontext():
        return _run_suite(suite, wharf, command, environment)


def _run_suite(suite, wharf, command, environment):
    lines, servers, tap = [], [], None
    with tempfile.TemporaryDirectory(prefix="wharf-clients-") as runtime, contextlib.ExitStack() as cleanup:
        addresses = {}
        try:
            for name in suite.servers:
                server = Server(wharf, name, runtime)
                servers.append(server)
                addresses[name] = server.address
                cleanup.callback(server.process.wait)
                cleanup.callback(server.process.kill)
            if suite.tap:
                name, port = suite.tap
                host, _, target = addresses[name].rpartition(":")
                tap = cleanup.enter_context(Tap((host, int(target)), ("127.0.0.1", port)))
                addresses[name] = "{}:{}".format(*tap.address)
        except (OSError, RuntimeError) as error:
            # A plant may ask for what this version does not have yet and says so: no failure, but said aloud.
            if "not supported by this version" in str(error):
                return [f"skipped: {error}"]
            return [f"FAIL the servers start: {error}"]
        pairs = [f"{name}={address}" for name, address in addresses.items()]
        done = subprocess.run([*map(str, command), *pairs], text=True, errors="replace", check=False, env=environment,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        lines += done.stdout.splitlines()
        if done.returncode != 0 and not any(line.startswith("FAIL ") for line in lines):
            lines.append(f"FAIL the scenario file runs: status {done.returncode}: {done.stderr[-2000:]}")
        elif done.returncode != 0 and environment.get("WHARF_CLIENTS_TRACE"):
            lines += done.stderr.splitlines()
        for server in servers:
            trouble = server.stop()
            lines.append(_line(f"server {server.name} ends with status 0 on SIGTERM", trouble))
    if tap:
        lines += _decoded(suite.tap[0], tap.capture)
    return lines


def _decoded(name, capture):
    """What tshark says about a conversation with the server of this name."""
    try:
        tools.program("tshark")
        return [_line(what, trouble) for what, trouble in captured.check(capture, STORES[name]())]
    except tools.Missing as missing:
        return [f"skipped: decoding by tshark: {missing}"]
    except (AssertionError, KeyError, ValueError) as error:
        return [f"FAIL tshark decodes the conversation: {type(error).__name__}: {error}"]


def _line(what, trouble):
    return f"FAIL {what}: {trouble}" if trouble else f"ok {what}"


def main():
    parser = argparse.ArgumentParser(description="independent Modbus clients against wharf")
    parser.add_argument("--wharf", type=pathlib.Path, default=TARGET / "release" / "wharf")
    parser.add_argument("--tools", type=pathlib.Path, default=TARGET, help="where clients are installed")
    parser.add_argument("--tokio-client", type=pathlib.Path, default=TARGET / "debug" / "modbus-tokio-client",
                        help="the program of that name in benches")
    parser.add_argument("--vectors", type=pathlib.Path, default=TARGET / "debug" / "examples" / "vectors",
                        help="the example of that name in tests")
    parser.add_argument("--poll-seconds", type=float, default=60, help="how long mbpoll polls every 10 ms")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(SUITES))
    options = parser.parse_args()
    unknown = [suite for suite in options.suites if suite not in SUITES]
    if unknown:
        parser.error(f"no suite {', '.join(unknown)}; there are {', '.join(SUITES)}")
    if not options.wharf.exists():
        parser.error(f"{options.wharf} is missing; build it with cargo build --release --bin wharf")

    toolbox = Toolbox(options.tools, options.tokio_client, options.vectors)
    environment = {**os.environ, "WHARF_POLL_SECONDS": str(options.poll_seconds), "PYTHONUNBUFFERED": "1",
                   "WHARF_PROGRAM": str(options.wharf)}
    chosen = {}
    for suite in options.suites or SUITES:
        try:
            command, more = toolbox.command(suite, SUITES[suite].needs)
            chosen[suite] = (command, {**environment, **more})
        except tools.Missing as missing:
            print(f"skipped {suite}: {missing}")

    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(len(chosen) or 1) as pool:
        running = {pool.submit(run_suite, SUITES[suite], options.wharf, *how): suite for suite, how in chosen.items()}
        for done in concurrent.futures.as_completed(running):
            print(f"{running[done]}:")
            for line in done.result():
                print(f"  {line}")
                passed += line.startswith("ok ")
                failed += line.startswith("FAIL ")
    print(f"clients: {passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
