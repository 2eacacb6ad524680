"""Watches one shard's mark: a Redis that lost data is noticed at once, and one that was rebuilt."""

import logging
from collections.abc import Awaitable, Callable

from gateway.core import metrics
from gateway.core.clock import Clock
from gateway.core.events import Event, EventKind, Tell
from gateway.core.marks import fault_of
from gateway.ledger import Ledger
from gateway.store.marks import Guard
from gateway.workers.loop import PROMPT_S, Loop

_log = logging.getLogger(__name__)

LOOK_S = 0.25
BEAT_S = 1.0


class MarkWatch:
    """Looks often, and asks Redis alone. Tells once when the shard is lost."""

    def __init__(self, guard: Guard, clock: Clock, tell: Tell) -> None:
        self._guard = guard
        self._tell = tell
        self._told = ""
        self.loop = Loop("mark-watch", self.step, clock, backoff_max_s=PROMPT_S)

    async def step(self) -> float:
        """One look; the pause before the next, s."""
        guard = self._guard
        if not guard.fault:
            await guard.look()
        if guard.fault and guard.fault != self._told:
            metrics.STORES_LOST.inc()
            _log.critical("%s; nothing is sold. Run: %s", guard.fault, guard.remedy)
            detail = f"{guard.fault}; run: {guard.remedy}"
            self._tell(Event(EventKind.STORE_LOST, detail=detail))
        elif self._told and not guard.fault:
            _log.warning("Redis is what the ledger says again; selling goes on")
            self._tell(Event(EventKind.STORE_REBUILT))
        self._told = guard.fault
        return LOOK_S


class MarkKeeper:
    """Raises the count in Redis, then in the ledger; reopens a shard on which the two agree.

    What this process has seen is told to the ledger even when Redis has lost it, so that gateways
    which start later notice too.
    is_rebuilding: whether anybody holds the lease of a rebuild.
    """

    def __init__(
        self,
        shard: int,
        guard: Guard,
        ledger: Ledger,
        clock: Clock,
        is_rebuilding: Callable[[], Awaitable[bool]],
    ) -> None:
        self._shard = shard
        self._guard = guard
        self._ledger = ledger
        self._is_rebuilding = is_rebuilding
        self.interrupted = ""
        self.loop = Loop("mark-keeper", self.step, clock, backoff_max_s=BEAT_S)

    async def step(self) -> float:
        """One beat; the pause before the next, s."""
        guard = self._guard
        if not guard.fault:
            await guard.beat()
        recorded = await self._ledger.raise_mark(self._shard, guard.known)
        if guard.fault:
            found = await guard.marks.read()
            if recorded.generation and not fault_of(found, recorded):
                guard.reopen(found)
        else:
            guard.learn(recorded)
        await self._look_for_the_interrupted()
        return BEAT_S

    async def _look_for_the_interrupted(self) -> None:
        begun = (await self._guard.marks.read()).rebuild
        left = begun and not await self._is_rebuilding()
        told = f"a rebuild was interrupted and left SKUs closed; run: {self._guard.remedy}"
        if left and not self.interrupted:
            _log.error("%s", told)
        self.interrupted = told if left else ""
