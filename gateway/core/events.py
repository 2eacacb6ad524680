"""What operations are told: the closed list of events; `event_words` has the words for each.

An event is one thing that happened; a *notice* is what is sent: one event, or all events of one
cause within a while, with their number and the first and last time.
"""

from collections.abc import Callable
from enum import Enum

import msgspec

DETAIL_CHARS_MAX = 300
SAMPLES_MAX = 5
"""SKUs and reservations that one notice names."""


class Severity(str, Enum):
    """How soon somebody has to look, mildest first."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for the mildest."""
        return list(Severity).index(self)


class EventKind(str, Enum):
    """Everything that operations may be told."""

    HOLDS_EXPIRED = "holds.expired"
    HOLDS_RELEASED = "holds.released"
    HOLDS_STUCK = "holds.stuck"
    DEDUCTION_REJECTED = "deduction.rejected"
    SETTLING_STUCK = "settling.stuck"
    SETTLING_RESUMED = "settling.resumed"
    DEAD_LETTER_ADDED = "dead_letter.added"
    DRIFT_FOUND = "drift.found"
    DRIFT_REPAIRED = "drift.repaired"
    INVARIANT_BREACHED = "invariant.breached"
    STORE_LOST = "store.lost"
    STORE_REBUILT = "store.rebuilt"
    SKU_KEPT_CLOSED = "sku.kept_closed"
    SAFETY_USED = "safety_stock.used"
    FUSE_OPENED = "fuse.opened"
    FUSE_HALF_OPEN = "fuse.half_open"
    FUSE_CLOSED = "fuse.closed"
    TEST = "notify.test"


SEVERITIES = {
    EventKind.HOLDS_EXPIRED: Severity.INFO,
    EventKind.HOLDS_RELEASED: Severity.WARNING,
    EventKind.HOLDS_STUCK: Severity.CRITICAL,
    EventKind.DEDUCTION_REJECTED: Severity.WARNING,
    EventKind.SETTLING_STUCK: Severity.CRITICAL,
    EventKind.SETTLING_RESUMED: Severity.WARNING,
    EventKind.DEAD_LETTER_ADDED: Severity.CRITICAL,
    EventKind.DRIFT_FOUND: Severity.CRITICAL,
    EventKind.DRIFT_REPAIRED: Severity.WARNING,
    EventKind.INVARIANT_BREACHED: Severity.CRITICAL,
    EventKind.STORE_LOST: Severity.CRITICAL,
    EventKind.STORE_REBUILT: Severity.WARNING,
    EventKind.SKU_KEPT_CLOSED: Severity.CRITICAL,
    EventKind.SAFETY_USED: Severity.WARNING,
    EventKind.FUSE_OPENED: Severity.WARNING,
    EventKind.FUSE_HALF_OPEN: Severity.INFO,
    EventKind.FUSE_CLOSED: Severity.WARNING,
    EventKind.TEST: Severity.INFO,
}


class Event(msgspec.Struct, frozen=True):
    """One thing that happened.

    sku, reservation: what it happened to, "" when that is not one of them.
    cause: a short constant word, such as a reply code; events that differ in it are told apart.
    detail: one sentence for people. count: how many reservations, or counters, it is about.
    """

    kind: EventKind
    sku: str = ""
    reservation: str = ""
    cause: str = ""
    detail: str = ""
    count: int = 1


Tell = Callable[[Event], None]
"""Passes an event on; never blocks, never raises."""


def tell_nobody(_event: Event) -> None:
    """A Tell for where nobody listens."""


class Notice(msgspec.Struct, frozen=True):
    """What is sent: `times` events of one cause, about `count` things.

    skus, reservations: up to SAMPLES_MAX of those concerned. detail: of the latest event.
    first_ms, last_ms: when the first and the last event were told, ms since the epoch.
    """

    id: str
    kind: EventKind
    skus: tuple[str, ...]
    reservations: tuple[str, ...]
    cause: str
    detail: str
    times: int
    count: int
    first_ms: int
    last_ms: int

    @property
    def severity(self) -> Severity:
        """How soon somebody has to look."""
        return SEVERITIES[self.kind]


def one_line(text: str, chars_max: int = DETAIL_CHARS_MAX) -> str:
    """`text` without line breaks, control and invisible characters, cut to `chars_max`."""
    visible = "".join(c if c.isprintable() else " " for c in text[: 4 * chars_max])
    line = " ".join(visible.split())
    return line if len(line) <= chars_max else line[: chars_max - 1] + "…"
