"""The audit: compares, remembers what was seen, records it, repairs it, and tells operations."""

from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from gateway.core import metrics
from gateway.core.clock import Clock
from gateway.core.codes import Reply
from gateway.core.config import AuditConfig
from gateway.core.errors import InvariantBreach, LeaseBusy, LeaseLost, LeaseUnavailable
from gateway.core.events import Event, EventKind, Tell, tell_nobody
from gateway.core.leases import LeaseKind, lease_name
from gateway.lease import Lease, Leases
from gateway.ledger import AuditRun, FindingState, Ledger, RunCounts, Trigger
from gateway.sale.comparing import METHOD, Comparer, Comparison, Corner
from gateway.sale.evidence import Drift
from gateway.sale.repairing import Repairer, finding_of
from gateway.sale.sightings import APART_S, Sightings
from gateway.sale.unsettled import Unsettled, send_on, stuck_holds

EXPECTED_S = 2.0
ACTOR = "auditor"
LOOKS_MAX = 3
"""Looks of one audit at a shard where something is wrong."""

AT_ONCE_MAX = 200
"""SKUs, or reservations, that one turn of repairs takes on."""

RETRY_FIRST_S = 2.0
RETRY_MAX_S = 60.0
"""Pauses before a repair that did not succeed is tried again; each attempt is on record."""

ALARM_ONLY = ("missing", "unknown-to-ledger", "orphans", "unreadable", "short", "ledger")
"""What nobody can repair without guessing."""

RESERVATION_TERMS = ("stuck-hold", "unsettled-reservation")


class Auditor:
    """Audits all shards. Used by one task at a time. Raises as the store and the ledger do."""

    def __init__(
        self,
        corners: Sequence[Corner],
        ledger: Ledger,
        leases: Leases,
        config: AuditConfig,
        clock: Clock,
        *,
        tell: Tell = tell_nobody,
    ) -> None:
        self._corners = corners
        self._ledger = ledger
        self._leases = leases
        self._config = config
        self._clock = clock
        self._tell = tell
        self._comparer = Comparer(ledger, config, clock)
        self._sightings = [Sightings() for _ in corners]
        self._pause_s = [RETRY_FIRST_S for _ in corners]
        self._next_try_s = [0.0 for _ in corners]
        self._unsettled = [Unsettled(ledger, config.unsettled_limit_s, clock) for _ in corners]

    async def begin(self, trigger: Trigger, actor: str) -> int:
        """Record that an audit is to be made; its number."""
        return await self._ledger.audits.begin(trigger, actor, METHOD)

    async def watch(self) -> list[Drift]:
        """One light comparison of every shard; what was seen twice is put right.

        An audit is recorded when something is seen twice that was not yet.
        """
        began_s, uncompared, all_old = self._clock.monotonic(), 0, []
        for shard, corner in enumerate(self._corners):
            seen, old = await self._look(shard, corner)
            uncompared += seen.counts.uncompared
            all_old += old
            fresh = self._sightings[shard].new(old)
            if fresh or self._may_try_again(shard, old):
                await self._act(corner, shard, seen, fresh, old)
        metrics.COMPARATOR_LAG_SECONDS.set(self._clock.monotonic() - began_s)
        metrics.AUDIT_UNCOMPARED.set(uncompared)
        return all_old

    async def audit(self, run_id: int) -> AuditRun | None:
        """A full audit, recorded under its number: also every row of the ledger."""
        counts = RunCounts()
        try:
            for shard, corner in enumerate(self._corners):
                counts = added(counts, await self._audit_shard(run_id, shard, corner))
            counts = added(counts, await self._audit_ledger(run_id))
        except BaseException as error:
            with suppress(Exception):
                await self._ledger.audits.end(run_id, "failed", counts, repr(error))
            raise
        await self._ledger.audits.end(run_id, "done", counts)
        metrics.AUDITED_AT.set(self._clock.now_ms() / 1000)
        return await self._ledger.audits.get(run_id)

    async def _audit_shard(self, run_id: int, shard: int, corner: Corner) -> RunCounts:
        """Look until nothing is wrong, or what is was seen twice."""
        for _ in range(LOOKS_MAX):
            seen, old = await self._look(shard, corner)
            if len(old) == len(seen.drifts):
                break
            await self._clock.sleep(APART_S)
        self._announce(self._sightings[shard].new(old))
        repaired = await self._repair(corner, shard, run_id, seen, old)
        await self._ledger.audits.find(run_id, [finding_of(d) for d in old if d not in repaired])
        return added(seen.counts, RunCounts(findings=len(old), repaired=len(repaired)))

    async def _audit_ledger(self, run_id: int) -> RunCounts:
        """The ledger against its own journal. Nobody repairs the truth: this only alarms."""
        checks = await self._ledger.audit()
        drifts = [
            Drift(c.sku, "ledger", 1, 0, detail="; ".join(c.faults)) for c in checks if c.faults
        ]
        self._announce(drifts)
        await self._ledger.audits.find(run_id, [finding_of(drift) for drift in drifts])
        return RunCounts(findings=len(drifts))

    async def _look(self, shard: int, corner: Corner) -> tuple[Comparison, list[Drift]]:
        """What is wrong, and which of it was seen before."""
        seen = await self._comparer.compare(corner)
        seen.drifts += await stuck_holds(corner, seen.stuck)
        seen.drifts += await self._unsettled[shard].forsaken(corner, seen.confirmed)
        now_s = self._clock.monotonic()
        return seen, self._sightings[shard].look(seen.drifts, now_s, seen.uncompared)

    async def _act(
        self,
        corner: Corner,
        shard: int,
        seen: Comparison,
        fresh: Sequence[Drift],
        old: Sequence[Drift],
    ) -> None:
        """Record what is new, and repair; what cannot be repaired is recorded once."""
        self._announce(fresh)
        run_id = await self.begin("comparator", ACTOR)
        repaired = await self._repair(corner, shard, run_id, seen, old)
        rest = [drift for drift in fresh if drift not in repaired]
        await self._ledger.audits.find(run_id, [finding_of(drift) for drift in rest])
        counts = added(seen.counts, RunCounts(findings=len(old), repaired=len(repaired)))
        await self._ledger.audits.end(run_id, "done", counts)
        pause_s = min(RETRY_MAX_S, 2 * self._pause_s[shard]) if not fresh else RETRY_FIRST_S
        self._pause_s[shard] = pause_s
        self._next_try_s[shard] = self._clock.monotonic() + pause_s

    def _may_try_again(self, shard: int, old: Sequence[Drift]) -> bool:
        """Whether a repair that did not succeed is due once more."""
        mendable = self._config.repair and any(d.term not in ALARM_ONLY for d in old)
        return mendable and self._clock.monotonic() >= self._next_try_s[shard]

    async def _repair(
        self,
        corner: Corner,
        shard: int,
        run_id: int,
        seen: Comparison,
        drifts: Sequence[Drift],
    ) -> list[Drift]:
        """Put right what can be; what was. Nothing while another process repairs the shard."""
        mendable = [drift for drift in drifts if drift.term not in ALARM_ONLY]
        if not mendable or not self._config.repair:
            return []
        repaired: list[Drift] = []
        with suppress(LeaseBusy, LeaseUnavailable, LeaseLost):
            async with self._held(corner) as lease:
                repairer = Repairer(
                    self._comparer, self._ledger, self._sightings[shard], self._clock
                )
                skus = sorted({d.sku for d in mendable if d.term not in RESERVATION_TERMS})
                for sku in skus[:AT_ONCE_MAX]:
                    lease.check()
                    with suppress(LookupError):
                        repaired += await repairer.repair(
                            corner, lease, sku, run_id, seen.evidence.get(sku)
                        )
                repaired += await self._look_after(corner, lease, run_id, mendable)
        self._announce_repairs(repaired)
        return repaired

    @asynccontextmanager
    async def _held(self, corner: Corner) -> AsyncIterator[Lease]:
        """The shard's lease, its fence known to the shard before anything is read under it."""
        name = lease_name(LeaseKind.AUDIT, corner.commands.shard)
        async with self._leases.hold(name, expected_s=EXPECTED_S) as lease:
            if await corner.audit.raise_fence(lease.fence) is Reply.STALE_FENCE:
                raise LeaseLost(f"lease {name} is lost: the shard has seen a later token")
            yield lease

    async def _look_after(
        self, corner: Corner, lease: Lease, run_id: int, drifts: Sequence[Drift]
    ) -> list[Drift]:
        """Reservations that nobody else takes further."""
        done = []
        stuck = [drift for drift in drifts if drift.term == "stuck-hold"][:AT_ONCE_MAX]
        if stuck:
            done += await self._on_record(run_id, lease, stuck, self._remind(corner, lease, stuck))
        for drift in [d for d in drifts if d.term == "unsettled-reservation"][:AT_ONCE_MAX]:
            work = self._send_on(corner, lease, drift)
            done += await self._on_record(run_id, lease, [drift], work)
        return done

    async def _on_record(
        self, run_id: int, lease: Lease, drifts: list[Drift], work: Coroutine[Any, Any, str]
    ) -> list[Drift]:
        """The drifts, if `work` on them, which says what it has done, did anything."""
        try:
            findings = [finding_of(drift, state="repairing") for drift in drifts]
            ids = await self._ledger.audits.find(run_id, findings, lease.fence)
            lease.check()
            said = await work
        finally:
            work.close()
        state: FindingState = "repaired" if said else "refused"
        await self._ledger.audits.finish(ids, state, lease.fence, after=said)
        metrics.AUDIT_REPAIRS.labels(state).inc()
        return drifts if said else []

    async def _remind(self, corner: Corner, lease: Lease, stuck: Sequence[Drift]) -> str:
        code = await corner.audit.remind(lease.fence, [drift.subject[12:] for drift in stuck])
        return "listed to be expired" if code is Reply.DONE else ""

    async def _send_on(self, corner: Corner, lease: Lease, drift: Drift) -> str:
        with suppress(InvariantBreach):
            return await send_on(corner, self._ledger, lease, drift.subject)
        return ""

    def _announce(self, drifts: Sequence[Drift]) -> None:
        for drift in drifts:
            metrics.AUDIT_FINDINGS.labels(drift.term).inc()
            on_reservation = drift.term in RESERVATION_TERMS
            kind = EventKind.HOLDS_STUCK if drift.term == "stuck-hold" else EventKind.DRIFT_FOUND
            event = Event(
                kind=kind,
                sku=drift.sku,
                reservation=drift.subject if on_reservation else "",
                cause=drift.term,
                detail=_sentence(drift),
            )
            self._tell(event)

    def _announce_repairs(self, drifts: Sequence[Drift]) -> None:
        for drift in drifts:
            released = drift.term in RESERVATION_TERMS
            kind = (
                EventKind.HOLDS_RELEASED if drift.term == "stuck-hold" else EventKind.DRIFT_REPAIRED
            )
            reservation = drift.subject if released else ""
            event = Event(kind, drift.sku, reservation, drift.term, _sentence(drift))
            self._tell(event)


def added(one: RunCounts, other: RunCounts) -> RunCounts:
    """Both together."""
    fields = RunCounts.__struct_fields__
    return RunCounts(*(getattr(one, name) + getattr(other, name) for name in fields))


def _sentence(drift: Drift) -> str:
    if drift.detail:
        return drift.detail
    whose = f" of {drift.subject}" if drift.subject else ""
    return f"{drift.term}{whose} is {drift.found}, has to be {drift.expected}"
