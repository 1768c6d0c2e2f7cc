"""Captures of every kind of fault: tshark must see that fault and no other.

One `wharf` has a server for each case of `fault_cases.py` and two without faults for each conversation: one says what
is due, the other is judged like the rest. All clients talk at the same time while dumpcap records.
"""

import concurrent.futures
import os
import pathlib
import re

from deviations import Observation, observe, replies
from fault_cases import CASES, FAULTS, HONEST, unexpected
from fault_conversation import Client, is_refused, say_nothing
from fault_plant import Plant
from harness import run_all, same, scenario
from recording import Recording

_KINDS = pathlib.Path(__file__).resolve().parents[2] / "core" / "src" / "modbus" / "faults" / "fault.rs"


class Captures:
    """What was seen of every case: `observed`, in the order of `CASES`, and `honest`, the replies that are due."""

    def __init__(self, _):
        cases = [*HONEST, *CASES]
        with Plant(os.environ["WHARF_PROGRAM"], cases) as plant:
            ports = [port for _, port in plant.addresses]
            with Recording(ports) as recording:
                with concurrent.futures.ThreadPoolExecutor(len(cases)) as pool:
                    talks = [pool.submit(_SCRIPTS[case.script], plant, at, case, recording)
                             for at, case in enumerate(cases)]
                self.trouble = [talk.exception() for talk in talks][len(HONEST):]
                plant.stop()
                recording.finish()
                packets = recording.packets()
        self.honest = {case.conversation: replies(packets, port) for case, port in zip(HONEST, ports)}
        self.observed = [observe(packets, port, self.honest[case.conversation])
                         for case, port in list(zip(cases, ports))[len(HONEST):]]


def _talk(plant, at, case, _):
    Client(plant.addresses[at]).talk(case.conversation, case.size)


def _flood(plant, at, case, _):
    Client(plant.addresses[at]).talk(case.conversation, case.size, flood=True)


def _turned_away(plant, at, case, _):
    """Whoever comes first is turned away; the next is served."""
    say_nothing(plant.addresses[at])
    Client(plant.addresses[at]).talk(case.conversation)


def _kept_waiting(plant, at, case, recording):
    """Asks while nobody is accepted. That somebody else is served meanwhile shows that the loop had time to accept."""
    def lift():
        Client(plant.addresses[0]).talk(HONEST[0].conversation)
        recording.mark(plant.addresses[at][1], "lifted")
        plant.switch(at, on=False)

    plant.switch(at, on=True)
    Client(plant.addresses[at]).talk(case.conversation, once_asked=lift)


def _refused(plant, at, case, _):
    """Nobody listens; then somebody does again, at the same place."""
    plant.switch(at, on=True)
    refused = is_refused(plant.addresses[at])
    plant.switch(at, on=False)
    if refused:
        Client(plant.addresses[at]).talk(case.conversation)


_SCRIPTS = {"talk": _talk, "flood": _flood, "turned away": _turned_away, "kept waiting": _kept_waiting,
            "refused": _refused}


@scenario
def every_kind_of_fault_has_a_capture(_):
    kinds = re.findall(r'^ *Self::.* => "([a-z_]+)",$', _KINDS.read_text(), re.MULTILINE)
    same(sorted({case.kind for case in FAULTS}), sorted(kinds))


@scenario
def tshark_decodes_the_honest_conversations_as_the_values_of_the_plant(captures):
    for conversation, due in captures.honest.items():
        decoded = tuple(tuple(int(value, 0) for value in frame.fields.get("modbus.regval_uint16", ()))
                        for frame in due.values())
        same(decoded, conversation.values, conversation.name)


def _shows(at, case):
    def check(captures):
        if captures.trouble[at]:
            raise captures.trouble[at]
        wrong = unexpected(case, captures.observed[at])
        if wrong:
            raise AssertionError("; ".join(wrong))
    check.title = f"{case.name} is all that is seen"
    return check


for _at, _case in enumerate(CASES):
    scenario(_shows(_at, _case))


@scenario
def no_capture_passes_for_that_of_another_kind(captures):
    for case in CASES:
        passing = {other.kind for other, seen in zip(CASES, captures.observed) if not unexpected(case, seen)}
        same(passing, {case.kind}, f"what passes for {case.name}")


@scenario
def a_deviation_more_or_less_is_noticed(captures):
    for case, seen in zip(CASES, captures.observed):
        for name in case.shows:
            fewer = {other: value for other, value in seen.deviations.items() if other != name}
            same(unexpected(case, Observation(fewer, seen.waits)), [f"no {name}"], case.name)
        for name in {name for other in FAULTS for name in other.shows} - set(case.shows):
            more = Observation({**seen.deviations, name: None}, seen.waits)
            same(unexpected(case, more), [f"{name} is None, and should not be"], case.name)


run_all(Captures)
