#!/usr/bin/env python3
"""Runs clients that others wrote against device ports of `wharf run PLANT`, on loopback.

    .ci/clients/port_clients.py [--wharf PROGRAM] [--tools FOLDER] [WORD...]

With words only the scenarios run whose names have one of them. A scenario whose program is missing is skipped aloud;
so is `tcp_load_test` of uSockets, unless WHARF_TCP_LOAD_TEST has its command. The last line is
`clients: N passed, M failed`; the exit status is 1 if any failed.
"""

import argparse
import os
import pathlib
import random
import re
import shutil
import socket
import subprocess
import sys
import threading

import port_ncat
import tools
from port_plant import PATIENCE, Plant, same

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))

LOAD_TEST = "WHARF_TCP_LOAD_TEST"
"""Names the command of uSockets' load generator; connections, host and port are added."""
RATES = 2
"""Rates that it prints, one each four seconds, before it is ended."""
BULK = 16 << 20
BUSY = "busy, try later\r\n"
PARTINGS = 50
PARTING_SIZE = 12_000
"""Bytes written just before a close: less than a send queue, since a broker waits for nobody."""

_scenarios = []


def scenario(*programs, modules=()):
    """Registers a scenario that needs these programs and these modules of Python."""
    def register(function):
        _scenarios.append((function, programs, modules))
        return function
    return register


class Tools:
    """What the scenarios run: Wharf, and interpreters by the module that they have."""

    def __init__(self, wharf, folder):
        self.wharf = wharf.resolve()
        self.folder = folder
        self.interpreters = {}

    def plant(self, *ports):
        return Plant(self.wharf, *ports)

    def interpreter(self, module):
        """An interpreter that can import this: Debian's, or that of the clients from PyPI."""
        if module not in self.interpreters:
            self.interpreters[module] = self._interpreter(module)
        return self.interpreters[module]

    def _interpreter(self, module):
        for python in (sys.executable, "/usr/bin/python3"):
            if os.path.exists(python) and subprocess.run([python, "-c", f"import {module}"], check=False,
                                                         stderr=subprocess.DEVNULL).returncode == 0:
                return python
        python = tools.venv(self.folder / "clients-venv")
        if subprocess.run([python, "-c", f"import {module}"], check=False, stderr=subprocess.DEVNULL).returncode:
            raise tools.Missing(f"no Python has the module {module}")
        return python

    def run(self, module, what, address, data=b""):
        """What the client of this module prints."""
        script = HERE / f"port_{module if module != 'serial' else 'pyserial'}.py"
        return run([self.interpreter(module), script, what, address[0], str(address[1])], data)


def run(command, data=b"", status=0):
    """What a program prints that is given `data` and then the end of its input."""
    done = subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE,
                          check=False)
    same(done.returncode, status, f"status of {command[0]} ({done.stderr[-300:].decode(errors='replace')})")
    return done.stdout


def exchange(command, data):
    """What a program prints that is given `data`, and the end of its input only when as much has come back."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        patience = threading.Timer(PATIENCE, program.kill)
        patience.start()
        program.stdin.write(data)
        program.stdin.flush()
        heard = program.stdout.read(len(data))
        program.stdin.close()
        heard += program.stdout.read()
        patience.cancel()
    same(program.returncode, 0, f"status of {command[0]}")
    return heard


def echo(name, address="127.0.0.1:0", slots=2, **more):
    return {"name": name, "address": address, "slots": slots, "mode": "echo", **more}


def broker(name, slots, **more):
    return {"name": name, "address": "127.0.0.1:0", "slots": slots, "mode": "broker", **more}


# --- socat -----------------------------------------------------------------------------------------------------------


def _bulk_through(programs, listen, connect, peer):
    data = random.Random(1).randbytes(BULK)
    # With `keep` no timer ends what the echo should.
    with programs.plant(echo("bulk", listen, half_close="keep")) as plant:
        at = f"{connect}:{plant.address[1]}"
        # It would wait this long for the end after ours: longer than anybody has patience.
        same(run(["socat", f"-t{2 * PATIENCE}", "-", at], data) == data, True, "whether the same bytes came back")
        plant.log.wait(rf"bulk:0 connected {peer}:\d+$")
        plant.log.wait(r"bulk:0 disconnected \w+$")


@scenario("socat")
def socat_gets_16_mib_back_and_then_the_end_over_ipv4(programs):
    _bulk_through(programs, "127.0.0.1:0", "TCP4:127.0.0.1", r"127\.0\.0\.1")


@scenario("socat")
def socat_gets_16_mib_back_and_then_the_end_over_ipv6(programs):
    _bulk_through(programs, "[::1]:0", "TCP6:[::1]", r"\[::1\]")


@scenario("socat")
def socat_reaches_every_interface_of_both_families_by_ipv4_and_is_shown_so(programs):
    _bulk_through(programs, "[::]:0", "TCP4:127.0.0.1", r"127\.0\.0\.1")


@scenario("socat")
def socat_gets_datagrams_of_1_and_65507_bytes_back_whole_and_one_of_none_harms_nobody(programs):
    with programs.plant({"name": "echoed", "address": "127.0.0.1:0 udp", "mode": "echo"}) as plant:
        at = f"UDP4:127.0.0.1:{plant.address[1]}"
        for size in (1, 65507):
            data = random.Random(size).randbytes(size)
            same(exchange(["socat", "-b65507", "-t0", "-", at], data), data, f"datagram of {size} bytes")
        for _ in range(2):
            # At the end of its input it sends one without bytes, whose echo it cannot show.
            same(exchange(["socat", "-t0", "-", f"{at},shut-null"], b"then"), b"then", "datagram of 4 bytes")


# --- ncat ------------------------------------------------------------------------------------------------------------


@scenario("ncat")
def ncat_clients_see_the_same_bytes_of_each_sender_under_ncat_and_under_wharf(programs):
    with port_ncat.Broker() as address:
        theirs = port_ncat.conversation(address)
    with programs.plant(broker("b", port_ncat.CLIENTS, tx_queue=port_ncat.QUEUE)) as plant:
        ours = port_ncat.conversation(plant.address)
    same(ours == theirs, True, "whether both are the same")


@scenario("ncat")
def a_ninth_client_that_never_reads_slows_no_ncat(programs):
    deaf = port_ncat.CLIENTS
    with programs.plant(broker("b", deaf + 1, tx_queue=port_ncat.QUEUE)) as plant:
        with socket.socket() as silent:
            silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            silent.connect(plant.address)
            plant.log.wait(r"b:0 connected")
            port_ncat.conversation(plant.address, rounds=port_ncat.MANY)
        # Its queue was full to the end, or there was nothing that could have slowed anybody.
        plant.log.wait(r"b:0 disconnected \w+.*, \d+ bytes unsent")


# --- pyserial --------------------------------------------------------------------------------------------------------


@scenario(modules=["serial"])
def pyserial_reads_10_000_replies_by_read_until(programs):
    with programs.plant(echo("line")) as plant:
        programs.run("serial", "lines", plant.address)


@scenario(modules=["serial"])
def pyserial_comes_100_times_and_always_sits_in_slot_0(programs):
    with programs.plant(echo("again", slots=4)) as plant:
        host, port = plant.address
        client = subprocess.Popen([programs.interpreter("serial"), HERE / "port_pyserial.py", "reconnects", host,
                                   str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        with client:
            for number, _ in enumerate(client.stdout, 1):
                plant.log.wait(r"again:\d+ disconnected", number)
                client.stdin.write("\n")
                client.stdin.flush()
        same(client.returncode, 0, "status of the client")
        slots = [found[1] for found in plant.log.found(r"again:(\d+) connected")]
        same(slots, ["0"] * 100, "slots")


# --- gensio ----------------------------------------------------------------------------------------------------------


@scenario(modules=["gensio"])
def gensio_moves_4_mib_both_ways_at_once(programs):
    with programs.plant(echo("both")) as plant:
        programs.run("gensio", "echo", plant.address)


@scenario(modules=["gensio"])
def what_gensio_wrote_just_before_it_closed_arrives(programs):
    with programs.plant(broker("last", 2)) as plant:
        with socket.create_connection(plant.address, timeout=PATIENCE) as hearer:
            plant.log.wait(r"last:0 connected")
            for number in range(PARTINGS):
                words = random.Random(number).randbytes(PARTING_SIZE)
                programs.run("gensio", "parting", plant.address, words)
                heard = b""
                while len(heard) < len(words):
                    piece = hearer.recv(len(words))
                    same(len(piece) > 0, True, f"whether more came after {len(heard)} bytes")
                    heard += piece
                same(heard == words, True, "whether these are the bytes")


@scenario(modules=["gensio"])
def a_hundred_gensio_clients_of_a_full_port_one_after_another_all_get_the_text(programs):
    with programs.plant(echo("taken", slots=1, on_full="text", full_text=BUSY)) as plant:
        with socket.create_connection(plant.address, timeout=PATIENCE):
            plant.log.wait(r"taken:0 connected")
            told = programs.run("gensio", "full", plant.address).decode().splitlines()
    same(told, [f"{BUSY.encode().hex()} Remote end closed connection"] * 100, "what they were told")


# --- uSockets --------------------------------------------------------------------------------------------------------


@scenario()
def tcp_load_test_of_usockets_loses_none_of_1_40_and_400_connections(programs):
    if not os.environ.get(LOAD_TEST):
        raise tools.Missing(f"not run: {LOAD_TEST} is not set")
    for connections in (1, 40, 400):
        with programs.plant(echo("load", slots=connections)) as plant:
            host, port = plant.address
            command = [*os.environ[LOAD_TEST].split(), str(connections), host, str(port)]
            client = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
            rates = []
            for line in client.stdout:
                if found := re.match(r"Req/sec: ([\d.]+)", line):
                    rates.append(float(found[1]))
                if len(rates) == RATES:
                    break
            # It ends by itself when it loses a connection.
            same(client.poll(), None, f"status of the client with {connections} connections")
            same(len(plant.log.found("load:\\d+ connected")), connections, "connections")
            same(plant.log.found("load:\\d+ disconnected"), [], "lost connections")
            client.kill()
            client.communicate()
            same([rate > 0 for rate in rates], [True] * RATES, f"whether the rates {rates} are above 0")


# --- the field's own demo --------------------------------------------------------------------------------------------


@scenario("ncat")
def the_demo_of_the_field_closes_the_third_client_and_names_the_children(programs):
    """A port of two slots that echoes lines."""
    with programs.plant(echo("P5001", input_eos="\r\n", output_eos="\r\n")) as plant:
        sitting = [socket.create_connection(plant.address, timeout=PATIENCE) for _ in range(2)]
        plant.log.wait(r"P5001:\d connected", 2)
        third = subprocess.run(port_ncat.client(plant.address), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, timeout=PATIENCE, check=False)
        same((third.returncode, third.stdout), (0, b""), "status and output of the third")
        plant.log.wait("P5001 refused .*: no slot is free")
        for number, client in enumerate(sitting):
            with client:
                client.sendall(b"hello %d\r\n" % number)
                same(client.makefile("rb").readline(), b"hello %d\r\n" % number, "echo")
        children = [found[1] for found in plant.log.found(r"(P5001:\d+) connected")]
        same(children, ["P5001:0", "P5001:1"], "names of the children")


def main():
    parser = argparse.ArgumentParser(description="independent clients against the device ports of wharf")
    parser.add_argument("--wharf", type=pathlib.Path, default=TARGET / "release" / "wharf")
    parser.add_argument("--tools", type=pathlib.Path, default=TARGET, help="where clients are installed")
    parser.add_argument("words", nargs="*", metavar="WORD", help="a part of the names of the scenarios to run")
    options = parser.parse_args()
    if not options.wharf.exists():
        parser.error(f"{options.wharf} is missing; build it with cargo build --release --bin wharf")
    programs = Tools(options.wharf, options.tools)
    passed = failed = 0
    for function, needed, modules in _scenarios:
        name = function.__name__.replace("_", " ")
        if options.words and not any(word in name for word in options.words):
            continue
        try:
            missing = [program for program in needed if not shutil.which(program)]
            if missing:
                raise tools.Missing(f"{', '.join(missing)} is not installed")
            for module in modules:
                programs.interpreter(module)
            function(programs)
        except tools.Missing as error:
            print(f"skipped {name}: {error}", flush=True)
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
