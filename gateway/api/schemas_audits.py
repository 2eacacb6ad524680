"""The shape of what is said about audits."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gateway.api.schemas import Cursor, MomentText, PageSize

RunStateName = Literal["running", "done", "failed"]
TriggerName = Literal["interval", "demand", "comparator"]
FindingStateName = Literal["found", "repairing", "repaired", "refused", "interrupted"]
Count = Annotated[int, Meta(ge=0)]


class AuditListQuery(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The query of the audits listing."""

    cursor: Cursor = ""
    limit: PageSize = 100


class FindingOut(msgspec.Struct, frozen=True):
    """One thing that did not add up, twice, at least a second apart."""

    term: Annotated[
        str,
        Meta(
            description="What was wrong: a term of the invariant, `balance`, `received`, `buyer`, "
            "`settings`, `stuck-hold`, `unsettled-reservation`, `short`, `missing`, "
            "`unknown-to-ledger`, `orphans`, `unreadable` or `ledger`.",
            examples=["held"],
        ),
    ]
    found: int
    expected: int
    state: Annotated[
        FindingStateName,
        Meta(
            description="`found`: alarmed only. `refused`: it had changed before it was repaired. "
            "`interrupted`: nobody said how the repair ended; what is still wrong is found again."
        ),
    ]
    at: MomentText
    sku: str | UnsetType = UNSET
    subject: Annotated[str, Meta(description="The buyer, or the reservation.")] | UnsetType = UNSET
    detail: str | UnsetType = UNSET
    before: Annotated[str, Meta(description="The SKU's terms as found.")] | UnsetType = UNSET
    after: Annotated[str, Meta(description="What they became.")] | UnsetType = UNSET
    fence: (
        Annotated[int, Meta(ge=1, description="The token of the lease it was repaired under.")]
        | UnsetType
    ) = UNSET


class CheckedOut(msgspec.Struct, frozen=True):
    """What an audit looked at."""

    skus: Count
    reservations: Count
    buyers: Annotated[int, Meta(ge=0, description="Buyers' counts of limited SKUs.")]
    ledger_rows: Count
    uncompared: Annotated[
        int,
        Meta(ge=0, description="SKUs that changed too fast to be compared with reservations."),
    ]


class AuditOut(msgspec.Struct, frozen=True):
    """One audit: what was checked, and what was wrong."""

    id: Annotated[str, Meta(examples=["17"])]
    trigger: Annotated[
        TriggerName, Meta(description="`comparator`: the one that always runs found something.")
    ]
    state: RunStateName
    started_at: MomentText
    checked: CheckedOut
    findings_total: Count
    repaired_total: Count
    method: Annotated[str, Meta(description="How Redis and the ledger were compared.")]
    started_by: str
    ended_at: MomentText | UnsetType = UNSET
    took_s: Annotated[float, Meta(ge=0)] | UnsetType = UNSET
    error: str | UnsetType = UNSET
    findings: list[FindingOut] | UnsetType = UNSET


class AuditListOut(msgspec.Struct, frozen=True):
    """A page of audits, the latest first, without their findings."""

    items: list[AuditOut]
    next: Cursor | UnsetType = UNSET


class AuditStartedOut(msgspec.Struct, frozen=True):
    """An audit that will begin within the comparator's pause."""

    id: Annotated[str, Meta(examples=["17"])]
    state: RunStateName
