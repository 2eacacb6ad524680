"""The one place that reads clocks and sleeps, so that time can be replaced."""

import asyncio
import random
import time
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol


class Clock(Protocol):
    """What the rest of the gateway may know about time and chance."""

    def now_ms(self) -> int:
        """Wall time, milliseconds since the epoch. For people; stock uses Redis's own clock."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never steps back. For deadlines and durations."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Suspend for `seconds`."""
        ...

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[Any]:
        """A block that raises TimeoutError after `seconds`."""
        ...

    def jitter(self) -> float:
        """A uniform number in [0, 1), to spread retries."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[Any]:
        return asyncio.timeout(seconds)

    def jitter(self) -> float:
        return random.random()
