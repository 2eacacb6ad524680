"""The reaper: due holds are back on sale within a second; what ended long ago is forgotten."""

import logging

from gateway.core import metrics
from gateway.core.clock import Clock
from gateway.core.config import ReaperConfig, RetentionConfig
from gateway.core.events import Event, EventKind, Tell, tell_nobody
from gateway.store.commands import StockCommands
from gateway.workers.loop import PROMPT_S, Loop

_log = logging.getLogger(__name__)

FORGET_PAUSE_S = 30.0
"""Between looks for reservations that ended long ago, once there are none."""

FORGET_CALLS_MAX = 10
"""Calls a step may make to forget; expiring comes first."""


class Reaper:
    """Sweeps one shard, a bounded number of reservations a call."""

    def __init__(
        self,
        commands: StockCommands,
        config: ReaperConfig,
        retention: RetentionConfig,
        clock: Clock,
        *,
        tell: Tell = tell_nobody,
    ) -> None:
        self._commands = commands
        self._config = config
        self._retention_ms = retention.ended_s * 1000
        self._clock = clock
        self._tell = tell
        self._forget_at = clock.monotonic()
        self.loop = Loop(
            "reaper",
            self.step,
            clock,
            on_failure=metrics.REAPER_FAILURES.inc,
            backoff_max_s=PROMPT_S,
        )

    async def step(self) -> float:
        """One sweep; the pause before the next, s."""
        sweep = await self._commands.expire_due(self._config.batch_max)
        metrics.REAPED.inc(sweep.expired)
        if sweep.expired:
            self._tell(Event(EventKind.HOLDS_EXPIRED, count=sweep.expired))
        if sweep.stuck:
            self._tell(Event(EventKind.HOLDS_STUCK, count=sweep.stuck))
            metrics.INVARIANT_BREACHES.inc(sweep.stuck)
            _log.error("%d due holds wait: a SKU of theirs does not add up", sweep.stuck)
        if sweep.looked_at >= self._config.batch_max:
            return 0.0
        if self._clock.monotonic() >= self._forget_at:
            await self._forget()
        return self._config.interval_ms / 1000

    async def _forget(self) -> None:
        limit = self._config.batch_max
        for _ in range(FORGET_CALLS_MAX):
            looked_at, _ = await self._commands.forget_ended(self._retention_ms, limit)
            if looked_at == 0:
                self._forget_at = self._clock.monotonic() + FORGET_PAUSE_S
                return
