"""The table of legal moves: complete, given to every command, and what really happens."""

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

import pytest

from gateway.core import transitions
from gateway.core.codes import Reply
from gateway.core.model import State
from gateway.core.transitions import LETTERS, STATES, TRANSITIONS, Event, Rule
from gateway.store import scripts
from tests.store.shop import CAP_MS, TTL_MS, WINDOW_MS, Shop, field_of

TO_LIST = """
local out = {}
for state, rule in pairs(%s_RULES) do
  out[#out + 1] = state
  out[#out + 1] = rule
end
return out
"""


def undecided(
    states: Iterable[Any], events: Iterable[Any], table: Mapping[Any, Mapping[Any, Any]]
) -> list[tuple[Any, Any]]:
    """Pairs of event and state about which the table says nothing."""
    return [(e, s) for e in events for s in states if s not in table.get(e, {})]


def include(name: str) -> str:
    return (scripts.lua_root() / "includes" / f"{name}.lua").read_text()


def rows_in(name: str) -> dict[str, str]:
    """EVENT -> the line that defines its rules, of the text of a command."""
    lines = scripts.load(name).text.splitlines()
    found = (re.match(r"local ([A-Z]+)_RULES = ", line) for line in lines)
    return {match[1]: match.string for match in found if match}


@pytest.mark.parametrize("event", Event)
async def test_a_command_has_the_rules_of_its_event(shop: Shop, event: Event) -> None:
    """As the store itself reads them."""
    name = "expire_due" if event is Event.EXPIRE else event.value
    rows = rows_in(name)
    assert set(rows) == {event.value.upper(), "EXPIRE"}
    for wanted in {event, Event.EXPIRE}:
        row = wanted.value.upper()
        flat = await shop.raw("EVAL", rows[row] + TO_LIST % row, 0)
        assert {
            STATES[letter.decode()]: STATES[rule.decode()]
            if isinstance(rule, bytes)
            else Reply(rule)
            for letter, rule in zip(flat[::2], flat[1::2], strict=True)
        } == TRANSITIONS[wanted]


async def test_the_codes_of_lua_and_python_agree(shop: Shop) -> None:
    names = "', '".join(code.name for code in Reply)
    values = ", ".join(code.name for code in Reply)
    text = f"{include('codes')}\nreturn {{ '{names}', {values} }}"
    flat = await shop.raw("EVAL", text, 0)
    half = len(Reply)
    assert [name.decode() for name in flat[:half]] == [code.name for code in Reply]
    assert flat[half:] == [code.value for code in Reply]
    assert include("codes").count("local ") == half


def test_every_event_in_every_state_is_decided() -> None:
    assert undecided(State, Event, TRANSITIONS) == []
    assert set(LETTERS) == set(State)
    assert len(STATES) == len(State)


def test_a_new_state_must_be_decided() -> None:
    """Negative control: with one state more, the check above fails."""
    longer = Enum("Longer", [(s.name, s.value) for s in State] + [("PAUSED", "paused")], type=str)  # type: ignore[misc]
    missing = undecided([state.value for state in longer], Event, _by_value(TRANSITIONS))
    assert missing == [(event, "paused") for event in Event]


def test_a_new_event_must_be_decided() -> None:
    missing = undecided(State, [*Event, "pause"], TRANSITIONS)
    assert missing == [("pause", state) for state in State]


def test_a_row_that_leaves_a_state_out_does_not_load() -> None:
    with pytest.raises(ValueError, match="zip"):
        transitions._row(*[Reply.ILLEGAL] * (len(State) - 1))


def _by_value(table: Mapping[Event, Mapping[State, Rule]]) -> dict[Event, dict[str, Rule]]:
    return {event: {s.value: rule for s, rule in row.items()} for event, row in table.items()}


# Each event applied to a real reservation in each state.

ARGUMENTS: dict[Event, str | int] = {
    Event.PAY: WINDOW_MS,
    Event.CONFIRM: "",
    Event.RELEASE: "",
    Event.EXTEND: f"{2 * WINDOW_MS}:{CAP_MS}",
}


async def bring_to(shop: Shop, state: State, key: str) -> None:
    """A reservation of one unit in `state`."""
    await shop.held(key, ttl_ms=100 if state is State.EXPIRED else TTL_MS)
    if state is State.PAYING:
        await shop.pay(key)
    elif state is State.RELEASED:
        await shop.release(key)
    elif state is State.EXPIRED:
        shop.pass_ms(100)
        await shop.expire()
    elif state is not State.HELD:
        await shop.confirm(key)
    if state in (State.SETTLED, State.REJECTED):
        await shop.finish("settle" if state is State.SETTLED else "reject", key)
    assert await shop.state(key) is state


async def apply(shop: Shop, event: Event, key: str) -> Reply | None:
    """The reply to the event; None for the sweep, which gives none."""
    if event is Event.EXPIRE:
        shop.pass_ms(2 * WINDOW_MS)
        await shop.expire()
        return None
    if event in (Event.SETTLE, Event.REJECT):
        await shop.take()
        return (await shop.finish(event, key))[0]
    [answer] = await shop.act(event, [key], ARGUMENTS[event])
    return Reply(answer.code)


async def units_of(shop: Shop, state: State) -> dict[str, int]:
    """Where a reservation's unit is in each state."""
    terms = await shop.terms()
    unit = {
        State.HELD: "held",
        State.PAYING: "held",
        State.CONFIRMED: "unsettled",
        State.SETTLED: "sold",
    }.get(state, "available")
    return {unit: getattr(terms, unit)}


@pytest.mark.parametrize("event", Event)
async def test_what_the_table_says_is_what_happens(shop: Shop, event: Event) -> None:
    for state in State:
        sku_before = shop.received["phone"]
        await shop.put("phone", 1)
        assert shop.received["phone"] == sku_before + 1
        key = f"{event.value}-{state.value}"
        await bring_to(shop, state, key)
        record = await shop.record(key)
        code = await apply(shop, event, key)
        rule = TRANSITIONS[event][state]
        if isinstance(rule, State):
            assert code in (Reply.DONE, None), key
            assert await shop.state(key) is rule, key
        else:
            assert code in (rule, None), key
            assert await shop.record(key) == record, key
        await shop.check()
        assert field_of(key) in await shop.rows()


@pytest.mark.parametrize("state", State)
async def test_a_unit_is_in_exactly_one_place(shop: Shop, state: State) -> None:
    await shop.put("phone", 1)
    await bring_to(shop, state, "a")
    assert list((await units_of(shop, state)).values()) == [1]
