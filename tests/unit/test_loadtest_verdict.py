"""The load test's verdict from records and counters alone: tampering with any of them is caught."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from loadtests.verdict import Evidence, Sku, Terms, counters, judge, read_book

PHONE, CASE = "phone", "case"


def line(event: str, **fields: Any) -> str:
    return json.dumps({"event": event, **fields}) + "\n"


def accepted(order: str, buyer: str, *lines: tuple[str, int], replayed: bool = False) -> str:
    return line("accepted", id=order, buyer=buyer, lines=lines, replayed=replayed)


def told(order: str, belief: str) -> str:
    return line("told", id=order, belief=belief)


RECORDS = [
    accepted("o1", "ann", (PHONE, 1)),
    accepted("o1", "ann", (PHONE, 1), replayed=True),
    told("o1", "unsure"),
    told("o1", "settled"),
    accepted("o2", "bob", (PHONE, 1), (CASE, 2)),
    told("o2", "unsure"),
    told("o2", "confirmed"),
    accepted("o3", "cid", (CASE, 1)),
    told("o3", "released"),
    accepted("o4", "dee", (PHONE, 1)),
    accepted("o5", "eve", (PHONE, 1)),
    told("o5", "unsure"),
    told("o5", "too-late"),
    line("refused", step="reserve", code="sold-out"),
    line("refused", step="confirm", code="reservation-expired"),
    line("lost", key="k9"),
]
STATES = {"o1": "settled", "o2": "settled", "o3": "released", "o4": "expired", "o5": "expired"}


def sound() -> Evidence:
    """Two phones and two cases received and sold; one phone more kept as safety stock."""
    return Evidence(
        book=read_book(RECORDS),
        skus=(
            Sku(PHONE, 3, 1, Terms(1, 0, 0, 0, 1, 2)),
            Sku(CASE, 2, 2, Terms(0, 0, 0, 0, 0, 2)),
        ),
        states=dict(STATES),
        listed=frozenset([*STATES, "whose-answer-was-lost"]),
        failures={"reserve": 0},
        verify_exit=0,
    )


def broken(evidence: Evidence) -> set[str]:
    return {check.name for check in judge(evidence) if not check.ok}


def with_phone(**changed: int) -> Evidence:
    evidence = sound()
    phone, case = evidence.skus
    return replace(evidence, skus=(replace(phone, terms=replace(phone.terms, **changed)), case))


def with_records(*more: str, without: str = "") -> Evidence:
    return replace(sound(), book=read_book([r for r in RECORDS if r != without] + list(more)))


def with_state(order: str, state: str) -> Evidence:
    return replace(sound(), states={**STATES, order: state})


def test_sound_figures_pass():
    assert broken(sound()) == set()


def test_counters_name_everything():
    assert counters(sound()) == {
        "accepted": 5,
        "expired": 2,
        "rejected": 0,
        "released": 1,
        "settled": 2,
        "told": {"settled": 1, "confirmed": 1, "released": 1, "held": 1, "too-late": 1},
        "refused": {"reserve: sold-out": 1, "confirm: reservation-expired": 1},
        "failed": {},
        "replays_absorbed": 1,
        "answers_lost": 1,
    }


TAMPERED: dict[str, tuple[Callable[[], Evidence], str]] = {
    "more sold than received": (lambda: with_phone(sold=4), "phone: oversold 0"),
    "more buyers with a phone than phones": (
        lambda: replace(
            with_records(*[accepted(f"x{n}", f"x{n}", (PHONE, 1)) for n in range(2)]),
            states={**STATES, "x0": "settled", "x1": "settled"},
        ),
        "phone: oversold 0",
    ),
    "more buyers told settled than phones": (
        lambda: with_records(
            *[accepted(f"x{n}", f"x{n}", (PHONE, 1)) for n in range(3)],
            *[told(f"x{n}", "settled") for n in range(3)],
        ),
        "phone: oversold 0",
    ),
    "a unit left after the closing": (
        lambda: with_phone(on_hand=2, available=1, sold=1),
        "phone: undersold 0",
    ),
    "a unit that vanished": (lambda: with_phone(sold=1), "phone: every unit explained"),
    "a sold unit that nobody has": (
        lambda: with_state("o1", "expired"),
        "phone: every sold unit has its buyer",
    ),
    "a unit had by a buyer but not counted as sold": (
        lambda: with_state("o4", "settled"),
        "phone: every sold unit has its buyer",
    ),
    "terms that do not add up": (lambda: with_phone(held=1), "phone: the invariant"),
    "a negative term": (
        lambda: with_phone(available=-1, unsettled=1),
        "phone: the invariant",
    ),
    "a hold that never ends": (lambda: with_phone(held=1, on_hand=2), "phone: nothing pending"),
    "a confirm answered 200 and lost": (
        lambda: with_state("o1", "released"),
        "every ending as told",
    ),
    "a confirm answered 202 and lost": (
        lambda: with_state("o2", "expired"),
        "every ending as told",
    ),
    "a buyer charged who never paid": (lambda: with_state("o4", "settled"), "every ending as told"),
    "a released order that settled": (lambda: with_state("o3", "settled"), "every ending as told"),
    "a reservation that the gateway forgot": (
        lambda: with_state("o4", "unknown-reservation"),
        "every ending as told",
    ),
    "a buyer beyond the limit": (
        lambda: replace(
            with_records(accepted("o6", "ann", (PHONE, 1))), states={**STATES, "o6": "settled"}
        ),
        "buyer limits kept",
    ),
    "a reservation that nobody asked for": (
        lambda: replace(sound(), listed=frozenset([*STATES, "lost-one", "nobody's"])),
        "every reservation known",
    ),
    "a reservation that the list lacks": (
        lambda: replace(sound(), listed=frozenset(set(STATES) - {"o2"})),
        "every reservation known",
    ),
    "one id given out twice": (
        lambda: with_records(accepted("o1", "mallory", (PHONE, 1))),
        "every answer in the contract",
    ),
    "a belief about nothing": (
        lambda: with_records(told("o99", "settled")),
        "every answer in the contract",
    ),
    "an answer outside the contract": (
        lambda: with_records(line("strange", text="two ids")),
        "every answer in the contract",
    ),
    "an unknown kind of record": (
        lambda: with_records(line("rumour")),
        "every answer in the contract",
    ),
    "a payment that the ledger refused": (
        lambda: with_state("o2", "rejected"),
        "every hold was a real unit",
    ),
    "a 500 by Locust's count": (
        lambda: replace(sound(), failures={"confirm": 1}),
        "no request failed",
    ),
    "a 500 by the clients' count": (
        lambda: with_records(line("failed", step="confirm", code="500")),
        "no request failed",
    ),
    "verify found a breach": (lambda: replace(sound(), verify_exit=1), "stockgate verify"),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_tampering_is_caught(how):
    make, check = TAMPERED[how]
    assert check in broken(make())


def test_a_cut_off_last_line_is_a_lost_answer():
    book = read_book([*RECORDS, '{"event": "acc'])
    assert book.lost == 2
    assert not book.strange


def test_the_strongest_answer_counts_in_any_order():
    first = accepted("o", "b", (PHONE, 1))
    for beliefs in (["settled", "unsure"], ["unsure", "settled"], ["confirmed", "settled"]):
        book = read_book([*(told("o", belief) for belief in beliefs), first])
        assert book.orders["o"].belief == "settled"


def test_a_list_that_was_not_read_is_no_reason_to_fail():
    assert broken(replace(sound(), listed=None, verify_exit=None)) == set()
