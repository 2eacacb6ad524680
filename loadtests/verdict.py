"""The verdict on a load test: what the clients wrote down, held against the gateway's counters.

Pure functions over plain values, so that every way of being wrong can be tested.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

# From weakest to strongest: of several answers on one reservation, the strongest counts.
BELIEFS = ("held", "unsure", "too-late", "released", "confirmed", "rejected", "settled")
ENDINGS = {
    "held": {"expired"},
    "unsure": {"settled", "rejected", "released", "expired"},
    "too-late": {"expired"},
    "released": {"released"},
    "confirmed": {"settled", "rejected"},
    "rejected": {"rejected"},
    "settled": {"settled"},
}
STATES_ENDED = {"settled", "rejected", "released", "expired"}
EXAMPLES_MAX = 3


@dataclass
class Order:
    """One accepted reservation: its lines (sku -> quantity) and what its buyer was told."""

    id: str
    buyer: str
    lines: dict[str, int]
    belief: str = "held"


@dataclass
class Book:
    """All clients' records together."""

    orders: dict[str, Order] = field(default_factory=dict)
    refusals: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    replays: int = 0
    lost: int = 0
    strange: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Terms:
    """A SKU's terms as the admin API gives them."""

    on_hand: int
    available: int
    held: int
    unsettled: int
    safety_stock: int
    sold: int

    @property
    def balanced(self) -> bool:
        parts = (self.available, self.held, self.unsettled, self.safety_stock)
        return min(*parts, self.sold) >= 0 and self.on_hand == sum(parts)

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> "Terms":
        """Terms out of an admin answer. Raises KeyError when one is missing."""
        return cls(**{name: body[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Sku:
    """What was put on sale, and the terms at the end."""

    name: str
    received: int
    buyer_limit: int
    terms: Terms


@dataclass(frozen=True)
class Evidence:
    """Everything the verdict is drawn from.

    states: id -> final state, asked of the gateway for every order in the book.
    listed: ids of all reservations the gateway itself lists, or None where that was not asked.
    failures: requests that failed by Locust's own count, by name; the clients' book has its own.
    verify_exit: the exit code of `stockgate verify`, None where it did not run.
    """

    book: Book
    skus: tuple[Sku, ...]
    states: Mapping[str, str]
    listed: frozenset[str] | None
    failures: Mapping[str, int]
    verify_exit: int | None


@dataclass(frozen=True)
class Check:
    """One promise, whether it held, and the figures behind it."""

    name: str
    ok: bool
    detail: str


def read_book(lines: Iterable[str]) -> Book:
    """Fold the records of all processes into one book.

    The last line of a process that was killed may be cut off: it is counted as lost.
    """
    book = Book()
    told: list[tuple[str, str]] = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            book.lost += 1
            continue
        if entry["event"] == "told":
            told.append((entry["id"], entry["belief"]))
        else:
            _enter(book, entry)
    for order_id, belief in told:
        _believe(book, order_id, belief)
    return book


def _enter(book: Book, entry: Mapping[str, Any]) -> None:
    match entry["event"]:
        case "accepted":
            _accept(book, entry)
        case "refused":
            book.refusals[f"{entry['step']}: {entry['code']}"] += 1
        case "failed":
            book.failures[f"{entry['step']}: {entry['code']}"] += 1
        case "lost":
            book.lost += 1
        case "strange":
            book.strange.append(entry["text"])
        case other:
            book.strange.append(f"a record of an unknown kind: {other}")


def _accept(book: Book, entry: Mapping[str, Any]) -> None:
    """The same id again is a replay, and must be the same order."""
    fresh = Order(entry["id"], entry["buyer"], {sku: int(n) for sku, n in entry["lines"]})
    known = book.orders.setdefault(fresh.id, fresh)
    book.replays += bool(entry.get("replayed"))
    if (known.buyer, known.lines) != (fresh.buyer, fresh.lines):
        book.strange.append(f"{fresh.id} was given out twice, to different orders")


def _believe(book: Book, order_id: str, belief: str) -> None:
    order = book.orders.get(order_id)
    if order is None:
        book.strange.append(f"{order_id} was {belief} but nobody was given it")
    elif BELIEFS.index(belief) > BELIEFS.index(order.belief):
        order.belief = belief


def judge(evidence: Evidence) -> list[Check]:
    """Every check, SKU by SKU and then over all."""
    checks = [check for sku in evidence.skus for check in _sku_checks(evidence, sku)]
    return [
        *checks,
        _endings(evidence),
        _limits(evidence),
        _nobody_paid_in_vain(evidence),
        _known_to_someone(evidence),
        _nothing_strange(evidence),
        _no_failures(evidence),
        _verified(evidence),
    ]


def _sku_checks(evidence: Evidence, sku: Sku) -> list[Check]:
    t = sku.terms
    bought = units(evidence, sku.name, "settled")
    told = sum(o.lines.get(sku.name, 0) for o in _orders(evidence) if o.belief == "settled")
    oversold = max(0, max(t.sold, bought, told) - sku.received)
    unsold = sku.received - t.sold - t.safety_stock
    sides = f"{t.on_hand} = {t.available} + {t.held} + {t.unsettled} + {t.safety_stock}"
    return [
        Check(f"{sku.name}: oversold 0", oversold == 0, f"{t.sold} sold of {sku.received}"),
        Check(
            f"{sku.name}: undersold 0",
            unsold <= 0,
            f"{max(0, unsold)} unsold, {t.safety_stock} kept as safety stock",
        ),
        Check(
            f"{sku.name}: every sold unit has its buyer",
            bought == t.sold,
            f"{bought} in buyers' hands, {t.sold} sold",
        ),
        Check(f"{sku.name}: the invariant", t.balanced, sides),
        Check(
            f"{sku.name}: every unit explained",
            sku.received == t.sold + t.on_hand,
            f"{sku.received} received = {t.sold} sold + {t.on_hand} on hand",
        ),
        Check(
            f"{sku.name}: nothing pending",
            t.held == 0 and t.unsettled == 0,
            f"{t.held} held, {t.unsettled} unsettled",
        ),
    ]


def _orders(evidence: Evidence) -> Iterable[Order]:
    return evidence.book.orders.values()


def units(evidence: Evidence, sku: str, state: str) -> int:
    """Units of `sku` in orders that ended in `state`, by the clients' book."""
    return sum(
        order.lines.get(sku, 0)
        for order in _orders(evidence)
        if evidence.states.get(order.id) == state
    )


def _endings(evidence: Evidence) -> Check:
    broken = []
    for order in _orders(evidence):
        final = evidence.states.get(order.id, "unknown")
        if final not in ENDINGS[order.belief]:
            broken.append(f"{order.id} told {order.belief}, ended {final}")
    fine = f"{len(evidence.book.orders)} orders ended as their buyers were told"
    return Check("every ending as told", not broken, _some(broken) or fine)


def _limits(evidence: Evidence) -> Check:
    owned: dict[tuple[str, str], int] = defaultdict(int)
    for order in _orders(evidence):
        if evidence.states.get(order.id) == "settled":
            for sku, quantity in order.lines.items():
                owned[sku, order.buyer] += quantity
    limits = {sku.name: sku.buyer_limit for sku in evidence.skus}
    broken = [
        f"{buyer} owns {quantity} of {sku}"
        for (sku, buyer), quantity in owned.items()
        if 0 < limits.get(sku, 0) < quantity
    ]
    return Check("buyer limits kept", not broken, _some(broken) or f"{len(owned)} buyers")


def _nobody_paid_in_vain(evidence: Evidence) -> Check:
    """The ledger has every unit that was on hold: it never has to refuse a payment."""
    rejected = [
        order.id
        for order in _orders(evidence)
        if "rejected" in (order.belief, evidence.states.get(order.id))
    ]
    fine = "no payment refused by the ledger"
    return Check("every hold was a real unit", not rejected, _some(rejected) or fine)


def _known_to_someone(evidence: Evidence) -> Check:
    """A reservation that no client knows must be one whose answer was lost."""
    name = "every reservation known"
    if evidence.listed is None:
        return Check(name, True, "not asked: the gateway's own list was not read")
    known, listed = set(evidence.book.orders), evidence.listed
    unknown, missing = len(listed - known), len(known - listed)
    detail = f"{len(listed)} listed, {unknown} unknown to clients ({evidence.book.lost} lost)"
    return Check(name, unknown <= evidence.book.lost and not missing, f"{detail}, {missing} gone")


def _nothing_strange(evidence: Evidence) -> Check:
    strange = evidence.book.strange
    return Check("every answer in the contract", not strange, _some(strange) or "nothing strange")


def _no_failures(evidence: Evidence) -> Check:
    counts = evidence.book.failures or evidence.failures
    failed = [f"{name}: {count}" for name, count in counts.items() if count]
    return Check("no request failed", not failed, _some(failed) or "no 5xx, no lost answer")


def _verified(evidence: Evidence) -> Check:
    code = evidence.verify_exit
    detail = "not run" if code is None else f"exit code {code}"
    return Check("stockgate verify", code in (None, 0), detail)


def _some(examples: list[str]) -> str:
    more = len(examples) - EXAMPLES_MAX
    return "; ".join(examples[:EXAMPLES_MAX]) + (f"; and {more} more" if more > 0 else "")


def counters(evidence: Evidence) -> dict[str, Any]:
    """Every counter, for people: orders by ending and by what was told, refusals by reason."""
    book = evidence.book
    endings = Counter(evidence.states.get(order.id, "unknown") for order in _orders(evidence))
    return {
        "accepted": len(book.orders),
        **{state: endings[state] for state in sorted(STATES_ENDED | set(endings))},
        "told": dict(Counter(order.belief for order in _orders(evidence))),
        "refused": dict(book.refusals.most_common()),
        "failed": dict(book.failures.most_common()),
        "replays_absorbed": book.replays,
        "answers_lost": book.lost,
    }
