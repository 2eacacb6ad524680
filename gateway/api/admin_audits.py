"""The administrators' calls about audits: list, show, start one."""

from msgspec import UNSET

from gateway.api import decoders
from gateway.api.endpoint import Call, Reply, json_reply
from gateway.api.problems import BadRequest, FieldError
from gateway.api.query import decode_query, row_number
from gateway.api.schemas_audits import (
    AuditListOut,
    AuditListQuery,
    AuditOut,
    AuditStartedOut,
    CheckedOut,
    FindingOut,
)
from gateway.api.times import rfc3339
from gateway.ledger import AuditFinding, AuditRun, RunCounts

PATH = "/v1/admin/audits"


async def list_audits(call: Call) -> Reply:
    """GET /v1/admin/audits"""
    query = decode_query(call.query(), AuditListQuery)
    before = row_number(query.cursor) if query.cursor else 0
    if before is None:
        raise BadRequest("invalid-request", [FieldError("", "cursor", parameter="cursor")])
    found = await call.services.audits.page(before=before, limit=query.limit)
    out = AuditListOut([audit_out(run) for run in found])
    if len(found) == query.limit:
        out = AuditListOut(out.items, next=str(found[-1].id))
    return json_reply(200, out)


async def show(call: Call) -> Reply:
    """GET /v1/admin/audits/{id}"""
    number = row_number(call.parameter("id"))
    run = None if number is None else await call.services.audits.get(number)
    if run is None:
        return call.problem("unknown-audit")
    return json_reply(200, audit_out(run, whole=True))


async def start(call: Call) -> Reply:
    """POST /v1/admin/audits"""
    decoders.decode_empty(await call.body())
    number = await call.services.demand_audit(call.caller.name)
    location = (b"location", f"{PATH}/{number}".encode())
    return json_reply(202, AuditStartedOut(str(number), "running"), location)


def audit_out(run: AuditRun, *, whole: bool = False) -> AuditOut:
    """An audit as the API shows it; whole: with its findings."""
    over = run.finished_ms > 0
    return AuditOut(
        id=str(run.id),
        trigger=run.trigger,
        state=run.state,
        started_at=rfc3339(run.started_ms),
        checked=_checked(run.counts),
        findings_total=run.counts.findings,
        repaired_total=run.counts.repaired,
        method=run.method,
        started_by=run.actor,
        ended_at=rfc3339(run.finished_ms) if over else UNSET,
        took_s=max(0, run.finished_ms - run.started_ms) / 1000 if over else UNSET,
        error=run.error or UNSET,
        findings=[_finding(finding) for finding in run.findings] if whole else UNSET,
    )


def _checked(counts: RunCounts) -> CheckedOut:
    return CheckedOut(
        counts.skus, counts.reservations, counts.buyers, counts.ledger_rows, counts.uncompared
    )


def _finding(finding: AuditFinding) -> FindingOut:
    return FindingOut(
        term=finding.term,
        found=finding.found,
        expected=finding.expected,
        state=finding.state,
        at=rfc3339(finding.at_ms),
        sku=finding.sku or UNSET,
        subject=finding.subject or UNSET,
        detail=finding.detail or UNSET,
        before=finding.before or UNSET,
        after=finding.after or UNSET,
        fence=finding.fence or UNSET,
    )
