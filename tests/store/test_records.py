"""Records: what Lua writes, Python reads, and the other way round."""

import asyncio
import string
from collections.abc import Iterator

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from msgspec.structs import replace

from gateway.core.errors import InvariantBreach
from gateway.core.ids import make_id
from gateway.core.model import HeldLine, Reservation, State
from gateway.core.transitions import LETTERS
from gateway.store import keys, scripts
from gateway.store.records import as_of, parse_record
from tests.conftest import make_server
from tests.store.shop import Shop

FIELD = "0123456789ABCD"

NAME_CHARS = string.ascii_letters + string.digits
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", fullmatch=True)
# Whatever is printable but the separator: the gateway's own rules are narrower.
texts = st.text(
    st.characters(min_codepoint=32, exclude_characters="|", exclude_categories=["Cs"]),
    max_size=30,
)
units = st.integers(1, 10**12)
moments = st.integers(0, 2**48 - 1)


@st.composite
def held_lines(draw: st.DrawFn) -> HeldLine:
    quantity = draw(units)
    from_safety = draw(st.just(0) | st.integers(0, quantity))
    return HeldLine(draw(names), quantity, draw(st.booleans()), from_safety)


reservations = st.builds(
    Reservation,
    id=st.just(""),
    state=st.sampled_from(State),
    buyer=texts,
    lines=st.lists(held_lines(), min_size=1, max_size=5).map(tuple),
    created_ms=moments,
    deadline_ms=moments,
    channel=texts,
    payment_ref=texts,
)


def format_record(row: Reservation) -> str:
    """The record of a reservation, written anew from what lua/includes/records.lua says."""
    lines = []
    for line in row.lines:
        assert isinstance(line, HeldLine)
        text = f"{line.sku}*{line.quantity}"
        if line.from_safety:
            text += f"*{int(line.counted)}*{line.from_safety}"
        elif line.counted:
            text += "*1"
        lines.append(text)
    head = (LETTERS[row.state], row.created_ms, row.deadline_ms, "fp+/1234")
    tail = (row.buyer, row.channel, row.payment_ref, ",".join(lines))
    return "|".join(map(str, (*head, *tail)))


@given(reservations)
def test_python_reads_what_was_written(row: Reservation) -> None:
    read = parse_record(FIELD, 3, format_record(row))
    assert read.id == make_id(row.created_ms, 3, FIELD)
    assert tuple(map(type, read.lines)) == (HeldLine,) * len(row.lines)
    assert (read.state, read.lines, read.buyer) == (row.state, row.lines, row.buyer)
    assert (read.created_ms, read.deadline_ms) == (row.created_ms, row.deadline_ms)
    assert (read.channel, read.payment_ref) == (row.channel, row.payment_ref)
    assert parse_record(FIELD, 3, format_record(row).encode()) == read


@given(reservations, st.integers(-1, 1))
def test_a_hold_counts_as_expired_from_its_deadline(row: Reservation, ms: int) -> None:
    seen = as_of(row, row.deadline_ms + ms)
    due = ms >= 0 and row.state in (State.HELD, State.PAYING)
    assert seen.state is (State.EXPIRED if due else row.state)
    assert seen.lines == row.lines


@pytest.mark.parametrize(
    "record", ["", "h|1|2", "h|x|2|f|b|c||a*1", "q|1|2|f|b|c||a*1", "h|1|2|f|b|c||a"]
)
def test_a_garbled_record_is_no_reservation(record: str) -> None:
    with pytest.raises(InvariantBreach):
        parse_record(FIELD, 0, record)


CHANGES = """
local r = parse_record(ARGV[1])
return { r.buyer, with_state(r, ARGV[2]), with_deadline(r, ARGV[2], tonumber(ARGV[3])),
  with_payment(r, ARGV[2], ARGV[4]), with_payment(r, ARGV[2], ARGV[4], format_lines(r)) }
"""


class LuaRecords:
    """Runs records written by Python through the Lua functions that change them."""

    def __init__(self, url: str) -> None:
        self.runner = asyncio.Runner()
        self.shop = self.runner.run(Shop.open(url))
        records = (scripts.lua_root() / "includes" / "records.lua").read_text()
        self.text = records + CHANGES

    def changed(self, record: str, *changes: str | int) -> list[str]:
        """The buyer, and the record in a state, with a deadline, with a payment and new lines."""
        call = self.shop.raw("EVAL", self.text, 1, keys.reservations(0), record, *changes)
        return [text.decode() for text in self.runner.run(call)]

    def close(self) -> None:
        self.runner.run(self.shop.close())
        self.runner.close()


@pytest.fixture(scope="module", params=["memory", "redis", "valkey"])
def lua_records(request: pytest.FixtureRequest) -> Iterator[LuaRecords]:
    kind = request.param
    if kind == "memory":
        url = "memory://"
    else:
        make_server(kind).stop()  # skips, or fails in CI, where there is no such program
        url = request.getfixturevalue(f"{kind}_server").url
    opened = LuaRecords(url)
    yield opened
    opened.close()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(row=reservations, state=st.sampled_from(State), deadline_ms=moments, ref=texts)
def test_lua_changes_what_it_is_told_and_nothing_else(
    lua_records: LuaRecords, row: Reservation, state: State, deadline_ms: int, ref: str
) -> None:
    told = lua_records.changed(format_record(row), LETTERS[state], deadline_ms, ref)
    paid = format_record(replace(row, state=state, payment_ref=ref))
    assert told == [
        row.buyer,
        format_record(replace(row, state=state)),
        format_record(replace(row, state=state, deadline_ms=deadline_ms)),
        paid,
        paid,
    ]
