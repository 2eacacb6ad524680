"""Watches the outbox: how much waits, for how long; removes what is left of dead settlers."""

from gateway.core import metrics
from gateway.core.clock import Clock
from gateway.store.commands import StockCommands
from gateway.store.outbox import Outbox
from gateway.workers.loop import Loop

WATCH_S = 1.0
TIDY_S = 60.0

SILENCE_MS = 600_000
"""A settler reads every second; one not heard of for ten minutes is gone."""

TIDY_MAX = 100
"""Consumers, and notes, looked at in one call."""


class OutboxWatch:
    """One shard's outbox, looked at once a second."""

    def __init__(self, outbox: Outbox, commands: StockCommands, clock: Clock) -> None:
        self._outbox = outbox
        self._commands = commands
        self._clock = clock
        self._tidied_at = clock.monotonic()
        self._created = False
        shard = str(outbox.shard)
        self._length = metrics.OUTBOX_LENGTH.labels(shard)
        self._lag_s = metrics.SETTLE_LAG_SECONDS.labels(shard)
        self.loop = Loop("outbox", self.step, clock, on_failure=self._forget)

    def _forget(self) -> None:
        self._created = False  # the stream may be what was lost

    async def step(self) -> float:
        """Look once; the pause before the next look, s."""
        if not self._created:
            await self._outbox.create()
            self._created = True
        waiting = await self._outbox.waiting()
        self._length.set(waiting.length)
        self._lag_s.set(waiting.oldest_ms / 1000)
        if self._clock.monotonic() - self._tidied_at >= TIDY_S:
            self._tidied_at = self._clock.monotonic()
            await self._commands.tidy_outbox(SILENCE_MS, TIDY_MAX)
        return WATCH_S
