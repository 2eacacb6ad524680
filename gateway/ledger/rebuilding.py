"""What a rebuild of the store asks the ledger."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, Select, cast, func, select

from gateway.ledger import moves
from gateway.ledger.bulk import among, is_server, listing
from gateway.ledger.dead_letters import dead_letters
from gateway.ledger.letter_types import OPEN_STATES
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
    query = _bought(is_server(connection))
    for sku, buyer, units in connection.execute(query, listing(connection, set(skus))):
        found.setdefault(sku, {})[buyer] = units
    return found


def in_letters(connection: Connection, reservation_ids: Sequence[str]) -> set[str]:
    """Those that are in a dead letter about which something is still to be decided or done."""
    asked = among(dead_letters.c.reservation_id, is_server(connection))
    busy = dead_letters.c.state.in_(OPEN_STATES) | (dead_letters.c.unfinished == 1)
    query = select(dead_letters.c.reservation_id).where(asked, busy)
    return set(connection.execute(query, listing(connection, set(reservation_ids))).scalars())


def _bought(server: bool) -> Select[Any]:
    units = cast(func.sum(deduction_lines.c.quantity), BigInteger)
    return (
        select(deduction_lines.c.sku, deductions.c.buyer, units)
        .select_from(deduction_lines.join(deductions))
        .where(deductions.c.outcome == "settled", among(deduction_lines.c.sku, server))
        .group_by(deduction_lines.c.sku, deductions.c.buyer)
    )
