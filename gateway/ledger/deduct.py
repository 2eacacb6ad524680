"""The final deduction: a batch of confirmed reservations, each taken once, whole or not at all."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from gateway.core.errors import InvariantBreach
from gateway.ledger.engine import insert_rows
from gateway.ledger.payment_refs import taken_refs
from gateway.ledger.tables import deduction_lines, deductions, journal, stock
from gateway.ledger.types import Deduction, DeductionLine, Outcome, Reason

IN_MAX = 1000  # values in one IN (...), well below what drivers allow
ACTOR = "settler"

# The condition repeats what was decided under the row locks: whatever decided, the ledger
# never takes more than it has.
TAKE = (
    update(stock)
    .where(stock.c.sku == bindparam("of_sku"), stock.c.on_hand >= bindparam("taken"))
    .values(
        on_hand=stock.c.on_hand - bindparam("taken"),
        sold=stock.c.sold + bindparam("taken"),
        safety_stock=stock.c.safety_stock - bindparam("taken_safety"),
    )
)


Values = tuple[Any, ...]
DEDUCTION_COLUMNS = (
    "reservation_id",
    "outcome",
    "reason",
    "buyer",
    "payment_ref",
    "confirmed_at_ms",
    "deducted_at_ms",
)
LINE_COLUMNS = ("reservation_id", "sku", "quantity", "from_safety")
JOURNAL_COLUMNS = (
    "sku",
    "at_ms",
    "kind",
    "delta",
    "on_hand_before",
    "on_hand_after",
    "safety_before",
    "safety_after",
    "actor",
    "reason",
    "reservation_id",
    "fence",
)


@dataclass(slots=True)
class Shelf:
    """What is left of one SKU while a batch is decided, and what was taken, in units."""

    on_hand: int
    safety_stock: int
    taken: int = 0
    taken_safety: int = 0


@dataclass(slots=True)
class Plan:
    """What a batch will write: rows in the order of the tables' columns named below."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    deductions: list[Values] = field(default_factory=list)
    lines: list[Values] = field(default_factory=list)
    journal: list[Values] = field(default_factory=list)


def deduct(connection: Connection, batch: Sequence[Deduction], now_ms: int) -> list[Outcome]:
    """Decide and write `batch` in the transaction of `connection`; outcomes in its order.

    A reservation decided before, or earlier in the batch, keeps that outcome.

    Raises:
        InvariantBreach: the stock was not what this transaction had locked.
    """
    shelves = lock_shelves(connection, {line.sku for d in batch for line in d.lines})
    # Read after the rows are locked: a concurrent settler's commit is seen here.
    known = recorded_outcomes(connection, {d.reservation_id for d in batch})
    plan = decide(batch, known, shelves, taken_refs(connection, batch), now_ms)
    write(connection, plan, shelves)
    return [plan.outcomes[d.reservation_id] for d in batch]


def lock_shelves(connection: Connection, skus: Iterable[str]) -> dict[str, Shelf]:
    """The SKUs' stock, locked until the transaction ends, always in the same order."""
    shelves = {}
    for part in chunks(sorted(skus)):
        rows = connection.execute(
            select(stock.c.sku, stock.c.on_hand, stock.c.safety_stock)
            .where(stock.c.sku.in_(part))
            .order_by(stock.c.sku)
            .with_for_update()
        )
        shelves.update({sku: Shelf(on_hand, safety) for sku, on_hand, safety in rows})
    return shelves


def recorded_outcomes(connection: Connection, reservation_ids: Iterable[str]) -> dict[str, Outcome]:
    """The outcomes of those that were decided before."""
    columns = (deductions.c.reservation_id, deductions.c.outcome, deductions.c.reason)
    known = {}
    for part in chunks(sorted(reservation_ids)):
        rows = connection.execute(select(*columns).where(columns[0].in_(part)))
        known.update({id_: Outcome(id_, said == "settled", why) for id_, said, why in rows})
    return known


def decide(
    batch: Sequence[Deduction],
    known: dict[str, Outcome],
    shelves: dict[str, Shelf],
    taken: set[str],
    now_ms: int,
) -> Plan:
    """Take the reservations one by one, in order, off the shelves. No I/O.

    taken: payment references that have bought something; those of this batch are added.
    """
    plan = Plan(outcomes=known)
    for deduction in batch:
        if deduction.reservation_id in plan.outcomes:
            continue
        reason = _refusal(deduction, shelves, taken)
        plan.outcomes[deduction.reservation_id] = Outcome(
            deduction.reservation_id, not reason, reason
        )
        plan.deductions.append(_deduction_values(deduction, reason, now_ms))
        plan.lines.extend(_line_values(deduction.reservation_id, x) for x in deduction.lines)
        if not reason:
            taken.update(filter(None, [deduction.payment_ref]))
            plan.journal.extend(
                _take(shelves[line.sku], line, deduction.reservation_id, now_ms)
                for line in deduction.lines
            )
    return plan


def write(connection: Connection, plan: Plan, shelves: dict[str, Shelf]) -> None:
    """Write a plan. The journal keeps the order in which the units were taken."""
    if not plan.deductions:
        return
    _take_stock(connection, shelves)
    insert_rows(connection, deductions, DEDUCTION_COLUMNS, plan.deductions)
    insert_rows(connection, deduction_lines, LINE_COLUMNS, plan.lines)
    insert_rows(connection, journal, JOURNAL_COLUMNS, plan.journal)


def chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """`values` in parts that fit into one IN (...)."""
    for start in range(0, len(values), IN_MAX):
        yield values[start : start + IN_MAX]


def _take_stock(connection: Connection, shelves: dict[str, Shelf]) -> None:
    takings = [
        {"of_sku": sku, "taken": shelf.taken, "taken_safety": shelf.taken_safety}
        for sku, shelf in shelves.items()
        if shelf.taken
    ]
    if not takings:
        return
    if connection.dialect.supports_sane_multi_rowcount:
        updated = (connection.execute(TAKE, takings)).rowcount
    else:
        updated = sum([connection.execute(TAKE, one).rowcount for one in takings])
    if updated != len(takings):
        raise InvariantBreach("the ledger's stock changed under its own lock; nothing was deducted")


def _refusal(deduction: Deduction, shelves: dict[str, Shelf], taken: set[str]) -> Reason:
    if deduction.payment_ref in taken:
        return "payment-ref-used"
    if any(line.sku not in shelves for line in deduction.lines):
        return "unknown-sku"
    if any(line.quantity > shelves[line.sku].on_hand for line in deduction.lines):
        return "shortfall"
    return ""


def _take(shelf: Shelf, line: DeductionLine, reservation_id: str, now_ms: int) -> Values:
    """Take a line off its shelf; returns its journal row."""
    on_hand, safety = shelf.on_hand, shelf.safety_stock
    from_safety = min(line.from_safety, safety)
    shelf.on_hand -= line.quantity
    shelf.safety_stock -= from_safety
    shelf.taken += line.quantity
    shelf.taken_safety += from_safety
    short = line.from_safety - from_safety
    return (
        line.sku,
        now_ms,
        "sold",
        -line.quantity,
        on_hand,
        shelf.on_hand,
        safety,
        shelf.safety_stock,
        ACTOR,
        f"safety_stock was {short} short" if short else "",
        reservation_id,
        0,
    )


def _deduction_values(deduction: Deduction, reason: Reason, now_ms: int) -> Values:
    return (
        deduction.reservation_id,
        "rejected" if reason else "settled",
        reason,
        deduction.buyer,
        deduction.payment_ref,
        deduction.confirmed_ms,
        now_ms,
    )


def _line_values(reservation_id: str, line: DeductionLine) -> Values:
    return (reservation_id, line.sku, line.quantity, line.from_safety)
