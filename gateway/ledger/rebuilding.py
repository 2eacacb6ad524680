"""What a rebuild of the store asks the ledger."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, Select, cast, func, select

from gateway.ledger import moves
from gateway.ledger.deduct import chunks
from gateway.ledger.reads import stock_page
from gateway.ledger.tables import deduction_lines, deductions
from gateway.ledger.types import Move, StockRow

Owned = tuple[StockRow, Move | None]


def owned(connection: Connection) -> dict[str, Owned]:
    """Every SKU, each with its pending move if there is one, at one moment."""
    pending = {move.sku: move for move in moves.pending(connection)}
    return {row.sku: (row, pending.get(row.sku)) for row in stock_page(connection, "", None)}


def bought(connection: Connection, skus: Sequence[str]) -> dict[str, dict[str, int]]:
    """Units that each buyer has bought of each of the SKUs, by SKU and buyer."""
    found: dict[str, dict[str, int]] = {}
    for part in chunks(sorted(set(skus))):
        for sku, buyer, units in connection.execute(_bought(part)):
            found.setdefault(sku, {})[buyer] = units
    return found


def _bought(skus: Sequence[str]) -> Select[Any]:
    units = cast(func.sum(deduction_lines.c.quantity), BigInteger)
    return (
        select(deduction_lines.c.sku, deductions.c.buyer, units)
        .select_from(deduction_lines.join(deductions))
        .where(deductions.c.outcome == "settled", deduction_lines.c.sku.in_(skus))
        .group_by(deduction_lines.c.sku, deductions.c.buyer)
    )
