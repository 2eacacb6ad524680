"""A state that is added without deciding what becomes of it in every job fails here, or earlier."""

import re
import subprocess
import sys
from enum import Enum
from typing import Any, get_args

import pytest

from gateway.api.schemas import StateName
from gateway.core.model import State
from gateway.core.transitions import FACTS, LETTERS, TRANSITIONS, Event
from gateway.store import scripts
from tests.store.test_transitions import include

# The module as it would be with one state more, in an interpreter of its own.
ADD_A_STATE = """
import enum, runpy, sys
from gateway.core import model
names = [(s.name, s.value) for s in model.State] + EXTRA
model.State = enum.Enum("State", names, type=str)
import gateway.core.transitions
"""


def load_with(extra: str) -> subprocess.CompletedProcess[str]:
    text = ADD_A_STATE.replace("EXTRA", extra)
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)


def test_with_an_undecided_state_nothing_loads() -> None:
    failed = load_with("[('PAUSED', 'paused')]")
    assert failed.returncode != 0
    assert "zip()" in failed.stderr
    assert load_with("[]").returncode == 0, "it is the new state that does it"


def undecided(states: list[Any], letters: dict[Any, str]) -> list[str]:
    """What has not been decided about states, by job; empty when all is."""
    known = "".join(letters.get(state, "?") for state in states)
    found = []
    for name, pattern in lua_letters().items():
        wanted = {letters[s] for s in states if s in letters and wants(name, s)}
        if set(pattern) != wanted:
            found.append(f"{name}: {pattern} of {known}")
    if "?" in known:
        found.append("records: no letter")
    if set(get_args(StateName)) != {state.value for state in states}:
        found.append("schemas: StateName")
    return found + [
        f"{job}: {s}" for job, table in TABLES.items() for s in states if s not in table
    ]


TABLES: dict[str, Any] = {"facts": FACTS, **{event.value: TRANSITIONS[event] for event in Event}}


def lua_letters() -> dict[str, str]:
    """The sets of letters that are written out in Lua, by who uses them."""
    record = re.search(r"'\^\(\[([a-z]+)\]\)\|", include("records"))
    ended = re.search(r"'\^\(\[([a-z]+)\]\)\|", scripts.load("forget_ended").text)
    assert record is not None
    assert ended is not None
    return {"records.lua": record[1], "forget_ended.lua": ended[1]}


def wants(name: str, state: State) -> bool:
    return name == "records.lua" or FACTS[state].forgotten


def test_every_job_has_decided_about_every_state() -> None:
    assert undecided(list(State), LETTERS) == []


def test_a_new_state_is_undecided_everywhere() -> None:
    """Negative control: one state more, with a letter of its own."""
    longer = Enum("Longer", [*((s.name, s.value) for s in State), ("PAUSED", "paused")], type=str)  # type: ignore[misc]
    paused = longer("paused")
    missing = undecided([*State, paused], LETTERS)
    assert {line.partition(":")[0] for line in missing} == {
        "records",
        "schemas",
        "facts",
        *(event.value for event in Event),
    }


@pytest.mark.parametrize("state", State)
def test_facts_and_transitions_do_not_contradict_each_other(state: State) -> None:
    facts = FACTS[state]
    expires = TRANSITIONS[Event.EXPIRE][state]
    assert facts.expires == isinstance(expires, State)
    assert facts.owed == isinstance(TRANSITIONS[Event.SETTLE][state], State)
    assert facts.owed == isinstance(TRANSITIONS[Event.REJECT][state], State)
    assert facts.forgotten == (not facts.expires and not facts.owed)
    assert facts.counted == (facts.units != "")
