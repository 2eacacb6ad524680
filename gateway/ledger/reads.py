"""Questions to the ledger that change nothing."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from gateway.ledger.bulk import among, is_server, listing
from gateway.ledger.deduct import recorded_outcomes
from gateway.ledger.tables import deduction_lines, deductions, settings_of, stock
from gateway.ledger.types import DeductionLine, Recorded, StockRow


def stock_row(row: Row[Any]) -> StockRow:
    """A row of the stock table as a value."""
    return StockRow(
        sku=row.sku,
        on_hand=row.on_hand,
        safety_stock=row.safety_stock,
        received=row.received,
        sold=row.sold,
        settings=settings_of(row),
        move_seq=row.move_seq,
        fence=row.fence,
    )


def stock_of(connection: Connection, skus: Sequence[str]) -> list[StockRow]:
    """The rows of those SKUs that exist, by SKU."""
    query = select(stock).where(among(stock.c.sku, is_server(connection))).order_by(stock.c.sku)
    return [stock_row(row) for row in connection.execute(query, listing(connection, set(skus)))]


def stock_page(connection: Connection, after: str, limit: int | None) -> list[StockRow]:
    """Rows by SKU, from the first one above `after`; all of them without a limit."""
    query = select(stock).where(stock.c.sku > after).order_by(stock.c.sku).limit(limit)
    return [stock_row(row) for row in connection.execute(query)]


def deduction_of(connection: Connection, reservation_id: str) -> Recorded | None:
    """A decided deduction with its lines."""
    query = select(deductions).where(deductions.c.reservation_id == reservation_id)
    row = (connection.execute(query)).one_or_none()
    if row is None:
        return None
    columns = (deduction_lines.c.sku, deduction_lines.c.quantity, deduction_lines.c.from_safety)
    lines = connection.execute(
        select(*columns)
        .where(deduction_lines.c.reservation_id == reservation_id)
        .order_by(deduction_lines.c.sku)
    )
    return Recorded(
        reservation_id=reservation_id,
        settled=row.outcome == "settled",
        reason=row.reason,
        buyer=row.buyer,
        payment_ref=row.payment_ref,
        lines=tuple(DeductionLine(*line) for line in lines),
        confirmed_ms=row.confirmed_at_ms,
        deducted_ms=row.deducted_at_ms,
    )


def unknown_of(connection: Connection, reservation_ids: Sequence[str]) -> list[str]:
    """Those that the ledger has not decided, in the order given."""
    known = recorded_outcomes(connection, set(reservation_ids))
    return [id_ for id_ in reservation_ids if id_ not in known]
