"""The final deduction: a batch of confirmed reservations, each taken once, whole or not at all."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Update, select, update

from gateway.core.errors import InvariantBreach
from gateway.ledger.bulk import Values, among, change_rows, insert_rows, is_server, listing
from gateway.ledger.payment_refs import taken_refs
from gateway.ledger.tables import deduction_lines, deductions, journal, moves, stock
from gateway.ledger.types import Deduction, DeductionLine, Outcome, Reason

TAKING = ("of_sku", "taken", "taken_safety")
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
    "delta",
    "on_hand_before",
    "on_hand_after",
    "safety_before",
    "safety_after",
    "reason",
    "reservation_id",
)
JOURNAL_SAME = (("kind", "sold"), ("actor", "settler"), ("fence", 0))


@dataclass(slots=True)
class Shelf:
    """What is left of one SKU while a batch is decided, and what was taken, in units.

    moving: the part of `safety_stock` that a move in flight adds or takes away: the store may
    not set it aside.
    """

    on_hand: int
    safety_stock: int
    moving: int = 0
    taken: int = 0
    taken_safety: int = 0


@dataclass(slots=True)
class Plan:
    """What a batch will write: rows in the order of the tables' columns named above.

    refused: how many of the deductions are refusals.
    """

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    deductions: list[Values] = field(default_factory=list)
    lines: list[Values] = field(default_factory=list)
    journal: list[Values] = field(default_factory=list)
    refused: int = 0


def deduct_new(connection: Connection, batch: Sequence[Deduction], now_ms: int) -> list[Outcome]:
    """`deduct` without asking what was decided before: as a rule nothing was.

    Where something was, the keys refuse the rows, nothing is written, and `deduct` has to be run
    instead. Any refusal may have another reason there, so it is asked for at once.

    Raises:
        IntegrityError: a reservation was decided before, or its payment reference is taken.
        InvariantBreach: as `deduct`.
    """
    shelves = _locked(connection, batch)
    plan = decide(batch, {}, shelves, set(), now_ms)
    if plan.refused:
        return deduct(connection, batch, now_ms)
    write(connection, plan, shelves)
    return _answers(batch, plan)


def deduct(connection: Connection, batch: Sequence[Deduction], now_ms: int) -> list[Outcome]:
    """Decide and write `batch` in the transaction of `connection`; outcomes in its order.

    A reservation decided before, or earlier in the batch, keeps that outcome.

    Raises:
        InvariantBreach: the stock was not what this transaction had locked.
    """
    shelves = _locked(connection, batch)
    # Read after the rows are locked: a concurrent settler's commit is seen here.
    known = recorded_outcomes(connection, {d.reservation_id for d in batch})
    plan = decide(batch, known, shelves, taken_refs(connection, batch), now_ms)
    write(connection, plan, shelves)
    return _answers(batch, plan)


def lock_shelves(connection: Connection, skus: Iterable[str]) -> dict[str, Shelf]:
    """The SKUs' stock, locked until the transaction ends, always in the same order."""
    rows = connection.execute(_shelves(is_server(connection)), listing(connection, skus))
    return {sku: Shelf(on_hand, safety) for sku, on_hand, safety in rows}


def recorded_outcomes(connection: Connection, reservation_ids: Iterable[str]) -> dict[str, Outcome]:
    """The outcomes of those that were decided before."""
    query = _decided(is_server(connection))
    rows = connection.execute(query, listing(connection, reservation_ids))
    return {id_: Outcome(id_, said == "settled", why) for id_, said, why in rows}


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
    outcomes = plan.outcomes
    for deduction in batch:
        id_ = deduction.reservation_id
        if id_ in outcomes:
            continue
        reason = _refusal(deduction, shelves, taken)
        plan.deductions.append(_deduction_values(deduction, reason, now_ms))
        covered = 0
        for line in deduction.lines:
            plan.lines.append((id_, line.sku, line.quantity, line.from_safety))
            if not reason:
                shelf = shelves[line.sku]
                short = _cover(shelf, line) if shelf.safety_stock else 0
                plan.journal.append(_take(shelf, line, short, id_, now_ms))
                covered += short
        plan.refused += bool(reason)
        outcomes[id_] = Outcome(id_, not reason, reason, covered)
        if not reason and deduction.payment_ref:
            taken.add(deduction.payment_ref)
    return plan


def write(connection: Connection, plan: Plan, shelves: dict[str, Shelf]) -> None:
    """Write a plan. The journal keeps the order in which the units were taken."""
    if not plan.deductions:
        return
    _take_stock(connection, shelves)
    insert_rows(connection, deductions, DEDUCTION_COLUMNS, plan.deductions)
    insert_rows(connection, deduction_lines, LINE_COLUMNS, plan.lines)
    insert_rows(connection, journal, JOURNAL_COLUMNS, plan.journal, JOURNAL_SAME)


def take(
    of_sku: ColumnElement[str], taken: ColumnElement[int], taken_safety: ColumnElement[int]
) -> Update:
    """The change of a SKU's stock.

    The condition repeats what was decided under the row locks: whatever decided, the ledger
    never takes more than it has.
    """
    return (
        update(stock)
        .where(stock.c.sku == of_sku, stock.c.on_hand >= taken)
        .values(
            on_hand=stock.c.on_hand - taken,
            sold=stock.c.sold + taken,
            safety_stock=stock.c.safety_stock - taken_safety,
        )
    )


@lru_cache(maxsize=2)
def _shelves(on_server: bool) -> Select[Any]:
    return (
        select(stock.c.sku, stock.c.on_hand, stock.c.safety_stock)
        .where(among(stock.c.sku, on_server))
        .order_by(stock.c.sku)
        .with_for_update()
    )


@lru_cache(maxsize=2)
def _safety_moves(on_server: bool) -> Select[Any]:
    delta = moves.c.safety_after - moves.c.safety_before
    return select(moves.c.sku, delta).where(
        moves.c.state == "pending", among(moves.c.sku, on_server)
    )


@lru_cache(maxsize=2)
def _decided(on_server: bool) -> Select[Any]:
    columns = (deductions.c.reservation_id, deductions.c.outcome, deductions.c.reason)
    return select(*columns).where(among(columns[0], on_server))


def _locked(connection: Connection, batch: Sequence[Deduction]) -> dict[str, Shelf]:
    """The shelves of a batch, with all that `decide` has to know of them."""
    wanted: dict[str, int] = {}
    for deduction in batch:
        for line in deduction.lines:
            wanted[line.sku] = wanted.get(line.sku, 0) + line.quantity
    shelves = lock_shelves(connection, wanted)
    _note_moving(connection, wanted, shelves)
    return shelves


def _answers(batch: Sequence[Deduction], plan: Plan) -> list[Outcome]:
    return [plan.outcomes[deduction.reservation_id] for deduction in batch]


def _take_stock(connection: Connection, shelves: dict[str, Shelf]) -> None:
    takings = [
        (sku, shelf.taken, shelf.taken_safety) for sku, shelf in shelves.items() if shelf.taken
    ]
    if change_rows(connection, take, TAKING, takings) != len(takings):
        raise InvariantBreach("the ledger's stock changed under its own lock; nothing was deducted")


def _refusal(deduction: Deduction, shelves: dict[str, Shelf], taken: set[str]) -> Reason:
    if deduction.payment_ref in taken:
        return "payment-ref-used"
    short = False
    for line in deduction.lines:
        shelf = shelves.get(line.sku)
        if shelf is None:
            return "unknown-sku"
        short = short or line.quantity > shelf.on_hand
    return "shortfall" if short else ""


def _note_moving(connection: Connection, wanted: dict[str, int], shelves: dict[str, Shelf]) -> None:
    """Only asked for where the safety stock may be needed, which is next to never.

    wanted: units that the batch asks for, by SKU.
    """
    short = {
        sku
        for sku, s in shelves.items()
        if s.safety_stock and s.on_hand - wanted[sku] < s.safety_stock
    }
    if short:
        for sku, delta in connection.execute(
            _safety_moves(is_server(connection)), listing(connection, short)
        ):
            shelves[sku].moving = abs(delta)


def _cover(shelf: Shelf, line: DeductionLine) -> int:
    """Units of a line, beyond those known to be, that come out of the safety stock: there are too
    few others, because somebody took some away.
    """
    set_aside = shelf.safety_stock - shelf.moving - line.from_safety
    return max(0, min(set_aside, set_aside - (shelf.on_hand - line.quantity)))


def _take(
    shelf: Shelf, line: DeductionLine, covered: int, reservation_id: str, now_ms: int
) -> Values:
    """Take a line off its shelf; returns its journal row."""
    on_hand, safety = shelf.on_hand, shelf.safety_stock
    from_safety = min(line.from_safety + covered, safety)
    shelf.on_hand -= line.quantity
    shelf.safety_stock -= from_safety
    shelf.taken += line.quantity
    shelf.taken_safety += from_safety
    words = ""
    if line.from_safety or covered:
        words = _in_words(line.from_safety, covered, line.from_safety + covered - from_safety)
    return (
        line.sku,
        now_ms,
        -line.quantity,
        on_hand,
        shelf.on_hand,
        safety,
        shelf.safety_stock,
        words,
        reservation_id,
    )


def _in_words(late: int, covered: int, short: int) -> str:
    """What came out of the safety stock, and why."""
    said = [f"late payment: {late} from safety_stock"] if late else []
    said += [f"shortfall: {covered} from safety_stock"] if covered else []
    said += [f"safety_stock was {short} short"] if short else []
    return "; ".join(said)


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
