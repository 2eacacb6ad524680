"""Numbered changes of a SKU, in two steps around the store that mirrors them.

begin_move numbers a move and records it; the store applies it (once, by its number); finish_move
records what the store said. In between the ledger never has less than the store: what raises
on_hand or safety_stock is in the ledger from the first step, what lowers them from the second,
so a deduction of units that the store sold is never refused for a move in flight. A crash between
the steps leaves a pending move, which is driven again by its number.
"""

from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, Row, insert, select, update

from gateway.core.errors import InvariantBreach
from gateway.core.model import UNITS_MAX, SkuSettings
from gateway.ledger.fences import refuse_stale
from gateway.ledger.reads import stock_row
from gateway.ledger.tables import journal, moves, settings_of, settings_values, stock
from gateway.ledger.types import (
    Move,
    MoveAnswer,
    MoveConflict,
    MovePending,
    MoveRefused,
    MoveRequest,
    MoveUnknownSku,
    StockRow,
)

Kind = Literal["received", "adjusted", "safety"]


def begin(connection: Connection, request: MoveRequest, now_ms: int) -> MoveAnswer:
    """Number and record a move; increases take effect. Refusals are values and write nothing.

    Raises:
        LeaseLost: the request's fence is stale.
    """
    if request.fence is not None:
        refuse_stale(connection, *request.fence)
    earlier = _earlier(connection, request)
    if earlier is not None:
        return earlier
    found = _lock(connection, request.sku)
    if found is None and request.kind == "adjust":
        return MoveUnknownSku(request.sku)
    pending = _pending_of(connection, request.sku)
    if pending is not None:
        return MovePending(pending)
    row = found or StockRow(request.sku, 0, 0, 0, 0, SkuSettings(), 0)
    move = _draft(row, request, now_ms)
    refusal = _refusal(row, move)
    if refusal is not None:
        return refusal
    if found is None:
        connection.execute(insert(stock).values(sku=request.sku))
    connection.execute(update(stock).where(stock.c.sku == move.sku).values(move_seq=move.seq))
    connection.execute(insert(moves).values(_values(move)))
    change = (max(0, move.on_hand_delta), max(0, move.safety_delta))
    token = request.fence.token if request.fence else 0
    _shift(connection, row, move, change, now_ms, fence=token)
    return move


def finish(connection: Connection, sku: str, seq: int, *, applied: bool, now_ms: int) -> StockRow:
    """Close a move with the store's verdict; a closed move stays as it is.

    Raises:
        LookupError: there is no such move.
        InvariantBreach: units of the move are gone from the ledger already.
    """
    row = _lock(connection, sku)
    found = (connection.execute(select(moves).where(_is(sku, seq)))).one_or_none()
    if row is None or found is None:
        raise LookupError(f"the ledger has no move {seq} of SKU {sku}")
    move = _move(found)
    if move.state != "pending":
        return row
    if applied:
        change = (min(0, move.on_hand_delta), min(0, move.safety_delta))
        row = _shift(connection, row, move, change, now_ms)
        row = _set_settings(connection, row, move.settings)
    else:
        change = (-max(0, move.on_hand_delta), -max(0, move.safety_delta))
        row = _shift(connection, row, move, change, now_ms, why="refused: ")
    state = "applied" if applied else "refused"
    connection.execute(
        update(moves).where(_is(sku, seq)).values(state=state, finished_at_ms=now_ms)
    )
    return row


def find(connection: Connection, sku: str, seq: int) -> Move | None:
    """The move as it stands."""
    row = connection.execute(select(moves).where(_is(sku, seq))).one_or_none()
    return None if row is None else _move(row)


def pending(connection: Connection) -> list[Move]:
    """The moves to drive to their end: at most one a SKU, oldest first."""
    query = select(moves).where(moves.c.state == "pending")
    rows = connection.execute(query.order_by(moves.c.created_at_ms, moves.c.sku))
    return [_move(row) for row in rows]


def _earlier(connection: Connection, request: MoveRequest) -> Move | MoveConflict | None:
    if request.key is None:
        return None
    query = select(moves).where(moves.c.key == request.key)
    row = (connection.execute(query)).one_or_none()
    if row is None:
        return None
    move = _move(row)
    same = move.sku == request.sku and move.fingerprint == request.fingerprint
    return move if same else MoveConflict(move)


def _lock(connection: Connection, sku: str) -> StockRow | None:
    query = select(stock).where(stock.c.sku == sku).with_for_update()
    row = (connection.execute(query)).one_or_none()
    return None if row is None else stock_row(row)


def _pending_of(connection: Connection, sku: str) -> Move | None:
    query = select(moves).where(moves.c.sku == sku, moves.c.state == "pending")
    row = (connection.execute(query)).one_or_none()
    return None if row is None else _move(row)


def _draft(row: StockRow, request: MoveRequest, now_ms: int) -> Move:
    delta = request.delta
    if request.kind == "put":
        delta = 0 if request.on_hand is None else request.on_hand - row.on_hand
    safety = row.safety_stock if request.safety_stock is None else request.safety_stock
    return Move(
        sku=row.sku,
        seq=row.move_seq + 1,
        kind=request.kind,
        state="pending",
        on_hand_delta=delta,
        safety_delta=safety - row.safety_stock,
        safety_stock=safety,
        settings=request.settings or row.settings,
        reason=request.reason,
        actor=request.actor,
        key=request.key,
        fingerprint=request.fingerprint,
        created_ms=now_ms,
    )


def _refusal(row: StockRow, move: Move) -> MoveRefused | None:
    """What no store could apply. Units that are held or unsettled are the store's to judge."""
    on_hand, safety = row.on_hand + move.on_hand_delta, move.safety_stock
    tightens = move.on_hand_delta < 0 or move.safety_delta > 0
    if min(on_hand, safety) < 0:
        return MoveRefused(row.sku, "below-zero", on_hand, safety)
    if max(on_hand, safety) > UNITS_MAX or row.received + move.on_hand_delta > UNITS_MAX:
        return MoveRefused(row.sku, "too-large", on_hand, safety)
    if tightens and on_hand < safety:
        return MoveRefused(row.sku, "below-safety", on_hand, safety)
    return None


def _shift(
    connection: Connection,
    row: StockRow,
    move: Move,
    change: tuple[int, int],
    now_ms: int,
    *,
    why: str = "",
    fence: int = 0,
) -> StockRow:
    """Add `change` = (on_hand, safety_stock) to a SKU, each with a journal row."""
    on_hand, received = row.on_hand + change[0], row.received + change[0]
    safety = max(0, row.safety_stock + change[1])
    if on_hand < 0:
        raise InvariantBreach(
            f"SKU {row.sku}: move {move.seq} takes {-change[0]} of {row.on_hand} units on hand"
        )
    middle = msgspec.structs.replace(row, on_hand=on_hand, received=received)
    after = msgspec.structs.replace(middle, safety_stock=safety)
    rows = []
    if middle != row:
        rises = move.kind == "put" and change[0] > 0
        rows.append(_step(row, middle, "received" if rises else "adjusted"))
    if after != middle:
        rows.append(_step(middle, after, "safety"))
    if rows:
        values = {"on_hand": on_hand, "received": received, "safety_stock": safety}
        connection.execute(update(stock).where(stock.c.sku == row.sku).values(values))
        said = {
            "at_ms": now_ms,
            "actor": move.actor,
            "reason": f"{why}{move.reason}",
            "fence": fence,
        }
        connection.execute(insert(journal), [step | said for step in rows])
    return after


def _set_settings(connection: Connection, row: StockRow, settings: SkuSettings) -> StockRow:
    values = settings_values(settings)
    connection.execute(update(stock).where(stock.c.sku == row.sku).values(values))
    return msgspec.structs.replace(row, settings=settings)


def _step(before: StockRow, after: StockRow, kind: Kind) -> dict[str, Any]:
    return {
        "sku": before.sku,
        "kind": kind,
        "delta": after.on_hand - before.on_hand,
        "on_hand_before": before.on_hand,
        "on_hand_after": after.on_hand,
        "safety_before": before.safety_stock,
        "safety_after": after.safety_stock,
    }


def _is(sku: str, seq: int) -> Any:
    return (moves.c.sku == sku) & (moves.c.seq == seq)


def _values(move: Move) -> dict[str, Any]:
    return {
        "sku": move.sku,
        "seq": move.seq,
        "kind": move.kind,
        "state": move.state,
        "on_hand_delta": move.on_hand_delta,
        "safety_before": move.safety_stock - move.safety_delta,
        "safety_after": move.safety_stock,
        **settings_values(move.settings),
        "reason": move.reason,
        "actor": move.actor,
        "key": move.key,
        "fingerprint": move.fingerprint,
        "created_at_ms": move.created_ms,
    }


def _move(row: Row[Any]) -> Move:
    return Move(
        sku=row.sku,
        seq=row.seq,
        kind=row.kind,
        state=row.state,
        on_hand_delta=row.on_hand_delta,
        safety_delta=row.safety_after - row.safety_before,
        safety_stock=row.safety_after,
        settings=settings_of(row),
        reason=row.reason,
        actor=row.actor,
        key=row.key,
        fingerprint=row.fingerprint,
        created_ms=row.created_at_ms,
        finished_ms=row.finished_at_ms,
    )
