"""What a reservation and a SKU are, independent of where they are kept."""

import re
from collections.abc import Callable
from enum import Enum
from typing import Final

import msgspec

UNITS_MAX = 10**12
"""The largest count of units: far below 2^53, up to which Lua and JSON keep numbers exactly."""

SKU_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}\Z"
"""What may be a SKU: it becomes part of a key."""

is_sku: Callable[[str], re.Match[str] | None] = re.compile(SKU_PATTERN).search


class State(str, Enum):
    """Where a reservation stands; `transitions.py` says which moves are legal."""

    HELD = "held"
    PAYING = "paying"
    CONFIRMED = "confirmed"
    SETTLED = "settled"
    REJECTED = "rejected"
    RELEASED = "released"
    EXPIRED = "expired"


class Line(msgspec.Struct, frozen=True, gc=False):
    """`quantity` units of one SKU."""

    sku: str
    quantity: int


class HeldLine(Line, frozen=True, gc=False):
    """A line as it is kept: what it counts against besides the stock.

    counted: the quantity counts against the buyer's limit.
    from_safety: units of it taken from safety_stock by the late-payment rule.
    """

    counted: bool = False
    from_safety: int = 0


class Reservation(msgspec.Struct, frozen=True):
    """A reservation as the store knows it. Times are milliseconds since the epoch.

    deadline_ms: when the hold ends; once settled or rejected, when that was.
    """

    id: str
    state: State
    buyer: str
    lines: tuple[Line, ...]
    created_ms: int
    deadline_ms: int
    channel: str = ""
    payment_ref: str = ""


class SkuSettings(msgspec.Struct, frozen=True):
    """The rules of a SKU's sale; 0 means unlimited, unset or always, as the field's name implies.

    buyer_limit: units one buyer may hold and own; hold_ttl_ms: how long a hold lasts
    (0: the gateway's default); sale_*_ms: the window in which holds are made;
    fuse_rps: hold requests/s that open the fuse (0: the default).
    """

    buyer_limit: int = 0
    hold_ttl_ms: int = 0
    sale_starts_ms: int = 0
    sale_ends_ms: int = 0
    fuse_rps: int = 0


class SkuTerms(msgspec.Struct, frozen=True):
    """Every term of the invariant for one SKU, as Redis has them.

    on_hand = available + held + unsettled + safety_stock, each >= 0.
    sold counts units settled and mirrored back; version rises with every change.
    """

    sku: str
    on_hand: int
    available: int
    held: int
    unsettled: int
    safety_stock: int
    sold: int
    version: int
    move_seq: int
    settings: SkuSettings

    @property
    def balanced(self) -> bool:
        """Whether the invariant holds."""
        parts = (self.available, self.held, self.unsettled, self.safety_stock)
        return min(parts) >= 0 and self.on_hand == sum(parts)
