"""A way to Redis on which every call waits until a test lets it through, in virtual time."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from fakeredis import FakeRedis, FakeServer

from gateway.core.errors import OutcomeUnknown, StoreUnavailable
from gateway.lease import Leases, MemoryTokens, Pace
from gateway.store.leases import RedisLeases
from gateway.store.scripts import Script
from tests.sale.clocks import StillClock

EPOCH_MS = 1_750_000_000_000
PACE = Pace()


class Redis:
    """A Redis with a clock of its own, `rate` times as fast as true time."""

    def __init__(self, rate: float = 1.0) -> None:
        self.passed_s = 0.0
        self.rate = rate
        self.data = FakeRedis(server=FakeServer())

    def advance(self, seconds: float) -> None:
        self.passed_s += seconds * self.rate

    def run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        now_ms = EPOCH_MS + int(self.passed_s * 1000)
        return self.data.eval(script.text, len(keys), *keys, now_ms, *args[1:])


class Call:
    """One call on its way: asked, done by Redis, answered."""

    def __init__(self, redis: Redis, request: tuple[Script, Sequence[str], Sequence[Any]]) -> None:
        self.name = request[0].name
        self.done = False
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._redis = redis
        self._request = request
        self._reply: Any = None

    def deliver(self) -> None:
        """Redis does it."""
        self.done = True
        self._reply = self._redis.run(*self._request)

    def reply(self) -> None:
        """The asker hears of it."""
        if not self.answer.done():
            self.answer.set_result(self._reply)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)

    def lose(self) -> None:
        """No answer comes. What was not delivered may still be, later."""
        self.fail(OutcomeUnknown("no answer"))

    def refuse(self) -> None:
        self.done = True
        self.fail(StoreUnavailable("not reached"))


class Wire:
    """Stands in for a ScriptChannel.

    at_once: calls need no help; otherwise they wait in `calls`. fault: what becomes of each.
    """

    def __init__(self, redis: Redis, *, at_once: bool = True) -> None:
        self.calls: list[Call] = []
        self.at_once = at_once
        self.fault: Callable[[Call], None] | None = None
        self.closed = 0
        self._redis = redis

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        call = Call(self._redis, (script, keys, args))
        if self.fault is not None:
            self.fault(call)
        elif self.at_once:
            call.deliver()
            call.reply()
        else:
            self.calls.append(call)
        return await call.answer

    async def close(self) -> None:
        self.closed += 1


class Process:
    """One process with leases: its own clock, its own way to Redis."""

    def __init__(
        self,
        redis: Redis,
        tokens: Any = None,
        *,
        rate: float = 1.0,
        at_once: bool = True,
        name: str = "p",
        pace: Pace = PACE,
    ) -> None:
        self.clock = StillClock()
        self.rate = rate
        self.wire = Wire(redis, at_once=at_once)
        channel: Any = self.wire
        self.backend = RedisLeases(channel, self.clock, call_timeout_s=1.0)
        self.tokens = MemoryTokens() if tokens is None else tokens
        self.leases = Leases(self.backend, self.tokens, self.clock, process=name, pace=pace)

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds * self.rate)


async def spin(turns: int = 30) -> None:
    """Let every task go on as far as it can without time passing."""
    for _ in range(turns):
        await asyncio.sleep(0)
