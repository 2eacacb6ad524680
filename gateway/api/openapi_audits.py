"""The administrators' calls about audits."""

from typing import Any, Final

from gateway.api import schemas_audits as s
from gateway.api.openapi_operations import Answer, Operation

_LISTED: Final[dict[str, Any]] = {
    "id": "17",
    "trigger": "comparator",
    "state": "done",
    "started_at": "2026-11-11T10:00:00.250Z",
    "checked": {
        "skus": 12,
        "reservations": 48_210,
        "buyers": 3_100,
        "ledger_rows": 12,
        "uncompared": 0,
    },
    "findings_total": 1,
    "repaired_total": 1,
    "method": "version-bracketed walk over all reservations",
    "started_by": "auditor",
    "ended_at": "2026-11-11T10:00:01.500Z",
    "took_s": 1.25,
}
_FINDING: Final[dict[str, Any]] = {
    "term": "held",
    "found": 7,
    "expected": 5,
    "state": "repaired",
    "at": "2026-11-11T10:00:01.250Z",
    "sku": "phone-x-256",
    "before": "on_hand=90 available=80 held=7 unsettled=0 safety_stock=5 sold=10",
    "after": "on_hand=90 available=80 held=5 unsettled=0 safety_stock=5 sold=10",
    "fence": 42,
}

AUDITS: Final = (
    Operation(
        "get",
        "/v1/admin/audits",
        "listAudits",
        "Administration",
        "Audits",
        "Full audits, and comparisons that found something, the latest first, a page at a time; "
        "`next` is the following page's cursor. They say what was checked, too.",
        (Answer(200, "A page.", s.AuditListOut, example={"items": [_LISTED]}),),
        scope="admin",
        query=s.AuditListQuery,
        problems=("ledger-unavailable",),
    ),
    Operation(
        "get",
        "/v1/admin/audits/{id}",
        "getAudit",
        "Administration",
        "One audit",
        "With what it found, and what was before and after each repair.",
        (Answer(200, "The audit.", s.AuditOut, example=_LISTED | {"findings": [_FINDING]}),),
        scope="admin",
        parameters=("AuditId",),
        problems=("unknown-audit", "ledger-unavailable"),
    ),
    Operation(
        "post",
        "/v1/admin/audits",
        "startAudit",
        "Administration",
        "Audit now",
        "Begins a full audit beside the sale, which it does not stop. The Location tells how it "
        "goes. While eight wait already, the answer is the last of them.",
        (
            Answer(
                202,
                "It begins.",
                s.AuditStartedOut,
                ("Location",),
                example={"id": "18", "state": "running"},
            ),
        ),
        scope="admin",
        problems=("ledger-unavailable",),
    ),
)
