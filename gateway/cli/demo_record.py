"""What the crowd saw: the client's own book, kept without asking the gateway's counters."""

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from math import ceil
from typing import Any

import msgspec

from gateway.cli.demo_client import Answer
from gateway.core.errors import SetupError

ANOMALIES_KEPT_MAX = 20


class Belief(StrEnum):
    """What a buyer may rightly believe of a reservation after the answers they got."""

    HELD = "held"
    SETTLED = "settled"  # confirm answered 200
    CONFIRMED = "confirmed"  # confirm answered 202
    RELEASED = "released"
    TOO_LATE = "too late"  # confirm answered 410
    REJECTED = "rejected"  # the ledger refused
    UNSURE = "unsure"  # a confirm or release was sent and no answer came


class Kept(msgspec.Struct):
    """One accepted reservation. `final` is the state that GET gave after the sale."""

    id: str
    buyer: str
    belief: Belief = Belief.HELD
    receipt: str = ""
    paid_late: bool = False
    final: str = ""


class Record:
    """Everything that was answered, by reservation and by reason."""

    def __init__(self) -> None:
        self.kept: dict[str, Kept] = {}
        self.refusals: Counter[str] = Counter()
        self.retried: Counter[str] = Counter()
        self.sent_home = 0
        self.replays = 0
        self.second_orders = 0
        self.second_orders_refused = 0  # by the buyer limit, not for lack of units
        self.anomalies: list[str] = []
        self.anomaly_count = 0
        self.latencies_ms: dict[str, list[float]] = {}
        self.duration_s = 0.0
        self.calls = 0

    def accept(self, answer: Answer, buyer: str) -> Kept:
        """Note an accepted reservation; a replay of a known one is the same entry."""
        reservation_id = str(answer.body.get("id", ""))
        self.replays += answer.replayed
        kept = self.kept.setdefault(reservation_id, Kept(reservation_id, buyer))
        kept.receipt = str(answer.body.get("receipt", ""))
        if kept.buyer != buyer:
            self.anomaly(f"{reservation_id} given to both {kept.buyer} and {buyer}")
        return kept

    def refuse(self, answer: Answer) -> None:
        """Count a refusal by its code."""
        self.refusals[answer.code] += 1

    def anomaly(self, text: str) -> None:
        """Note something that must never happen; the first few are kept in words."""
        self.anomaly_count += 1
        if len(self.anomalies) < ANOMALIES_KEPT_MAX:
            self.anomalies.append(text)

    def took(self, step: str, seconds: float) -> None:
        """Note how long a step took, from the moment its buyer meant to do it."""
        self.latencies_ms.setdefault(step, []).append(seconds * 1000)

    def count(self, *beliefs: Belief) -> int:
        """Reservations of which one of `beliefs` is held."""
        return sum(kept.belief in beliefs for kept in self.kept.values())


def percentile(values: Iterable[float], share: float) -> float:
    """Nearest-rank percentile; 0.0 of nothing. `share` is in (0, 1]."""
    ranked = sorted(values)
    if not ranked:
        return 0.0
    return ranked[ceil(share * len(ranked)) - 1]


class Terms(msgspec.Struct, frozen=True):
    """A SKU's terms as the admin API gives them."""

    on_hand: int
    available: int
    held: int
    unsettled: int
    safety_stock: int
    sold: int

    @property
    def balanced(self) -> bool:
        """Whether on_hand = available + held + unsettled + safety_stock, none negative."""
        parts = (self.available, self.held, self.unsettled, self.safety_stock)
        return min(*parts, self.sold) >= 0 and self.on_hand == sum(parts)


def read_terms(body: dict[str, Any]) -> Terms:
    """Terms out of an admin answer. Raises SetupError when it is not one of this version."""
    try:
        return msgspec.convert(body, Terms)
    except msgspec.ValidationError as wrong:
        raise SetupError(
            f"this gateway gives a SKU's terms in another form: {wrong}",
            hint="use the demo of the gateway's own version",
        ) from None
