"""What a SKU's terms have to be, from the ledger and the records that survived. No I/O.

The ledger says what is on hand, kept back and sold; the records say what of it is held or paid
for. What the ledger has deducted and the store has not mirrored is still on hand in the store,
and unsettled; the settler mirrors it when the SKU is open.
"""

from collections.abc import Iterator

import msgspec

from gateway.core.model import HeldLine, Reservation, State
from gateway.ledger import Move, StockRow
from gateway.store.rebuilding import Opening
from gateway.store.records import settings_text
from gateway.store.relics import KeptSku

HOLDING = (State.HELD, State.PAYING)


class Sums(msgspec.Struct):
    """Units of one SKU over the records.

    deducted: the part of `unsettled` that the ledger has deducted; from_safety: of the rest, what
    was taken out of the safety stock. counted: units by buyer that count against the limit and
    are not among what the ledger has sold; settled: the same of settled records.
    """

    held: int = 0
    unsettled: int = 0
    deducted: int = 0
    from_safety: int = 0
    counted: dict[str, int] = msgspec.field(default_factory=dict)
    settled: dict[str, int] = msgspec.field(default_factory=dict)


def add_record(sums: dict[str, Sums], reservation: Reservation, *, deducted: bool) -> None:
    """Add a record. deducted: the ledger has, whatever its state in the store is."""
    state = State.CONFIRMED if deducted and _is_behind(reservation) else reservation.state
    for line in reservation.lines:
        if state not in (*HOLDING, State.CONFIRMED, State.SETTLED):
            continue
        of = sums.setdefault(line.sku, Sums())
        counted = isinstance(line, HeldLine) and line.counted
        if state in HOLDING:
            of.held += line.quantity
        elif state is State.CONFIRMED:
            of.unsettled += line.quantity
            of.deducted += line.quantity if deducted else 0
            if isinstance(line, HeldLine) and not deducted:
                of.from_safety += line.from_safety
        if counted:
            by_buyer = of.settled if deducted or state is State.SETTLED else of.counted
            by_buyer[reservation.buyer] = by_buyer.get(reservation.buyer, 0) + line.quantity


def _is_behind(reservation: Reservation) -> bool:
    return reservation.state not in (State.SETTLED, State.REJECTED)


def openings(row: StockRow, move: Move | None, sums: Sums) -> Iterator[Opening]:
    """The terms that would be right, the likeliest first: a move in flight leaves several."""
    if move is None:
        yield _opening(row, row.on_hand, row.safety_stock, sums, row.move_seq, 0)
        return
    applied = msgspec.structs.replace(row, settings=move.settings)
    less, less_safety = min(0, move.on_hand_delta), min(0, move.safety_delta)
    yield _opening(applied, row.on_hand + less, row.safety_stock + less_safety, sums, move.seq, 0)
    without = (
        row.on_hand - max(0, move.on_hand_delta),
        row.safety_stock - max(0, move.safety_delta),
    )
    yield _opening(row, *without, sums, move.seq, move.seq)
    yield _opening(row, *without, sums, move.seq - 1, 0)


def choose(row: StockRow, move: Move | None, sums: Sums, kept: KeptSku | None) -> Opening:
    """The terms to open with. A move in flight counts as done if it can be, unless Redis has said.

    Whoever drives the move next is told the same by its number. available < 0: the SKU must stay
    closed.
    """
    possible = list(openings(row, move, sums))
    if move is not None and kept is not None and kept.move_seq == move.seq:
        return possible[1] if kept.move_refused == move.seq else possible[0]
    return next((one for one in possible if one.available >= 0), possible[0])


def is_sound(kept: KeptSku | None, possible: list[Opening]) -> bool:
    """Whether the SKU is as one of the possible terms say. Refused moves may be long ago.

    One that its first move has yet to create is, too.
    """
    if kept is None:
        return any(one.move_seq == 0 for one in possible)
    found = (kept.terms, kept.settings, kept.move_seq)
    return any(found == (tuple(map(str, p.terms)), p.settings, p.move_seq) for p in possible)


def buyers_are_short(sums: Sums, kept: dict[str, int]) -> bool:
    """Whether a buyer's count is less than what the records say."""
    buyers = {*sums.counted, *sums.settled}
    return any(kept.get(b, 0) < sums.counted.get(b, 0) + sums.settled.get(b, 0) for b in buyers)


def buyers(sums: Sums, bought: dict[str, int], *, limited: bool) -> dict[str, int]:
    """Counts by buyer: what is held and not yet sold, and all that was bought."""
    counts = dict(sums.counted)
    for buyer, units in (bought if limited else sums.settled).items():
        counts[buyer] = counts.get(buyer, 0) + units
    return counts


def _opening(
    row: StockRow, on_hand: int, safety: int, sums: Sums, seq: int, refused: int
) -> Opening:
    on_hand += sums.deducted
    safety = max(0, safety - sums.from_safety)
    return Opening(
        sku=row.sku,
        on_hand=on_hand,
        available=on_hand - safety - sums.held - sums.unsettled,
        held=sums.held,
        unsettled=sums.unsettled,
        safety_stock=safety,
        sold=row.sold - sums.deducted,
        settings=settings_text(row.settings),
        move_seq=seq,
        move_refused=refused,
    )
