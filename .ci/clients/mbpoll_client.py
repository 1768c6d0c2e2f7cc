"""mbpoll: each table read and written, integers and reals in both word orders, units 0, 1 and 255, steady polling."""

import os
import re
import signal
import subprocess

from harness import PATIENCE, run_all, same, scenario

POLL_SECONDS = float(os.environ.get("WHARF_POLL_SECONDS", "60"))


class Mbpoll:
    """Runs mbpoll against the plant; addresses are PDU addresses (`-0`)."""

    def __init__(self, servers):
        host, port = servers["plant"]
        self.host, self.port = host, str(port)

    def command(self, table, address, *options):
        return ["mbpoll", "-m", "tcp", "-p", self.port, "-0", "-r", str(address), "-t", table, "-o", "5", *options,
                self.host]

    def run(self, arguments):
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=PATIENCE, check=False)
        return done.returncode, done.stdout + done.stderr

    def read(self, table, address, count, *options):
        """The values that it prints, in order of address."""
        status, text = self.run(self.command(table, address, "-1", "-c", str(count), *options))
        if status != 0:
            raise AssertionError(f"mbpoll ended with {status}: {text[-300:]}")
        return [value.split()[0] for _, value in re.findall(r"^\[(\d+)\]:\s+(.+)$", text, re.MULTILINE)]

    def write(self, table, address, *values, options=()):
        status, text = self.run([*self.command(table, address, *options), "--", *map(str, values)])
        wrote = re.search(r"^Written (\d+) references?\.", text, re.MULTILINE)
        if status != 0 or not wrote:
            raise AssertionError(f"mbpoll ended with {status}: {text[-300:]}")
        same(int(wrote[1]), len(values), "number of values written")

    def refused(self, arguments, message):
        status, text = self.run(arguments)
        if status == 0 or message not in text:
            raise AssertionError(f"expected a failure with {message!r}, got {status}: {text[-300:]}")


@scenario
def reads_coils(mbpoll):
    same(mbpoll.read("0", 0, 8), list("10110011"))


@scenario
def reads_discrete_inputs(mbpoll):
    same(mbpoll.read("1", 0, 8), list("00110101"))


@scenario
def reads_input_registers(mbpoll):
    same(mbpoll.read("3:hex", 0, 4), ["0x0001", "0x0002", "0x0003", "0xFFFF"])


@scenario
def reads_holding_registers(mbpoll):
    same(mbpoll.read("4", 0, 6), ["10", "20", "30", "40", "50", "0"])
    same(len(mbpoll.read("4", 700, 125)), 125, "number of registers")


@scenario
def writes_one_coil_and_many(mbpoll):
    mbpoll.write("0", 500, 1)
    same(mbpoll.read("0", 499, 3), list("010"))
    mbpoll.write("0", 500, 0, 1, 1, 0, 1, 1, 1, 1, 0, 1)
    same(mbpoll.read("0", 499, 12), list("001101111010"))


@scenario
def writes_one_register_and_many(mbpoll):
    mbpoll.write("4", 500, 12345)
    same(mbpoll.read("4", 499, 3), ["0", "12345", "0"])
    mbpoll.write("4", 500, 1, 2, 3)
    same(mbpoll.read("4", 499, 5), ["0", "1", "2", "3", "0"])


@scenario
def reads_reals_and_integers_in_both_word_orders(mbpoll):
    same(mbpoll.read("3:float", 100, 1, "-B"), ["123456"])
    same(mbpoll.read("3:float", 102, 1), ["123456"])
    same(mbpoll.read("3:int", 200, 1, "-B"), ["-123456"])
    same(mbpoll.read("3:int", 202, 1), ["-123456"])


@scenario
def writes_reals_and_integers_in_both_word_orders(mbpoll):
    mbpoll.write("4:float", 520, "123456.0", options=("-B",))
    mbpoll.write("4:float", 522, "123456.0")
    same(mbpoll.read("4:hex", 520, 4), ["0x47F1", "0x2000", "0x2000", "0x47F1"])
    mbpoll.write("4:int", 530, -123456, options=("-B",))
    mbpoll.write("4:int", 532, -123456)
    same(mbpoll.read("4:hex", 530, 4), ["0xFFFE", "0x1DC0", "0x1DC0", "0xFFFE"])


@scenario
def units_0_1_and_255_answer_for_themselves(mbpoll):
    for unit, expected in ((0, ["1000", "1001"]), (1, ["10", "20"]), (255, ["2550", "2551"])):
        same(mbpoll.read("4", 0, 2, "-a", str(unit)), expected, f"unit {unit}")


@scenario
def names_the_exception_of_a_bad_address_and_an_unknown_unit(mbpoll):
    mbpoll.refused(mbpoll.command("3", 4, "-1"), "Illegal data address")
    mbpoll.refused(mbpoll.command("4", 0, "-1", "-a", "99"), "Target device failed to respond")


@scenario
def polls_every_10_ms_without_losing_a_reply(mbpoll):
    arguments = mbpoll.command("4", 0, "-c", "10", "-l", "10")
    poller = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        poller.communicate(timeout=POLL_SECONDS)
        raise AssertionError("mbpoll stopped by itself")
    except subprocess.TimeoutExpired:
        poller.send_signal(signal.SIGINT)
    text, _ = poller.communicate(timeout=PATIENCE)
    counts = re.search(r"(\d+) frames transmitted, (\d+) received, (\d+) errors", text)
    if not counts:
        raise AssertionError(f"no statistics from mbpoll: {text[-300:]}")
    sent, received, errors = map(int, counts.groups())
    # The signal may come while one reply is on its way.
    if sent == 0 or errors or sent - received not in (0, 1):
        raise AssertionError(f"{sent} requests, {received} replies, {errors} errors")


run_all(Mbpoll)
