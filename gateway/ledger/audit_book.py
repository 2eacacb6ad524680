"""Audits on record: what was looked at, what was wrong, and what was put right by whom."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, Select, insert, select, update

from gateway.core.clock import Clock
from gateway.core.leases import Fence
from gateway.ledger import reads
from gateway.ledger.audit_tables import audit_findings, audit_runs
from gateway.ledger.audit_types import (
    AuditFinding,
    AuditRun,
    FindingState,
    NewFinding,
    RunCounts,
    RunState,
    Trigger,
)
from gateway.ledger.dead_letters import dead_letters
from gateway.ledger.deduct import recorded_outcomes
from gateway.ledger.engine import Database
from gateway.ledger.fences import refuse_stale
from gateway.ledger.letter_types import OPEN_STATES
from gateway.ledger.moves import pending
from gateway.ledger.types import Outcome, StockRow

FINDINGS_MAX = 1000
"""Findings of one run that are shown; all are counted."""

TEXT_MAX = 500

_r, _f = audit_runs.c, audit_findings.c
_COUNTS = RunCounts.__struct_fields__


class AuditBook:
    """The ledger's record of audits. Every call is one transaction; raises as the Ledger's do."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def begin(self, trigger: Trigger, actor: str, method: str) -> int:
        """Record that an audit began; its number."""
        values = {
            "trigger": trigger,
            "actor": actor,
            "method": method[:TEXT_MAX],
            "state": "running",
            "started_at_ms": self._clock.now_ms(),
        }
        return await self._database.write(partial(_begin, values=values))

    async def end(self, run_id: int, state: RunState, counts: RunCounts, error: str = "") -> None:
        """Record what an audit looked at, and how it ended."""
        values = {name: getattr(counts, name) for name in _COUNTS}
        values |= {
            "state": state,
            "error": error[:TEXT_MAX],
            "finished_at_ms": self._clock.now_ms(),
        }
        change = update(audit_runs).where(_r.id == run_id).values(**values)
        await self._database.write(partial(_execute, change=change))

    async def fail_unfinished(self, started_before_ms: int) -> None:
        """Close audits of processes that are gone."""
        change = (
            update(audit_runs)
            .where(_r.state == "running", _r.started_at_ms < started_before_ms)
            .values(state="failed", error="it did not end", finished_at_ms=self._clock.now_ms())
        )
        await self._database.write(partial(_execute, change=change))

    async def find(
        self, run_id: int, findings: Sequence[NewFinding], fence: Fence | None = None
    ) -> list[int]:
        """Keep findings; their numbers. With a fence: of what is about to be repaired under it.

        Repairs that an earlier holder of the lease left unfinished are marked so.

        Raises:
            LeaseLost: a later holder of the lease is on record; nothing was written.
        """
        if not findings:
            return []
        work = partial(
            _find, run_id=run_id, findings=findings, fence=fence, now_ms=self._clock.now_ms()
        )
        return await self._database.write(work)

    async def finish(
        self, finding_ids: Sequence[int], state: FindingState, fence: Fence, after: str = ""
    ) -> None:
        """Record how a repair ended. Raises LeaseLost as `find`."""
        values: dict[str, Any] = {"state": state, "finished_at_ms": self._clock.now_ms()}
        if after:
            values["after"] = after[:TEXT_MAX]
        work = partial(_finish, finding_ids=list(finding_ids), values=values, fence=fence)
        await self._database.write(work)

    async def set_aside(self, reservation_ids: Sequence[str]) -> set[str]:
        """Those with a dead letter that is open, or whose decision is still being followed."""
        query = select(dead_letters.c.reservation_id).where(
            dead_letters.c.reservation_id.in_(list(reservation_ids)),
            dead_letters.c.state.in_(OPEN_STATES) | (dead_letters.c.unfinished == 1),
        )
        return await self._database.read(partial(_texts, query=query))

    async def page(self, *, before: int = 0, limit: int = 100) -> list[AuditRun]:
        """Up to `limit` runs, without their findings, the latest first; below number `before`."""
        return await self._database.read(partial(_page, before=before, limit=limit))

    async def get(self, run_id: int) -> AuditRun | None:
        """A run with its findings, the first FINDINGS_MAX of them."""
        return await self._database.read(partial(_get, run_id=run_id))

    async def standing(
        self, skus: Sequence[str], reservation_ids: Sequence[str] = ()
    ) -> tuple[dict[str, StockRow], dict[str, Outcome], frozenset[str]]:
        """On one snapshot: the SKUs' rows, what was decided about the reservations, and which of
        the SKUs have an unfinished move.
        """
        return await self._database.read(
            partial(_standing, skus=skus, reservation_ids=reservation_ids)
        )


def _texts(connection: Connection, query: Select[Any]) -> set[str]:
    return set(connection.execute(query).scalars())


def _begin(connection: Connection, values: dict[str, Any]) -> int:
    return _new_id(connection.execute(insert(audit_runs).values(**values)))


def _new_id(result: Any) -> int:
    return int(result.inserted_primary_key[0])


def _execute(connection: Connection, change: Any) -> None:
    connection.execute(change)


def _find(
    connection: Connection,
    run_id: int,
    findings: Sequence[NewFinding],
    fence: Fence | None,
    now_ms: int,
) -> list[int]:
    token = 0
    if fence is not None:
        refuse_stale(connection, *fence)
        token = fence.token
        _mark_interrupted(connection, token, {finding.sku for finding in findings}, now_ms)
    rows = [_values(finding, run_id, token, now_ms) for finding in findings]
    return [_new_id(connection.execute(insert(audit_findings).values(**row))) for row in rows]


def _mark_interrupted(connection: Connection, token: int, skus: set[str], now_ms: int) -> None:
    """A SKU's repairs are made one after another: what an older token began is over."""
    connection.execute(
        update(audit_findings)
        .where(_f.state == "repairing", _f.fence < token, _f.sku.in_(sorted(skus)))
        .values(state="interrupted", finished_at_ms=now_ms)
    )


def _values(finding: NewFinding, run_id: int, token: int, now_ms: int) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "at_ms": now_ms,
        "fence": token,
        "sku": finding.sku,
        "term": finding.term,
        "subject": finding.subject,
        "found": finding.found,
        "expected": finding.expected,
        "detail": finding.detail[:TEXT_MAX],
        "before": finding.before[:TEXT_MAX],
        "after": finding.after[:TEXT_MAX],
        "state": finding.state,
    }


def _finish(
    connection: Connection, finding_ids: list[int], values: dict[str, Any], fence: Fence
) -> None:
    refuse_stale(connection, *fence)
    connection.execute(
        update(audit_findings)
        .where(_f.id.in_(finding_ids), _f.state == "repairing")
        .values(**values)
    )


def _page(connection: Connection, before: int, limit: int) -> list[AuditRun]:
    query = select(audit_runs).order_by(_r.id.desc()).limit(limit)
    if before:
        query = query.where(_r.id < before)
    return [_run(row) for row in connection.execute(query)]


def _get(connection: Connection, run_id: int) -> AuditRun | None:
    row = connection.execute(select(audit_runs).where(_r.id == run_id)).one_or_none()
    if row is None:
        return None
    rows = connection.execute(
        select(audit_findings).where(_f.run_id == run_id).order_by(_f.id).limit(FINDINGS_MAX)
    )
    return _run(row, tuple(map(_finding, rows)))


def _standing(
    connection: Connection, skus: Sequence[str], reservation_ids: Sequence[str]
) -> tuple[dict[str, StockRow], dict[str, Outcome], frozenset[str]]:
    rows = {row.sku: row for row in reads.stock_of(connection, skus)}
    outcomes = recorded_outcomes(connection, set(reservation_ids)) if reservation_ids else {}
    wanted = set(skus)
    moving = frozenset(move.sku for move in pending(connection) if move.sku in wanted)
    return rows, outcomes, moving


def _run(row: Row[Any], findings: tuple[AuditFinding, ...] = ()) -> AuditRun:
    return AuditRun(
        id=row.id,
        trigger=row.trigger,
        actor=row.actor,
        state=row.state,
        started_ms=row.started_at_ms,
        finished_ms=row.finished_at_ms,
        counts=RunCounts(*(row._mapping[name] for name in _COUNTS)),
        method=row.method,
        error=row.error,
        findings=findings,
    )


def _finding(row: Row[Any]) -> AuditFinding:
    values = dict(row._mapping)
    values["finished_ms"] = values.pop("finished_at_ms")
    return AuditFinding(**values)
