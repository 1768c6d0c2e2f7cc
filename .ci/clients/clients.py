#!/usr/bin/env python3
"""Runs independent Modbus clients against `wharf modbus serve` on loopback.

    .ci/clients/clients.py [--wharf PROGRAM] [--venv FOLDER] [--poll-seconds N] [SUITE...]

Every suite gets servers of its own, which listen on free ports, must announce them, and must end with status 0 on
SIGTERM. Suites run side by side. The last line is `clients: N passed, M failed`; the exit status is 1 if any failed.
"""

import argparse
import concurrent.futures
import contextlib
import os
import pathlib
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
REQUIREMENTS = HERE / "requirements.txt"

# What `wharf modbus serve` is told, by the name that scenarios use for the server.
SERVERS = {
    "plant": [HERE / "plant.toml"],
    "impatient": [HERE / "impatient.toml"],
    "gateway": [HERE / "gateway.toml"],
    "faulty": [HERE / "faulty.toml"],
    "plain": ["--listen", "127.0.0.1:0", "--units", "1,3-5", "--size", "100"],
}
# The servers that each scenario file needs, and the program without which it is skipped.
SUITES = {
    "pymodbus_client": (("plant", "impatient"), None),
    "pymodbustcp_client": (("plant", "gateway"), None),
    "mbpoll_client": (("plant",), "mbpoll"),
    "awkward": (("plant", "plain", "impatient", "gateway"), None),
    "faults": (("faulty",), None),
}
START_SECONDS = 20
STOP_SECONDS = 60


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


def run_suite(suite, wharf, python, environment):
    """The lines that the suite printed, one per scenario."""
    names, _ = SUITES[suite]
    lines, servers = [], []
    with tempfile.TemporaryDirectory(prefix="wharf-clients-") as runtime, contextlib.ExitStack() as cleanup:
        try:
            for name in names:
                server = Server(wharf, name, runtime)
                servers.append(server)
                cleanup.callback(server.process.wait)
                cleanup.callback(server.process.kill)
        except (OSError, RuntimeError) as error:
            # A plant may ask for what this version does not have yet and says so: no failure, but said aloud.
            if "not supported by this version" in str(error):
                return [f"skipped: {error}"]
            return [f"FAIL the servers start: {error}"]
        addresses = [f"{server.name}={server.address}" for server in servers]
        done = subprocess.run([python, str(HERE / f"{suite}.py"), *addresses], text=True, check=False, env=environment,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        lines += done.stdout.splitlines()
        if done.returncode != 0 and not any(line.startswith("FAIL ") for line in lines):
            lines.append(f"FAIL the scenario file runs: status {done.returncode}: {done.stderr[-2000:]}")
        elif done.returncode != 0 and environment.get("WHARF_CLIENTS_TRACE"):
            lines += done.stderr.splitlines()
        for server in servers:
            trouble = server.stop()
            what = f"server {server.name} ends with status 0 on SIGTERM"
            lines.append(f"FAIL {what}: {trouble}" if trouble else f"ok {what}")
    return lines


def ensure_venv(folder):
    """The interpreter of a virtual environment that has the pinned clients."""
    python, stamp = folder / "bin" / "python", folder / "installed"
    wanted = REQUIREMENTS.read_text()
    if not (stamp.exists() and stamp.read_text() == wanted):
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", REQUIREMENTS],
                       check=True)
        stamp.write_text(wanted)
    return str(python)


def main():
    parser = argparse.ArgumentParser(description="independent Modbus clients against wharf")
    parser.add_argument("--wharf", type=pathlib.Path, default=TARGET / "release" / "wharf")
    parser.add_argument("--venv", type=pathlib.Path, default=TARGET / "clients-venv")
    parser.add_argument("--poll-seconds", type=float, default=60, help="how long mbpoll polls every 10 ms")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(SUITES))
    options = parser.parse_args()
    unknown = [suite for suite in options.suites if suite not in SUITES]
    if unknown:
        parser.error(f"no suite {', '.join(unknown)}; there are {', '.join(SUITES)}")
    if not options.wharf.exists():
        parser.error(f"{options.wharf} is missing; build it with cargo build --release --bin wharf")

    python = ensure_venv(options.venv)
    environment = {**os.environ, "WHARF_POLL_SECONDS": str(options.poll_seconds), "PYTHONUNBUFFERED": "1"}
    chosen = []
    for suite in options.suites or SUITES:
        program = SUITES[suite][1]
        if program and not shutil.which(program):
            print(f"skipped {suite}: {program} is not installed")
        else:
            chosen.append(suite)

    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(len(chosen) or 1) as pool:
        running = {pool.submit(run_suite, suite, options.wharf, python, environment): suite for suite in chosen}
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
