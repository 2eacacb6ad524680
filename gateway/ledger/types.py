"""What goes into the ledger and what comes out of it. Quantities are units, times milliseconds."""

from typing import Literal

import msgspec

from gateway.core.leases import Fence
from gateway.core.model import UNITS_MAX, SkuSettings

Reason = Literal["", "shortfall", "unknown-sku", "payment-ref-used", "dismissed"]


class DeductionLine(msgspec.Struct, frozen=True, gc=False):
    """`quantity` units of one SKU, `from_safety` of which come out of its safety stock.

    Raises:
        ValueError: unless 1 <= quantity <= UNITS_MAX and 0 <= from_safety <= quantity.
    """

    sku: str
    quantity: int
    from_safety: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.quantity <= UNITS_MAX or not 0 <= self.from_safety <= self.quantity:
            raise ValueError(
                f"SKU {self.sku}: cannot deduct quantity={self.quantity},"
                f" from_safety={self.from_safety}"
            )


class Deduction(msgspec.Struct, frozen=True):
    """A confirmed reservation to be taken out of the stock: all its lines or none.

    Raises:
        ValueError: without lines, or with two lines for one SKU.
    """

    reservation_id: str
    buyer: str
    payment_ref: str
    lines: tuple[DeductionLine, ...]
    confirmed_ms: int = 0

    def __post_init__(self) -> None:
        if len({line.sku for line in self.lines}) != max(1, len(self.lines)):
            raise ValueError(f"reservation {self.reservation_id}: needs one line a SKU, at least 1")


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What the ledger decided about a reservation, for good. A reason only when not settled.

    covered: units that were missing and came out of the safety stock; only told when it is decided.
    """

    reservation_id: str
    settled: bool
    reason: Reason = ""
    covered: int = 0


class Recorded(msgspec.Struct, frozen=True):
    """A decided deduction as the ledger keeps it."""

    reservation_id: str
    settled: bool
    reason: Reason
    buyer: str
    payment_ref: str
    lines: tuple[DeductionLine, ...]
    confirmed_ms: int
    deducted_ms: int


class StockRow(msgspec.Struct, frozen=True):
    """One SKU in the ledger: received = sold + on_hand, always.

    move_seq: the number of the SKU's latest move, pending or not.
    """

    sku: str
    on_hand: int
    safety_stock: int
    received: int
    sold: int
    settings: SkuSettings
    move_seq: int
    fence: int = 0


class MoveRequest(msgspec.Struct, frozen=True):
    """A wish to change a SKU; None leaves that part as it is.

    kind: `put` sets `on_hand` (the ledger's number, so unsettled units count as on hand) and
    creates the SKU; `adjust` adds `delta` to a SKU that exists.
    key: idempotency key, unique over all SKUs; `fingerprint` tells a repeat from another request.
    fence: of the lease under which it is asked; a stale one is refused, and the journal
        names the token beside what begins with it. A numbered move is anybody's to drive on.
    """

    sku: str
    kind: Literal["put", "adjust"]
    on_hand: int | None = None
    delta: int = 0
    safety_stock: int | None = None
    settings: SkuSettings | None = None
    reason: str = ""
    actor: str = ""
    key: str | None = None
    fingerprint: str = ""
    fence: Fence | None = None


MoveState = Literal["pending", "applied", "refused"]


class Move(msgspec.Struct, frozen=True):
    """A change of a SKU that the ledger has numbered and the store must mirror.

    on_hand_delta, safety_delta: what to add; safe in any order with deductions.
    safety_stock, settings: the targets, as of `begin_move`.
    finished_ms: 0 while pending.
    """

    sku: str
    seq: int
    kind: Literal["put", "adjust"]
    state: MoveState
    on_hand_delta: int
    safety_delta: int
    safety_stock: int
    settings: SkuSettings
    reason: str
    actor: str
    key: str | None
    fingerprint: str
    created_ms: int
    finished_ms: int = 0


class MoveConflict(msgspec.Struct, frozen=True):
    """The key was used for another request; `earlier` is what it stands for."""

    earlier: Move


class MovePending(msgspec.Struct, frozen=True):
    """Another move of the SKU is unfinished: drive `move` to its end, then ask again."""

    move: Move


class MoveUnknownSku(msgspec.Struct, frozen=True):
    """An adjustment of a SKU that the ledger does not have."""

    sku: str


class MoveRefused(msgspec.Struct, frozen=True):
    """The move would break the SKU's numbers; nothing was written.

    reason: `below-zero` (on_hand), `below-safety` (on_hand under safety_stock), `too-large`.
    on_hand, safety_stock: what they would have become.
    """

    sku: str
    reason: Literal["below-zero", "below-safety", "too-large"]
    on_hand: int
    safety_stock: int


MoveAnswer = Move | MoveConflict | MovePending | MoveUnknownSku | MoveRefused


class LedgerCheck(msgspec.Struct, frozen=True):
    """One SKU's counters, each recomputed from the rows that it sums up.

    sold_lines: units on settled deductions; sold_journal, on_hand_journal, safety_journal: what
    the journal's movements add up to; chain_breaks: journal rows that do not start where the row
    before them ended; in_stock: False when only other tables know the SKU.
    """

    sku: str
    on_hand: int = 0
    safety_stock: int = 0
    received: int = 0
    sold: int = 0
    sold_lines: int = 0
    sold_journal: int = 0
    on_hand_journal: int = 0
    safety_journal: int = 0
    chain_breaks: int = 0
    moves_pending: int = 0
    in_stock: bool = True

    @property
    def faults(self) -> tuple[str, ...]:
        """What does not add up, in words; empty when all is well."""
        tests = (
            (self.in_stock, "no stock row"),
            (self.received - self.on_hand == self.sold, "received - on_hand is not sold"),
            (self.sold <= self.received, "oversold"),
            (self.sold_lines == self.sold, "settled lines do not add up to sold"),
            (self.sold_journal == self.sold, "the journal does not add up to sold"),
            (self.on_hand_journal == self.on_hand, "the journal does not add up to on_hand"),
            (self.safety_journal == self.safety_stock, "the journal does not explain safety_stock"),
            (self.chain_breaks == 0, f"{self.chain_breaks} breaks in the journal's chain"),
        )
        return tuple(fault for sound, fault in tests if not sound)

    @property
    def ok(self) -> bool:
        """Whether every counter is explained."""
        return not self.faults
