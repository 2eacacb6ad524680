"""A clock that stands still until a test moves it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class _Timer:
    def __init__(self, at: float, block: asyncio.Timeout | None) -> None:
        self.at = at
        self.block = block
        self.rung = asyncio.Event()

    def ring(self) -> None:
        if self.block is None:
            self.rung.set()
        else:
            self.block.reschedule(0.0)


class StillClock:
    """Virtual time. `pauses` lists every sleep and timeout asked for, in seconds."""

    def __init__(self, *, jitter: float = 0.5) -> None:
        self.pauses: list[float] = []
        self._now = 1_000.0
        self._jitter = jitter
        self._timers: list[_Timer] = []
        self._asked = asyncio.Event()

    def now_ms(self) -> int:
        return 1_750_000_000_000 + int(self._now * 1000)

    def monotonic(self) -> float:
        return self._now

    def jitter(self) -> float:
        return self._jitter

    async def sleep(self, seconds: float) -> None:
        timer = self._add(seconds, None)
        try:
            await timer.rung.wait()
        finally:
            self._remove(timer)

    @asynccontextmanager
    async def timeout(self, seconds: float) -> AsyncIterator[None]:
        async with asyncio.timeout(None) as block:
            timer = self._add(seconds, block)
            try:
                yield
            finally:
                self._remove(timer)

    def advance(self, seconds: float) -> None:
        """Let time pass; those whose time has come wake up when the test next awaits."""
        self._now += seconds
        for timer in [t for t in self._timers if t.at <= self._now]:
            self._remove(timer)
            timer.ring()

    async def next_pause(self) -> float:
        """Wait until somebody waits for this clock, then let that much time pass."""
        while not self._timers:
            self._asked.clear()
            await self._asked.wait()
        timer = min(self._timers, key=lambda t: t.at)
        pause = timer.at - self._now
        self.advance(pause)
        return pause

    def _add(self, seconds: float, block: asyncio.Timeout | None) -> _Timer:
        timer = _Timer(self._now + seconds, block)
        self._timers.append(timer)
        self.pauses.append(seconds)
        self._asked.set()
        return timer

    def _remove(self, timer: _Timer) -> None:
        if timer in self._timers:
            self._timers.remove(timer)
