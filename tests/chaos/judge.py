"""Holds the buyers' book against the ledger and Redis. Pure functions."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from tests.chaos.book import Book, Purchase, Told


class Fault(str, Enum):
    """What can be wrong."""

    HOLD_LOST = "an acknowledged hold is not in Redis"
    CONFIRM_LOST = "an acknowledged confirm is not in the ledger"
    DEDUCTED_TWICE = "more was deducted than the sold reservations have"
    OVERSOLD = "more was sold than received"
    UNDERSOLD = "units are gone that nobody bought"
    TWO_TRUTHS = "one key has two reservations"
    CONTRADICTED = "what was told is not what is"
    APART = "Redis and the ledger say different things"


class Finding(NamedTuple):
    """One fault, and where."""

    fault: Fault
    detail: str


class StockRow(NamedTuple):
    """A SKU in the ledger, units."""

    on_hand: int
    safety_stock: int
    received: int
    sold: int


@dataclass
class Evidence:
    """What was read once nothing moved any more.

    outcomes: reservation -> settled | rejected, of the ledger. states: reservation -> state, of
    Redis. stock: of the ledger. terms: SKU -> terms, of Redis.
    """

    outcomes: Mapping[str, str] = field(default_factory=dict)
    states: Mapping[str, str] = field(default_factory=dict)
    stock: Mapping[str, StockRow] = field(default_factory=dict)
    terms: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def judge(book: Book, evidence: Evidence) -> list[Finding]:
    """Everything that is wrong."""
    findings = [f for purchase in book.purchases for f in _of_purchase(purchase, evidence)]
    findings += _of_strangers(book, evidence)
    sold = _units_sold(book, evidence)
    for sku in book.received:
        findings += _of_sku(sku, book, evidence, sold[sku])
    return findings


def _of_purchase(purchase: Purchase, evidence: Evidence) -> Iterator[Finding]:
    if len(purchase.ids) > 1:
        yield Finding(Fault.TWO_TRUTHS, f"{purchase.key}: {sorted(purchase.ids)}")
    for id_ in purchase.ids:
        state, outcome = evidence.states.get(id_, ""), evidence.outcomes.get(id_, "")
        what = f"{id_} was told {_words(purchase.told)}; Redis: {state}, ledger: {outcome}"
        if not state:
            yield Finding(Fault.HOLD_LOST, what)
        if not outcome and purchase.told & {Told.CONFIRMED, Told.SETTLED}:
            yield Finding(Fault.CONFIRM_LOST, what)
        elif not _agree(purchase.told, outcome, state):
            yield Finding(Fault.CONTRADICTED, what)
        if outcome != (state if state in ("settled", "rejected") else ""):
            yield Finding(Fault.APART, what)


def _agree(told: set[Told], outcome: str, state: str) -> bool:
    """Whether what is may follow from what was told: the last word of each buyer counts."""
    if Told.SETTLED in told:
        return outcome == "settled" and not told & {Told.REJECTED, Told.TOO_LATE}
    if Told.REJECTED in told:
        return outcome == "rejected"
    if Told.CONFIRMED in told:
        return outcome in ("settled", "rejected") and Told.TOO_LATE not in told
    if Told.RELEASED in told:
        return outcome == "" and state in ("released", "")
    return outcome == "" and state in ("expired", "")


def _of_strangers(book: Book, evidence: Evidence) -> Iterator[Finding]:
    """Reservations that no buyer knows of: they can only have expired."""
    known = {id_ for purchase in book.purchases for id_ in purchase.ids}
    for id_, state in evidence.states.items():
        if id_ not in known and state != "expired":
            yield Finding(Fault.CONTRADICTED, f"nobody knows of {id_}, which is {state}")
    for id_, outcome in evidence.outcomes.items():
        if id_ not in known and outcome == "settled":
            yield Finding(Fault.DEDUCTED_TWICE, f"nobody knows of {id_}, which was deducted")


def _units_sold(book: Book, evidence: Evidence) -> Counter[str]:
    """By what the buyers have: each reservation counts once, whatever was deducted for it."""
    sold: Counter[str] = Counter()
    for purchase in book.purchases:
        for id_ in purchase.ids:
            if evidence.outcomes.get(id_) == "settled":
                sold.update(purchase.lines)
    return sold


def _of_sku(sku: str, book: Book, evidence: Evidence, sold: int) -> Iterator[Finding]:
    row, terms = evidence.stock[sku], evidence.terms[sku]
    received = book.received[sku]
    what = f"{sku}: received {received}, buyers have {sold}; ledger: {row}; Redis: {terms}"
    if max(sold, row.sold, terms["sold"]) > received:
        yield Finding(Fault.OVERSOLD, what)
    if row.sold > sold:
        yield Finding(Fault.DEDUCTED_TWICE, what)
    if row.sold + row.on_hand != received or row.received != received:
        yield Finding(Fault.UNDERSOLD, what)
    if terms["held"] or terms["unsettled"] or terms["available"]:
        yield Finding(Fault.UNDERSOLD, f"not everything could be bought: {what}")
    kept = terms["on_hand"], terms["safety_stock"], terms["sold"]
    if kept != (row.on_hand, row.safety_stock, row.sold):
        yield Finding(Fault.APART, what)


def _words(told: set[Told]) -> str:
    return ", ".join(sorted(one.value for one in told))
