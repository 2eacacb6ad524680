"""Puts a SKU right, under a lease, with what was before and after on record.

Ledger: the finding, with before and after, `repairing` -> Redis: the terms, only if they are still
as found -> ledger: `repaired`. Each step checks the lease's token in its own transaction. Killed
after the first, nothing happened; after the second, the drift is gone, and is not found again. The
record then stays `repairing`, until the next repair of the SKU marks it `interrupted`.
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

TRIES_MAX = 5
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
        for _ in range(TRIES_MAX):
            evidence = await self._comparer.examine(corner, sku)
            plan = None if evidence is None else self._plan(evidence)
            if evidence is None or plan is None:
                return []
            drifts = judge(evidence)
            if await self._carry_out(corner, lease, plan, drifts, run_id):
                return drifts
        return []

    def _plan(self, evidence: Evidence) -> Repair | None:
        """None: something is not known, was seen only once, or cannot be put right."""
        drifts, now_s = judge(evidence), self._clock.monotonic()
        right = right_terms(evidence)
        known = evidence.book is not None and len(right) == len(TERMS)
        old = all(self._sightings.is_old(drift, now_s) for drift in drifts)
        if not drifts or not known or not old or drifts[0].term == "short":
            return None
        return plan_of(evidence, right, drifts)

    async def _carry_out(
        self, corner: Corner, lease: Lease, plan: Repair, drifts: list[Drift], run_id: int
    ) -> bool:
        before, after = words(plan.found), words(plan.right)
        findings = [finding_of(drift, before, after, "repairing") for drift in drifts]
        ids = await self._book.find(run_id, findings, lease.fence)
        lease.check()
        code = await corner.audit.repair(lease.fence, plan)
        if code is Reply.STALE_FENCE:
            raise LeaseLost(f"lease {lease.name} is lost: the shard has seen a later token")
        done = code is Reply.DONE
        await self._book.finish(ids, "repaired" if done else "refused", lease.fence)
        metrics.AUDIT_REPAIRS.labels("repaired" if done else "refused").inc()
        return done


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
