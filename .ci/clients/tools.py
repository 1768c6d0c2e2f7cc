"""Gets the clients that `clients.py` runs: pinned, quietly, only what is missing, and never outside the target folder.

Each function returns where the thing is, or raises `Missing` with the reason for which its suites are left out.
"""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"
NODE = HERE / "node"

# The package of crates.io that carries the C sources of libmodbus 3.1.6 with their tests (LGPL-2.1 and BSD-3-Clause).
# They are compiled and run as programs of their own.
LIBMODBUS = "libmodbus-sys", "1.0.0"
LIBMODBUS_SHA256 = "edf3bfeacb53ec2748034022fcdef301d6be4aef673e5c874b012f6fd2227a01"
LIBMODBUS_PROGRAMS = ("unit-test-client", "random-test-client", "bandwidth-client")
# What libmodbus's `configure` would put in the places that it fills.
LIBMODBUS_CONFIGURED = {
    "LIBMODBUS_VERSION_MAJOR": "3", "LIBMODBUS_VERSION_MINOR": "1", "LIBMODBUS_VERSION_MICRO": "6",
    "LIBMODBUS_VERSION": "3.1.6", "HAVE_INTTYPES_H": "1", "HAVE_STDINT_H": "1",
}


class Missing(Exception):
    """Something cannot be had here; its message says what and why."""


def program(name):
    """The path of an installed program."""
    found = shutil.which(name)
    if not found:
        raise Missing(f"{name} is not installed")
    return found


def recorder():
    """The path of dumpcap, where it may record the loopback interface and tshark can read what it has recorded."""
    program("tshark")
    dumpcap = program("dumpcap")
    try:
        _run([dumpcap, "-i", "lo", "-L"])
    except Missing:
        raise Missing("dumpcap may not record the loopback interface") from None
    return dumpcap


def venv(folder):
    """The interpreter of a virtual environment that has the pinned Python clients."""
    python = folder / "bin" / "python"

    def install():
        _run([sys.executable, "-m", "venv", "--clear", folder])
        _run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", REQUIREMENTS])

    _once(folder, REQUIREMENTS.read_text(), install)
    return str(python)


def node_modules(folder):
    """The folder of the pinned Node clients. Serial ports, which need a compiler, are left out."""
    node, npm = program("node"), program("npm")
    lock = NODE / "package-lock.json"

    def install():
        folder.mkdir(parents=True, exist_ok=True)
        for file in (NODE / "package.json", lock):
            shutil.copy(file, folder)
        _run([npm, "ci", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=folder)

    _once(folder, lock.read_text(), install)
    return node, str(folder / "node_modules")


def libmodbus(folder):
    """The folder of the test clients that come with libmodbus, built from the sources of `LIBMODBUS`."""
    compiler = program(os.environ.get("CC", "cc"))

    def install():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with tarfile.open(_crate(*LIBMODBUS, LIBMODBUS_SHA256)) as package:
            package.extractall(folder, filter="data")
        root = folder / "-".join(LIBMODBUS) / "libmodbus"
        for template in (root / "src" / "modbus-version.h.in", root / "tests" / "unit-test.h.in"):
            text = template.read_text()
            for name, value in LIBMODBUS_CONFIGURED.items():
                text = text.replace(f"@{name}@", value)
            template.with_suffix("").write_text(text)
        (root / "src" / "config.h").write_text("#define HAVE_BYTESWAP_H 1\n")
        library = sorted((root / "src").glob("*.c"))
        for name in LIBMODBUS_PROGRAMS:
            _run([compiler, "-std=gnu99", "-O1", "-w", "-I", root / "src", "-I", root / "tests", "-o", folder / name,
                  root / "tests" / f"{name}.c", *library])

    _once(folder, LIBMODBUS_SHA256, install)
    return folder


def _crate(name, version, sha256):
    """The package file of a crate, from cargo's cache or through cargo into it."""
    home = pathlib.Path(os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo"))
    for fetched in (False, True):
        if fetched:
            # Outside any workspace `cargo info` asks the registry, and keeps the package that it looked into.
            with tempfile.TemporaryDirectory() as elsewhere:
                _run([program("cargo"), "info", "--quiet", f"{name}@{version}"], cwd=elsewhere)
        for file in sorted(home.glob(f"registry/cache/*/{name}-{version}.crate")):
            if hashlib.sha256(file.read_bytes()).hexdigest() == sha256:
                return file
    raise Missing(f"cargo has no {name} {version} with the pinned checksum")


def _once(folder, wanted, install):
    """Installs unless the stamp in the folder says that this very thing is there."""
    stamp = folder / "installed"
    if not (stamp.exists() and stamp.read_text() == wanted):
        install()
        stamp.write_text(wanted)


def _run(command, cwd=None):
    done = subprocess.run([str(part) for part in command], cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise Missing(f"{pathlib.Path(command[0]).name} failed: {' '.join(done.stdout.split())[-300:]}")
