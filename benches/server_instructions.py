#!/usr/bin/env python3
"""User-space instructions of a Modbus server for one request, by layer: the server under callgrind, loaded by modbus-load.

    benches/server_instructions.py [WHARF [MODBUS_LOAD]]

Both are taken from target/release unless given. It needs valgrind, and a build with symbols
(CARGO_PROFILE_RELEASE_DEBUG=1). What the start of the server costs is counted apart, by a run without requests.
"""

import collections
import json
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

CONNECTIONS = 8
LAYERS = [
    ("units, diagnostics, decoding, execution", r"connection::Asked|modbus::(units|execute|pdu|access|data|diagnostics)"),
    ("connection machine", r"wharf_core::modbus::(server|faults|mbap|moves)"),
    ("service", r"AnyContext|services::modbus|run::Log"),
    ("event loop and the rest", r""),
]


def collected(wharf, load, depth, folder):
    """The requests answered, and the instructions by layer."""
    out = folder / f"callgrind.{depth}"
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", wharf, "modbus", "serve"]
    command += ["--listen", "127.0.0.1:0", "--units", "1", "--size", "10000"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    address = next(line for line in server.stdout if line.startswith("listening ")).split()[1]
    requests = 0
    if depth:
        client = [load, "client", address, "--connections", str(CONNECTIONS), "--depth", str(depth)]
        client += ["--warmup", "0ms", "--duration", "1500ms", "--json"]
        requests = json.loads(subprocess.run(client, stdout=subprocess.PIPE, check=True).stdout)["Ok"]["requests"]
    server.send_signal(signal.SIGINT)
    server.wait()
    return requests, by_layer(out)


def by_layer(path):
    """The instructions of each layer's own functions, those inlined into them included."""
    names, layers, function, called = {}, collections.Counter(), "", False
    for line in path.read_text().splitlines():
        named = re.match(r"(c?fn)=\((\d+)\)(?: (.*))?", line)
        if named:
            kind, number, name = named.groups()
            names.setdefault(number, name)
            function = names[number] if kind == "fn" else function
        elif line.startswith("calls="):
            called = True
        elif re.match(r"[+\-*\d]", line):
            if not called:
                layers[next(layer for layer, what in LAYERS if re.search(what, function))] += int(line.split()[-1])
            called = False
    return layers


def main():
    wharf, load = (sys.argv[1:] + ["target/release/wharf", "target/release/modbus-load"][len(sys.argv) - 1 :])[:2]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        _, start = collected(wharf, load, 0, folder)
        runs = [collected(wharf, load, depth, folder) for depth in (1, 16)]
    print("| where | depth 1 | depth 16 |\n| --- | --: | --: |")
    for layer, _ in LAYERS:
        print(f"| {layer} |", " | ".join(f"{(run[layer] - start[layer]) / n:,.0f}" for n, run in runs), "|")
    print("| all |", " | ".join(f"{(run.total() - start.total()) / n:,.0f}" for n, run in runs), "|")


main()
