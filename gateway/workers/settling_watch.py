"""Notices that a settler has been failing for too long, and that it works again."""

from collections.abc import Callable

from gateway.core.clock import Clock
from gateway.core.config import NotifyConfig
from gateway.core.events import Event, EventKind, Tell
from gateway.workers.loop import Loop

LOOK_S = 1.0


class SettlingWatch:
    """Tells once when settling is stuck, again every `fold_s` while it is, and when it goes on.

    healthy: whether the settler's latest step succeeded.
    """

    def __init__(
        self, healthy: Callable[[], bool], config: NotifyConfig, clock: Clock, tell: Tell
    ) -> None:
        self._healthy = healthy
        self._config = config
        self._clock = clock
        self._tell = tell
        self._failing_since: float | None = None
        self._told_at: float | None = None
        self.loop = Loop("settling-watch", self.step, clock)

    async def step(self) -> float:
        """One look; the pause before the next, s."""
        now_s = self._clock.monotonic()
        if self._healthy():
            if self._told_at is not None:
                self._tell(Event(EventKind.SETTLING_RESUMED))
            self._failing_since = self._told_at = None
        elif self._failing_since is None:
            self._failing_since = now_s
        elif self._is_due(now_s - self._failing_since, now_s):
            self._told_at = now_s
            detail = f"failing for {now_s - self._failing_since:.0f} s"
            self._tell(Event(EventKind.SETTLING_STUCK, detail=detail))
        return LOOK_S

    def _is_due(self, failing_s: float, now_s: float) -> bool:
        if self._told_at is None:
            return failing_s >= self._config.settling_stuck_s
        return now_s - self._told_at >= self._config.fold_s
