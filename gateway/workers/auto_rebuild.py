"""Rebuilds a lost store without being asked, a bounded number of times."""

import logging
from collections.abc import Awaitable, Callable

from gateway.core.clock import Clock
from gateway.core.errors import LeaseBusy
from gateway.workers.loop import Loop

_log = logging.getLogger(__name__)

LOOK_S = 0.5
PAUSES_S = (0.0, 1.0, 5.0, 15.0, 60.0, 300.0)
"""Before each attempt; after the last one a person is needed."""


class AutoRebuild:
    """needed: why a rebuild is needed, or ''. rebuild: one attempt; True: nothing is left to do."""

    def __init__(
        self, needed: Callable[[], str], rebuild: Callable[[], Awaitable[bool]], clock: Clock
    ) -> None:
        self._needed = needed
        self._rebuild = rebuild
        self._clock = clock
        self._attempts = 0
        self._again = False
        self._next_at = clock.monotonic()
        self.loop = Loop("auto-rebuild", self.step, clock)

    async def step(self) -> float:
        """One look, or one attempt; the pause before the next, s."""
        why = self._needed() or ("SKUs stayed closed" if self._again else "")
        if not why:
            self._attempts = 0
        elif self._clock.monotonic() >= self._next_at and self._attempts < len(PAUSES_S):
            await self._attempt(why)
        return LOOK_S

    async def _attempt(self, why: str) -> None:
        self._attempts += 1
        pause_s = PAUSES_S[min(self._attempts, len(PAUSES_S) - 1)]
        self._next_at = self._clock.monotonic() + pause_s
        _log.warning("%s: rebuilding, attempt %d of %d", why, self._attempts, len(PAUSES_S))
        try:
            self._again = not await self._rebuild()
        except LeaseBusy:
            self._attempts -= 1  # another gateway does it
        if self._attempts == len(PAUSES_S):
            _log.error(
                "rebuilding is given up after %d attempts: a person is needed", len(PAUSES_S)
            )
