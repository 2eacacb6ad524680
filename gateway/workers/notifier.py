"""The notifier: what operations must hear goes to the log, and to every target that wants it.

tell ─► fold (one message a minute a cause) ─► log
                                           └─► outlet of each target ─► its HTTP endpoint
                                                                    └─► dead letter
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol
from uuid import uuid4

from gateway.core import metrics
from gateway.core.clock import Clock
from gateway.core.config import NotifyConfig, TargetConfig
from gateway.core.errors import StockgateError
from gateway.core.events import Event, EventKind, Notice, Severity, one_line
from gateway.workers.loop import Loop
from gateway.workers.notify_fold import Folds
from gateway.workers.notify_formats import log_line
from gateway.workers.notify_outlet import Letter, Outlet, Post

_log = logging.getLogger(__name__)

TICK_S = 1.0
"""Between looks for folded messages that have become due."""

LETTERS_MAX = 1_000
"""Dead letters that wait to be kept, or are kept in memory; the oldest go first."""

KEEP_S = 5.0
"""Longest time to keep one dead letter."""

_LEVELS = {
    Severity.INFO: logging.INFO,
    Severity.WARNING: logging.WARNING,
    Severity.CRITICAL: logging.ERROR,
}


class Shelf(Protocol):
    """Where dead letters are kept."""

    async def keep(self, letter: Letter) -> None:
        """Keep it. Raises a StockgateError when that must be tried again later."""
        ...


class MemoryShelf:
    """Keeps the latest dead letters for as long as the process lives; the log has them all."""

    def __init__(self) -> None:
        self.letters: deque[Letter] = deque(maxlen=LETTERS_MAX)

    async def keep(self, letter: Letter) -> None:
        self.letters.append(letter)


class Notifier:
    """Takes events from everywhere in the process. All calls from the event loop's own thread.

    post: sends one request, raising NotSent; new_id: an id no other message ever has.
    """

    def __init__(
        self,
        targets: Sequence[TargetConfig],
        config: NotifyConfig,
        post: Post,
        clock: Clock,
        *,
        shelf: Shelf | None = None,
        new_id: Callable[[], str] = lambda: f"msg_{uuid4().hex}",
    ) -> None:
        self._config = config
        self._clock = clock
        self._shelf = shelf or MemoryShelf()
        self._told = {kind: metrics.NOTIFY_TOLD.labels(kind.value) for kind in EventKind}
        self._folds = Folds(config.fold_s, new_id)
        self._letters: deque[Letter] = deque(maxlen=LETTERS_MAX)
        self._outlets = [Outlet(t, config, post, self._give_up, clock) for t in targets]
        self._stopped = False
        self._ticker = Loop("notifier", self._tick, clock)
        self._keeper = Loop("notifier-letters", self._keep_letters, clock)

    def tell(self, event: Event) -> None:
        """Pass an event on. Never blocks, never raises."""
        try:
            self._tell(event)
        except Exception:
            _log.exception("could not be told: %s", one_line(repr(event)))

    def start(self) -> None:
        """Begin to deliver. Needs a running event loop."""
        for outlet in self._outlets:
            outlet.start()
        self._ticker.start()
        self._keeper.start()

    async def stop(self) -> None:
        """Tell what was only counted, deliver for a bounded time, keep the rest as dead letters."""
        if self._stopped:
            return
        await self._ticker.stop()
        self._stopped = True
        for notice in self._folds.flush():
            self._publish(notice)
        await asyncio.gather(*[outlet.stop(self._config.drain_s) for outlet in self._outlets])
        await self._keeper.stop(KEEP_S)
        await self._keep_the_last()

    def _tell(self, event: Event) -> None:
        self._told[event.kind].inc()
        for notice in self._folds.add(event, self._clock.monotonic(), self._clock.now_ms()):
            self._publish(notice)
        if self._stopped:  # nobody would come for what is folded now
            for notice in self._folds.flush():
                self._publish(notice)

    def _publish(self, notice: Notice) -> None:
        metrics.NOTIFY_FOLDED.labels(notice.kind.value).inc(notice.times - 1)
        _log.log(_LEVELS[notice.severity], "%s", log_line(notice))
        for outlet in self._outlets:
            outlet.offer(notice)

    async def _tick(self) -> float:
        for notice in self._folds.due(self._clock.monotonic()):
            self._publish(notice)
        return TICK_S

    def _give_up(self, letter: Letter) -> None:
        _log.error(
            "undeliverable to target %s after %d attempts: %s: %s",
            letter.target,
            letter.attempts,
            letter.reason,
            log_line(letter.notice),
        )
        self._letters.append(letter)

    async def _keep_letters(self) -> float:
        while self._letters:
            letter = self._letters[0]
            try:
                async with self._clock.timeout(KEEP_S):
                    await self._shelf.keep(letter)
            except TimeoutError:
                raise StockgateError("dead letters cannot be kept in time") from None
            if self._letters and self._letters[0] is letter:  # else it was pushed out meanwhile
                self._letters.popleft()
        return TICK_S

    async def _keep_the_last(self) -> None:
        try:
            async with self._clock.timeout(KEEP_S):
                await self._keep_letters()
        except Exception as error:
            left = len(self._letters)
            _log.error("%d dead letters are in this log only: %s", left, type(error).__name__)
