"""Audits on record, as values. Times are milliseconds since the epoch, counts are units."""

from typing import Literal

import msgspec

RunState = Literal["running", "done", "failed"]
Trigger = Literal["interval", "demand", "comparator"]
FindingState = Literal["found", "repairing", "repaired", "refused", "interrupted"]


class NewFinding(msgspec.Struct, frozen=True):
    """One thing that did not add up.

    term: what was wrong, such as `held`, `buyer` or `stuck-hold`; subject: of it, the buyer or
    the reservation. before, after: the SKU's terms, or states, in words ('' where none).
    """

    sku: str
    term: str
    found: int
    expected: int
    subject: str = ""
    detail: str = ""
    before: str = ""
    after: str = ""
    state: FindingState = "found"


class AuditFinding(NewFinding, frozen=True):
    """The same on record. fence: the token of the lease under which it was repaired, 0 if not."""

    id: int = 0
    run_id: int = 0
    at_ms: int = 0
    finished_ms: int = 0
    fence: int = 0


class RunCounts(msgspec.Struct, frozen=True):
    """What a run looked at, and what came of it.

    uncompared: SKUs that changed too fast, on too large a shard, to be compared exactly.
    """

    skus: int = 0
    reservations: int = 0
    buyers: int = 0
    ledger_rows: int = 0
    uncompared: int = 0
    findings: int = 0
    repaired: int = 0


class AuditRun(msgspec.Struct, frozen=True):
    """One audit. method: how it compared, in words; error: why it failed."""

    id: int
    trigger: Trigger
    actor: str
    state: RunState
    started_ms: int
    finished_ms: int
    counts: RunCounts
    method: str = ""
    error: str = ""
    findings: tuple[AuditFinding, ...] = ()
