"""A running `wharf run PLANT` with device ports, and its log: for `port_clients.py`."""

import os
import pathlib
import re
import signal
import subprocess
import tempfile
import threading
import time

PATIENCE = 300
"""Seconds that anything may take. It only ends a hang."""

_KEPT = 2000
"""Bytes of the log that an error shows."""


def same(actual, expected, what):
    if actual != expected:
        raise AssertionError(f"{what} is {actual!r:.200}, expected {expected!r:.200}")


class Log:
    """What a program writes to standard error, line by line."""

    def __init__(self, stream):
        self.lines = []
        self.grown = threading.Condition()
        self.reader = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self.reader.start()

    def _read(self, stream):
        for line in stream:
            with self.grown:
                self.lines.append(line.rstrip("\n"))
                self.grown.notify_all()

    def found(self, pattern):
        """Every match of a regular expression, in order."""
        with self.grown:
            return [match for match in (re.search(pattern, line) for line in self.lines) if match]

    def wait(self, pattern, count=1):
        """The matches of a regular expression, once there are so many."""
        deadline = time.monotonic() + PATIENCE
        with self.grown:
            while True:
                matches = [match for match in (re.search(pattern, line) for line in self.lines) if match]
                if len(matches) >= count:
                    return matches
                if not self.grown.wait(deadline - time.monotonic()):
                    raise AssertionError(f"{len(matches)} and not {count} lines of the log match {pattern!r}: {self.end()}")

    def end(self):
        return "\n".join(self.lines)[-_KEPT:]


class Plant:
    """Ports that run; used as a context it gives itself. It must end with status 0 on SIGTERM."""

    def __init__(self, wharf, *ports):
        self.wharf = wharf
        self.ports = ports

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="wharf-ports-")
        file = pathlib.Path(self.folder.name) / "plant.toml"
        file.write_text("[admin]\nsocket = false\n" + "".join(f"[[port]]\n{_toml(port)}" for port in self.ports))
        self.process = subprocess.Popen([str(self.wharf), "run", str(file)], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
                                        env={**os.environ, "NO_COLOR": "1"})
        self.log = Log(self.process.stderr)
        self.addresses = []
        for _ in self.ports:
            line = self.process.stdout.readline()
            if not line.startswith("listening "):
                self.process.kill()
                self.process.wait()
                self.log.reader.join(PATIENCE)
                self.folder.cleanup()
                raise AssertionError(f"wharf says {line!r}: {self.log.end()}")
            host, _, port = line.split()[1].rpartition(":")
            self.addresses.append((host.strip("[]"), int(port)))
        return self

    def __exit__(self, kind, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.reader.join(PATIENCE)
        self.folder.cleanup()
        # What went wrong first is what is told.
        if kind is None:
            same(self.process.returncode, 0, f"status of wharf ({self.log.end()})")

    @property
    def address(self):
        return self.addresses[0]


def _toml(options):
    return "".join(f"{key} = {_value(value)}\n" for key, value in options.items())


def _value(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\r").replace("\n", "\\n")
    return f'"{escaped}"'
