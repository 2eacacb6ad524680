"""Puts a SKU right, under a lease, with what was before and after on record.

Ledger: the finding, with before and after, `repairing` -> Redis: the terms, unless they were
repaired meanwhile -> ledger: `repaired`. Each step checks the lease's token in its own transaction.
While the SKU is being sold its counters go on: before and after tell how they stood when it was
recounted, and the difference is what is applied.
Killed after the first step, nothing happened; after the second, the drift is gone, and is not found
again. The record then stays `repairing`, until the next repair of the SKU marks it `interrupted`.
"""

import msgspec

from gateway.core import metrics
from gateway.core.clock import Clock
from gateway.core.codes import Reply
from gateway.core.errors import LeaseLost
from gateway.core.model import SkuTerms
from gateway.lease import Lease
from gateway.ledger import FindingState, Ledger, NewFinding
from gateway.sale.comparing import Comparer, Corner
from gateway.sale.evidence import TERMS, Drift, Evidence, judge, right_terms
from gateway.sale.sightings import Sightings
from gateway.store.audit_commands import Repair

BUYERS_MAX = 1_000
"""Buyers' counts repaired at once; the others with the next repair."""


class Repairer:
    """Repairs SKUs of a shard whose drifts were seen twice. Raises as store and ledger do."""

    def __init__(
        self, comparer: Comparer, ledger: Ledger, sightings: Sightings, clock: Clock
    ) -> None:
        self._comparer = comparer
        self._book = ledger.audits
        self._sightings = sightings
        self._clock = clock

    async def repair(
        self, corner: Corner, lease: Lease, sku: str, run_id: int, seen: Evidence | None
    ) -> list[Drift]:
        """Put the SKU right; what was repaired, nothing when that was not possible now.

        seen: what the last comparison knows of it, where it cannot be recounted at one instant.

        Raises LeaseLost: somebody else has taken over; what was begun is refused from then on.
        """
        plan, drifts = await self._plan(corner, sku, seen)
        if plan is None:
            return []
        before, after = words(plan.found), words(plan.right)
        findings = [finding_of(drift, before, after, "repairing") for drift in drifts]
        ids = await self._book.find(run_id, findings, lease.fence)
        lease.check()
        code = await corner.audit.repair(lease.fence, plan)
        if code is Reply.STALE_FENCE:
            raise LeaseLost(f"lease {lease.name} is lost: the shard has seen a later token")
        state: FindingState = "repaired" if code is Reply.DONE else "refused"
        metrics.AUDIT_REPAIRS.labels(state).inc()
        await self._book.finish(ids, state, lease.fence)
        return drifts if code is Reply.DONE else []

    async def _plan(
        self, corner: Corner, sku: str, seen: Evidence | None
    ) -> tuple[Repair | None, list[Drift]]:
        """None: something is not known, was seen only once, or cannot be put right."""
        evidence = await self._comparer.examine(corner, sku) or seen
        if evidence is None or evidence.book is None or evidence.sums is None:
            return None, []
        drifts, now_s = judge(evidence), self._clock.monotonic()
        old = all(self._sightings.is_old(drift, now_s) for drift in drifts)
        if not drifts or not old or drifts[0].term == "short":
            return None, []
        return plan_of(evidence, right_terms(evidence), drifts), drifts


def plan_of(evidence: Evidence, right: dict[str, int], drifts: list[Drift]) -> Repair:
    """The SKU as it has to be. A remainder below zero closes it: it sells nothing."""
    found, book = evidence.terms, evidence.book
    settings = None
    if book is not None and book.row.settings != found.settings:
        settings = book.row.settings
    buyers = [(d.subject, d.found, d.expected) for d in drifts if d.term == "buyer"]
    after = msgspec.structs.replace(found, **right)
    return Repair(found, after, settings, buyers[:BUYERS_MAX], evidence.repairs)


def finding_of(
    drift: Drift, before: str = "", after: str = "", state: FindingState = "found"
) -> NewFinding:
    """A drift as it is kept on record."""
    return NewFinding(
        sku=drift.sku,
        term=drift.term,
        found=drift.found,
        expected=drift.expected,
        subject=drift.subject,
        detail=drift.detail,
        before=before,
        after=after,
        state=state,
    )


def words(terms: SkuTerms) -> str:
    """The terms in one line, for people."""
    return " ".join(f"{term}={getattr(terms, term)}" for term in TERMS)
