#!/usr/bin/env python3
"""Runs programs that share no code with Wharf against the examples of the event loop, on loopback.

    .ci/clients/loop_clients.py --examples FOLDER

A scenario whose program is not installed is skipped aloud. The last line is `clients: N passed, M failed`; the exit
status is 1 if any failed.
"""

import argparse
import asyncio
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

PATIENCE = 60
CLIENTS = 200

_scenarios = []


def scenario(*programs):
    """Registers a scenario that needs these programs."""
    def register(function):
        _scenarios.append((function, programs))
        return function
    return register


class Example:
    """A running example; ends by Ctrl-C, with status 0."""

    def __init__(self, folder, name, *arguments):
        self.name = name
        self.process = subprocess.Popen([folder / name, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        text=True)

    def __enter__(self):
        line = self.process.stdout.readline().strip()
        found = re.fullmatch(r"listening on (\S+)", line)
        if not found:
            raise AssertionError(f"{self.name} says {line!r}")
        return found[1]

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        _, _ = self.process.communicate(timeout=PATIENCE)
        same(self.process.returncode, 0, f"status of {self.name}")


def same(actual, expected, what):
    if actual != expected:
        raise AssertionError(f"{what} is {actual!r:.200}, expected {expected!r:.200}")


def run(command, data=b""):
    """What a program prints that is given `data` and then the end of its input."""
    done = subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE,
                          check=False)
    same(done.returncode, 0, f"status of {command[0]} ({done.stderr[-300:].decode(errors='replace')})")
    return done.stdout


async def _client(host, port, seed):
    """Sends pieces of random sizes, ends its side, and must get all of them back before the end."""
    sizes = random.Random(seed)
    reader, writer = await asyncio.open_connection(host, port)
    sent = bytearray()
    back = asyncio.create_task(reader.read(-1))
    for _ in range(sizes.randint(1, 20)):
        piece = sizes.randbytes(sizes.choice([1, 100, 1460, 20_000, 100_000]))
        sent += piece
        writer.write(piece)
        await writer.drain()
    writer.write_eof()
    same(await back, bytes(sent), f"echo of client {seed}")
    writer.close()
    await writer.wait_closed()


@scenario()
def two_hundred_asyncio_clients_get_their_bytes_back(examples):
    async def all_of_them(host, port):
        await asyncio.wait_for(asyncio.gather(*(_client(host, port, seed) for seed in range(CLIENTS))), PATIENCE)

    with Example(examples, "echo") as address:
        host, _, port = address.rpartition(":")
        asyncio.run(all_of_them(host, int(port)))


@scenario("socat")
def socat_half_closes_and_still_hears_everything(examples):
    data = random.Random(1).randbytes(3_000_000)
    for address, kind in (("127.0.0.1:0", "TCP4"), ("[::1]:0", "TCP6")):
        with Example(examples, "echo", address) as at:
            same(run(["socat", "-t30", "-", f"{kind}:{at}"], data), data, f"echo over {kind}")


@scenario("socat")
def socat_speaks_through_a_unix_socket(examples):
    data = random.Random(2).randbytes(500_000)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "echo.sock")
        with Example(examples, "echo", path) as at:
            same(at, path, "path")
            same(os.stat(path).st_mode & 0o777, 0o600, "mode")
            same(run(["socat", "-t30", "-", f"UNIX-CONNECT:{path}"], data), data, "echo")
        same(os.path.exists(path), False, "the path after the end")


@scenario("socat")
def socat_gets_its_datagrams_back(examples):
    for address, kind in (("127.0.0.1:0", "UDP4"), ("[::1]:0", "UDP6")):
        with Example(examples, "udp_ping", "server", address) as at:
            same(run(["socat", "-t1", "-", f"{kind}:{at}"], b"to and fro"), b"to and fro", f"echo over {kind}")


@scenario("wrk")
def wrk_finds_no_answer_wrong(examples):
    with Example(examples, "http") as at:
        said = run(["wrk", "-t1", "-c40", "-d2s", f"http://{at}/"]).decode()
        same(re.findall("Socket errors.*|Non-2xx.*", said), [], "complaints")
        same(int(re.search(r"(\d+) requests in", said)[1]) > 0, True, "whether there were answers")


@scenario("openssl")
def openssl_times_new_and_resumed_handshakes(examples):
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = (os.path.join(folder, name) for name in ("certificate.pem", "key.pem"))
        run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
             "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out",
             certificate])
        # s_time has no option for the latest version alone: it takes what the server offers first.
        for how, version in (("-new", []), ("-reuse", ["-tls1_2"])):
            with TlsEcho(examples, certificate, key) as at:
                said = run(["openssl", "s_time", "-connect", at, "-time", "1", how, *version]).decode()
                same(int(re.search(r"(\d+) connections in", said)[1]) > 0, True, f"whether {how} connected")


class TlsEcho(Example):
    """The TLS example, which prints a line for every client: read, or it would wait for us."""

    def __init__(self, folder, certificate, key):
        super().__init__(folder, "echo_tls", certificate, key)

    def __enter__(self):
        at = super().__enter__()
        threading.Thread(target=self._swallow, daemon=True).start()
        return at

    def _swallow(self):
        for _ in self.process.stdout:
            pass

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        same(self.process.wait(PATIENCE), 0, f"status of {self.name}")


def main():
    parser = argparse.ArgumentParser(description="independent clients against the examples of the event loop")
    parser.add_argument("--examples", type=pathlib.Path, required=True)
    examples = parser.parse_args().examples.resolve()
    passed = failed = 0
    for function, programs in _scenarios:
        name = function.__name__.replace("_", " ")
        missing = [program for program in programs if not shutil.which(program)]
        if missing:
            print(f"skipped {name}: {', '.join(missing)} is not installed")
            continue
        try:
            function(examples)
        except Exception as error:  # a scenario may fail in any way; the others still run
            failed += 1
            print(f"FAIL {name}: {type(error).__name__}: {error}", flush=True)
        else:
            passed += 1
            print(f"ok {name}", flush=True)
    print(f"clients: {passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
