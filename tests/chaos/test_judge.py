"""The judge finds every kind of fault, and none where there is none."""

from collections import Counter
from typing import Any

import pytest

from tests.chaos.book import Book, Purchase, Told
from tests.chaos.judge import Evidence, Fault, StockRow, judge

PAID = {Told.HELD, Told.SETTLED}


def bought(told: set[Told], *ids: str) -> Purchase:
    return Purchase("order", {"phone": 2}, 600, ids=set(ids or ["r1"]), told={*told})


def sound(outcome: str = "", state: str = "", sold: int = 0) -> Evidence:
    """Of one reservation of two, out of ten; the rest went to nobody, and is safety stock."""
    rest = 10 - sold
    terms = {"available": 0, "held": 0, "unsettled": 0, "safety_stock": rest, "on_hand": rest}
    return Evidence(
        outcomes={"r1": outcome} if outcome else {},
        states={"r1": state},
        stock={"phone": StockRow(rest, rest, 10, sold)},
        terms={"phone": {**terms, "sold": sold}},
    )


def faults(told: set[Told], evidence: Evidence, *ids: str) -> set[Fault]:
    book = Book([bought(told, *ids)], received=Counter(phone=10))
    return {finding.fault for finding in judge(book, evidence)}


@pytest.mark.parametrize(
    ("told", "outcome", "state", "sold"),
    [
        ({Told.HELD}, "", "expired", 0),
        ({Told.HELD, Told.RELEASED}, "", "released", 0),
        ({Told.HELD, Told.TOO_LATE}, "", "expired", 0),
        ({Told.HELD, Told.CONFIRMED}, "settled", "settled", 2),
        ({Told.HELD, Told.CONFIRMED}, "rejected", "rejected", 0),
        ({Told.HELD, Told.REJECTED}, "rejected", "rejected", 0),
        (PAID, "settled", "settled", 2),
    ],
)
def test_what_may_be(told: set[Told], outcome: str, state: str, sold: int) -> None:
    assert faults(told, sound(outcome, state, sold)) == set()


@pytest.mark.parametrize(
    ("told", "outcome", "state", "sold", "fault"),
    [
        ({Told.HELD}, "", "", 0, Fault.HOLD_LOST),
        (PAID, "", "expired", 0, Fault.CONFIRM_LOST),
        ({Told.HELD, Told.CONFIRMED}, "", "confirmed", 0, Fault.CONFIRM_LOST),
        (PAID, "rejected", "rejected", 0, Fault.CONTRADICTED),
        ({*PAID, Told.TOO_LATE}, "settled", "settled", 2, Fault.CONTRADICTED),
        ({Told.HELD, Told.TOO_LATE}, "settled", "settled", 2, Fault.CONTRADICTED),
        ({Told.HELD, Told.RELEASED}, "", "expired", 0, Fault.CONTRADICTED),
        ({Told.HELD}, "settled", "settled", 2, Fault.CONTRADICTED),
        ({Told.HELD}, "", "held", 0, Fault.CONTRADICTED),
        (PAID, "settled", "confirmed", 2, Fault.APART),
        (PAID, "settled", "settled", 4, Fault.DEDUCTED_TWICE),
    ],
)
def test_what_may_not_be(
    told: set[Told], outcome: str, state: str, sold: int, fault: Fault
) -> None:
    assert faults(told, sound(outcome, state, sold)) == {fault}


@pytest.mark.parametrize(
    ("row", "terms", "fault"),
    [
        (StockRow(-2, -2, 10, 12), {"on_hand": -2, "safety_stock": -2, "sold": 12}, Fault.OVERSOLD),
        (StockRow(7, 7, 9, 2), {"on_hand": 7, "safety_stock": 7}, Fault.UNDERSOLD),
        (StockRow(8, 8, 10, 2), {"held": 1}, Fault.UNDERSOLD),
        (StockRow(8, 5, 10, 2), {"available": 3, "safety_stock": 5}, Fault.UNDERSOLD),
        (StockRow(8, 8, 10, 2), {"sold": 1}, Fault.APART),
    ],
)
def test_units_that_do_not_add_up(row: StockRow, terms: dict[str, Any], fault: Fault) -> None:
    evidence = sound("settled", "settled", 2)
    evidence.stock = {"phone": row}
    evidence.terms = {"phone": {**evidence.terms["phone"], **terms}}
    assert fault in faults(PAID, evidence)


def test_two_reservations_of_one_key() -> None:
    evidence = sound("settled", "settled", 2)
    evidence.states = {"r1": "settled", "r2": "expired"}
    assert Fault.TWO_TRUTHS in faults(PAID, evidence, "r1", "r2")


@pytest.mark.parametrize(("state", "found"), [("held", {Fault.CONTRADICTED}), ("expired", set())])
def test_a_reservation_that_nobody_knows_of_can_only_expire(state: str, found: set[Fault]) -> None:
    evidence = sound("settled", "settled", 2)
    evidence.states = {"r1": "settled", "r2": state}
    assert faults(PAID, evidence) == found
