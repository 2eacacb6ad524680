"""Recomputes every counter of the ledger from the rows that it sums up."""

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Select, case, cast, func, select

from gateway.ledger.tables import deduction_lines, deductions, journal, moves, stock
from gateway.ledger.types import LedgerCheck


def audit(connection: Connection) -> list[LedgerCheck]:
    """One check a SKU, by SKU; also for SKUs that only the other tables know."""
    in_stock = connection.execute(_stock())
    found: dict[str, dict[str, Any]] = {row.sku: dict(row._mapping) for row in in_stock}
    for query in (_settled_lines(), _journal(), _pending_moves()):
        for row in connection.execute(query):
            found.setdefault(row.sku, {"in_stock": False}).update(row._mapping)
    return [LedgerCheck(**found[sku]) for sku in sorted(found)]


def _sum(column: ColumnElement[Any], label: str) -> ColumnElement[int]:
    return cast(func.coalesce(func.sum(column), 0), BigInteger).label(label)


def _stock() -> Select[Any]:
    return select(
        stock.c.sku, stock.c.on_hand, stock.c.safety_stock, stock.c.received, stock.c.sold
    )


def _settled_lines() -> Select[Any]:
    lines = deduction_lines.join(deductions)
    return (
        select(deduction_lines.c.sku, _sum(deduction_lines.c.quantity, "sold_lines"))
        .select_from(lines)
        .where(deductions.c.outcome == "settled")
        .group_by(deduction_lines.c.sku)
    )


def _journal() -> Select[Any]:
    """Sums of the movements, and how often a row does not start where the last one ended."""
    by_sku: dict[str, Any] = {"partition_by": journal.c.sku, "order_by": journal.c.id}
    last_on_hand = func.coalesce(func.lag(journal.c.on_hand_after).over(**by_sku), 0)
    last_safety = func.coalesce(func.lag(journal.c.safety_after).over(**by_sku), 0)
    whole = (journal.c.on_hand_before == last_on_hand) & (journal.c.safety_before == last_safety)
    rows = select(
        journal.c.sku,
        journal.c.delta,
        (journal.c.safety_after - journal.c.safety_before).label("safety_delta"),
        case((journal.c.kind == "sold", -journal.c.delta), else_=0).label("sold"),
        case((whole, 0), else_=1).label("broken"),
    ).subquery()
    return select(
        rows.c.sku,
        _sum(rows.c.delta, "on_hand_journal"),
        _sum(rows.c.safety_delta, "safety_journal"),
        _sum(rows.c.sold, "sold_journal"),
        _sum(rows.c.broken, "chain_breaks"),
    ).group_by(rows.c.sku)


def _pending_moves() -> Select[Any]:
    return (
        select(moves.c.sku, func.count().label("moves_pending"))
        .where(moves.c.state == "pending")
        .group_by(moves.c.sku)
    )
