"""A worker's loop never ends by an error; on a clock that stands still."""

import asyncio
import logging

import pytest

from gateway.core.errors import StoreUnavailable
from gateway.workers.loop import BACKOFF_FIRST_S, BACKOFF_MAX_S, Loop
from tests.sale.clocks import StillClock

LOG = "gateway.workers.tester"


class Script:
    """Steps that do one thing after the other: an exception is raised, a number is the pause."""

    def __init__(self, *results: float | Exception) -> None:
        self._results = list(results)
        self.steps = 0
        self.clock = StillClock(jitter=1.0)
        self.failures = 0
        self.loop = Loop("tester", self._step, self.clock, on_failure=self._fail)

    async def _step(self) -> float:
        self.steps += 1
        result = self._results.pop(0) if self._results else 9.0
        if isinstance(result, Exception):
            raise result
        return result

    def _fail(self) -> None:
        self.failures += 1

    async def pauses(self, number: int) -> list[float]:
        return [round(await self.clock.next_pause(), 6) for _ in range(number)]


async def test_each_step_says_how_long_to_pause() -> None:
    script = Script(0.5, 0.0, 0.0, 2.0)
    script.loop.start()
    assert await script.pauses(3) == [0.5, 2.0, 9.0]
    assert script.steps == 5
    await script.loop.stop()


async def test_failures_back_off_to_a_limit_and_a_success_starts_afresh() -> None:
    gone = [StoreUnavailable("gone")]
    script = Script(*gone * 8, 0.25, *gone)
    script.loop.start()
    doubling = [BACKOFF_FIRST_S * 2**n for n in range(6)]
    assert await script.pauses(8) == [*doubling, BACKOFF_MAX_S, BACKOFF_MAX_S]
    assert not script.loop.healthy
    assert await script.pauses(2) == [0.25, BACKOFF_FIRST_S]
    assert script.failures == 9
    await script.loop.stop()


async def test_retries_are_spread() -> None:
    script = Script(StoreUnavailable("gone"))
    script.clock = StillClock(jitter=0.0)
    script.loop = Loop("tester", script._step, script.clock)
    script.loop.start()
    assert await script.pauses(1) == [BACKOFF_FIRST_S / 2]
    await script.loop.stop()


async def test_healthy_says_whether_the_latest_step_succeeded() -> None:
    script = Script(StoreUnavailable("gone"), 1.0)
    assert script.loop.healthy
    script.loop.start()
    await script.pauses(1)
    assert not script.loop.healthy
    await script.pauses(1)
    assert script.loop.healthy
    await script.loop.stop()


async def test_an_outage_is_logged_once_and_its_end(caplog: pytest.LogCaptureFixture) -> None:
    script = Script(*[StoreUnavailable("gone")] * 3, 1.0)
    with caplog.at_level(logging.INFO, LOG):
        script.loop.start()
        await script.pauses(4)
    assert [r.getMessage() for r in caplog.records] == [
        "tester: gone; trying again until it works",
        "tester works again after 3 failures",
    ]
    assert not any(record.exc_info for record in caplog.records)
    await script.loop.stop()


async def test_a_bug_is_logged_each_time_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    script = Script(KeyError("a"), ZeroDivisionError(), 1.0)
    with caplog.at_level(logging.ERROR, LOG):
        script.loop.start()
        assert await script.pauses(3) == [BACKOFF_FIRST_S, 2 * BACKOFF_FIRST_S, 1.0]
    kinds = [record.exc_info[0] for record in caplog.records if record.exc_info]
    assert kinds == [KeyError, ZeroDivisionError]
    await script.loop.stop()


async def test_stop_cuts_a_pause_short() -> None:
    script = Script(1_000_000.0)
    script.loop.start()
    while not script.clock.pauses:
        await asyncio.sleep(0)
    await script.loop.stop()
    assert script.steps == 1


class Slow:
    """A step that goes on until it is let go."""

    def __init__(self) -> None:
        self.begun, self.let_go = asyncio.Event(), asyncio.Event()
        self.ended = ""

    async def step(self) -> float:
        self.begun.set()
        try:
            await self.let_go.wait()
            self.ended = "by itself"
        except asyncio.CancelledError:
            self.ended = "cancelled"
            raise
        return 0.0


async def test_stop_lets_the_running_step_end() -> None:
    slow = Slow()
    loop = Loop("tester", slow.step, StillClock())
    loop.start()
    await slow.begun.wait()
    stopping = asyncio.ensure_future(loop.stop())
    await asyncio.sleep(0)
    assert not stopping.done()
    slow.let_go.set()
    await stopping
    assert slow.ended == "by itself"


async def test_stop_loses_its_patience() -> None:
    slow = Slow()
    loop = Loop("tester", slow.step, StillClock())
    loop.start()
    await slow.begun.wait()
    await loop.stop(patience_s=0.0)
    assert slow.ended == "cancelled"


async def no_step() -> float:
    raise AssertionError("not started")


async def test_stop_without_start_and_twice() -> None:
    loop = Loop("tester", no_step, StillClock())
    await loop.stop()
    script = Script(1.0)
    script.loop.start()
    await asyncio.gather(script.loop.stop(), script.loop.stop())
    await script.loop.stop()


async def test_starting_twice_runs_one_loop() -> None:
    script = Script()
    script.loop.start()
    script.loop.start()
    await script.pauses(1)
    assert script.steps == 1
    await script.loop.stop()
