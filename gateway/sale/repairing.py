"""Puts a SKU right, under a lease, with what was before and after on record.

Ledger: the finding, with before and after, `repairing` -> Redis: the terms, only if they are still
as found -> ledger: `repaired`. Each step checks the lease's token in its own transaction. Killed
after the first, nothing happened; after the second, the drift is gone, and is not found again. The
record then stays `repairing`, until the next repair of the SKU marks it `interrupted`.
"""

from collections.abc import Sequence

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
from gateway.sale.sightings import Mark, Sightings
from gateway.store.audit_commands import Repair

TRIES_MAX = 25
"""Attempts to write between two changes of a SKU that is being sold."""

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

    async def repair(self, corner: Corner, lease: Lease, sku: str, run_id: int) -> list[Drift]:
        """Put the SKU right; what was repaired, nothing when that was not possible now.

        Raises LeaseLost: somebody else has taken over; what was begun is refused from then on.
        """
        plan, drifts = await self._plan(corner, sku)
        if plan is None:
            return []
        before, after = words(plan.found), words(plan.right)
        findings = [finding_of(drift, before, after, "repairing") for drift in drifts]
        ids = await self._book.find(run_id, findings, lease.fence)
        done = await self._write(corner, lease, sku, marks(drifts))
        state: FindingState = "repaired" if done else "refused"
        metrics.AUDIT_REPAIRS.labels(state).inc()
        await self._book.finish(ids, state, lease.fence, after=words(done.right) if done else "")
        return drifts if done else []

    async def _plan(self, corner: Corner, sku: str) -> tuple[Repair | None, list[Drift]]:
        """None: something is not known, was seen only once, or cannot be put right."""
        evidence = await self._comparer.examine(corner, sku)
        if evidence is None or evidence.book is None:
            return None, []
        drifts, now_s = judge(evidence), self._clock.monotonic()
        old = all(self._sightings.is_old(drift, now_s) for drift in drifts)
        if not drifts or not old or drifts[0].term == "short":
            return None, []
        return plan_of(evidence, right_terms(evidence), drifts), drifts

    async def _write(
        self, corner: Corner, lease: Lease, sku: str, wanted: set[Mark]
    ) -> Repair | None:
        """Catch the SKU between two changes, with nothing else wrong than what is on record."""
        for _ in range(TRIES_MAX):
            plan, drifts = await self._plan(corner, sku)
            if marks(drifts) != wanted and plan is not None:
                return None
            lease.check()
            if plan is None:
                continue
            code = await corner.audit.repair(lease.fence, plan)
            if code is Reply.STALE_FENCE:
                raise LeaseLost(f"lease {lease.name} is lost: the shard has seen a later token")
            if code is Reply.DONE:
                return plan
        return None


def marks(drifts: Sequence[Drift]) -> set[Mark]:
    """What makes drifts the same ones, whatever the counters are meanwhile."""
    return {drift.difference for drift in drifts}


def plan_of(evidence: Evidence, right: dict[str, int], drifts: list[Drift]) -> Repair:
    """The SKU as it has to be. A remainder below zero closes it: it sells nothing."""
    found, book = evidence.terms, evidence.book
    settings = None
    if book is not None and book.row.settings != found.settings:
        settings = book.row.settings
    buyers = [(d.subject, d.found, d.expected) for d in drifts if d.term == "buyer"]
    return Repair(found, msgspec.structs.replace(found, **right), settings, buyers[:BUYERS_MAX])


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
