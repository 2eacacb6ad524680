"""What the buyers of a sale were told: the journal that the stores are held against."""

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum


class Told(str, Enum):
    """Something that an answer acknowledged."""

    REFUSED = "refused"  # no units for this cart
    HELD = "held"
    RELEASED = "released"
    CONFIRMED = "confirmed"  # paid, the ledger has yet to decide
    SETTLED = "settled"
    REJECTED = "rejected"  # paid, and the ledger refused
    TOO_LATE = "too late"  # paid after the deadline, and nothing was left


@dataclass
class Purchase:
    """One cart under one Idempotency-Key, and everything that was said about it.

    lines: SKU -> quantity. ids: of every reservation that was ever given out under the key.
    unsure: how many of its calls once ended without an answer that one can rely on.
    """

    key: str
    lines: dict[str, int]
    ttl_s: int
    ids: set[str] = field(default_factory=set)
    receipt: str = ""
    told: set[Told] = field(default_factory=set)
    unsure: int = 0

    @property
    def id(self) -> str:
        """Of its reservation."""
        (only,) = self.ids
        return only

    @property
    def ref(self) -> str:
        """Of its payment."""
        return f"pay-{self.key}"

    @property
    def body(self) -> dict[str, object]:
        """What is sent under the key, each time the same."""
        lines = [{"sku": sku, "quantity": quantity} for sku, quantity in self.lines.items()]
        return {"buyer": self.key, "lines": lines, "ttl_s": self.ttl_s}


@dataclass
class Book:
    """The whole sale. received: SKU -> units that the shop was told are in stock.

    answers: (step, code) -> how often. resolved: calls that were unsure once, and then were not;
    had_happened: those whose effect had been there all along.
    """

    purchases: list[Purchase] = field(default_factory=list)
    received: Counter[str] = field(default_factory=Counter)
    safety: dict[str, int] = field(default_factory=dict)
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    resolved: int = 0
    had_happened: int = 0

    def count(self, *told: Told) -> int:
        """Purchases that were told any of these."""
        return sum(not purchase.told.isdisjoint(told) for purchase in self.purchases)

    @property
    def requests(self) -> int:
        """Answers, and calls that got none."""
        return self.answers.total()

    @property
    def paid(self) -> int:
        """Confirms that were acknowledged."""
        return self.count(Told.CONFIRMED, Told.SETTLED)
