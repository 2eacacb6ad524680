"""What every worker's loop has in common: it never ends by an error, and backs off from one."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from gateway.core.clock import Clock
from gateway.core.errors import StockgateError

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 5.0
PROMPT_S = 0.5
"""The longest pause of loops that buyers wait for."""


class Loop:
    """Calls `step` again and again until stopped.

    step: one bounded piece of work; returns the seconds to pause before the next.
    on_failure: called after a step failed, before the pause.
    An infrastructure error is logged once a streak, any other with its traceback every time;
    the pause doubles from 0.1 s to `backoff_max_s`, jittered.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], Awaitable[float]],
        clock: Clock,
        *,
        on_failure: Callable[[], None] = lambda: None,
        backoff_max_s: float = BACKOFF_MAX_S,
    ) -> None:
        self._name = name
        self._step = step
        self._clock = clock
        self._on_failure = on_failure
        self._backoff_max_s = backoff_max_s
        self._log = logging.getLogger(f"gateway.workers.{name}")
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failures = 0

    @property
    def healthy(self) -> bool:
        """Whether the latest step succeeded."""
        return self._failures == 0

    def start(self) -> None:
        """Begin. Needs a running event loop."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=self._name)

    async def stop(self, patience_s: float = 10.0) -> None:
        """Let the running step end, for at most `patience_s`."""
        self._stop.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=patience_s)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        while not self._stop.is_set():
            await self._pause(await self._guarded_step())

    async def _guarded_step(self) -> float:
        try:
            pause_s: float = await self._step()
        except StockgateError as error:
            if self._failures == 0:
                self._log.warning("%s: %s; trying again until it works", self._name, error)
            return self._back_off()
        except Exception:
            self._log.exception("%s failed; trying again", self._name)
            return self._back_off()
        if self._failures:
            self._log.warning("%s works again after %d failures", self._name, self._failures)
            self._failures = 0
        return pause_s

    def _back_off(self) -> float:
        self._on_failure()
        self._failures += 1
        longest = min(self._backoff_max_s, BACKOFF_FIRST_S * 2.0 ** min(self._failures - 1, 10))
        return longest * (0.5 + self._clock.jitter() / 2)

    async def _pause(self, seconds: float) -> None:
        if seconds <= 0:
            return
        try:
            async with self._clock.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return
