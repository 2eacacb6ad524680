"""The micro-batcher, with a scripted `send` and a clock that stands still: no store, no time."""

import asyncio
from collections.abc import Sequence

import pytest

from gateway.core import metrics
from gateway.core.errors import Overloaded
from gateway.sale.batcher import Batcher, Limits
from tests.sale.clocks import StillClock

ROOMY = Limits(size_max=1000, weight_max=1000, queue_max=1000, deadline_s=1.0)


class Line:
    """A `send` that a test holds up: every call waits in `calls` until it is answered."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self._answers: asyncio.Queue[asyncio.Future[Sequence[str]]] = asyncio.Queue()

    async def send(self, items: Sequence[str]) -> Sequence[str]:
        self.calls.append(list(items))
        answer: asyncio.Future[Sequence[str]] = asyncio.get_running_loop().create_future()
        self._answers.put_nowait(answer)
        return await answer

    async def answer(self, results: Sequence[str] | Exception | None = None) -> list[str]:
        """Answer the call in flight (each item with itself in capitals); what it had sent."""
        future = await self._answers.get()
        sent = self.calls[-1]
        if isinstance(results, Exception):
            future.set_exception(results)
        else:
            future.set_result([item.upper() for item in sent] if results is None else results)
        return sent


class Bench:
    def __init__(self, limits: Limits = ROOMY, command: str = "bench") -> None:
        self.clock = StillClock()
        self.line = Line()
        self.batcher: Batcher[str, str] = Batcher(command, self.line.send, limits, self.clock)
        self.batcher.start()

    def submit(self, items: str, weight: int = 1) -> list[asyncio.Future[str]]:
        return [self.batcher.submit(item, weight) for item in items]


async def settle_down() -> None:
    """Let every task run until it waits for something."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_single_request_is_sent_at_once_without_a_timer() -> None:
    bench = Bench()
    (future,) = bench.submit("a")
    assert await bench.line.answer() == ["a"]
    assert await future == "A"
    assert bench.clock.pauses == []
    await bench.batcher.stop()


async def test_while_one_call_is_in_flight_the_next_batch_gathers() -> None:
    bench = Bench()
    bench.submit("a")
    await settle_down()
    rest = bench.submit("bcde")
    await settle_down()
    assert bench.line.calls == [["a"]], "nothing is sent while a call is in flight"
    await bench.line.answer()
    assert await bench.line.answer() == ["b", "c", "d", "e"]
    assert await asyncio.gather(*rest) == ["B", "C", "D", "E"]
    assert len(bench.line.calls) == 2
    await bench.batcher.stop()


async def test_a_second_call_goes_ahead_once_enough_waits() -> None:
    bench = Bench(
        Limits(size_max=9, weight_max=9, queue_max=9, deadline_s=1, in_flight_max=2, ahead_min=3)
    )
    bench.submit("a")
    await settle_down()
    bench.submit("bc")
    await settle_down()
    assert bench.line.calls == [["a"]], "two are not worth a call of their own"
    bench.submit("d")
    await settle_down()
    assert bench.line.calls == [["a"], ["b", "c", "d"]]
    bench.submit("efgh")
    await settle_down()
    assert len(bench.line.calls) == 2, "never more than two at once"
    await bench.line.answer(["A"])
    await settle_down()
    assert bench.line.calls[2:] == [["e", "f", "g", "h"]]
    for results in (["B", "C", "D"], ["E", "F", "G", "H"]):
        await bench.line.answer(results)
    await bench.batcher.stop()


async def test_requests_made_together_go_together() -> None:
    bench = Bench()
    bench.submit("abc")
    assert await bench.line.answer() == ["a", "b", "c"]
    await bench.batcher.stop()


async def test_a_batch_is_no_larger_than_size_max_and_keeps_the_order() -> None:
    bench = Bench(Limits(size_max=3, weight_max=100, queue_max=100, deadline_s=1))
    futures = bench.submit("abcdefgh")
    sent = [await bench.line.answer() for _ in range(3)]
    assert sent == [["a", "b", "c"], ["d", "e", "f"], ["g", "h"]]
    assert await asyncio.gather(*futures) == list("ABCDEFGH")
    await bench.batcher.stop()


async def test_a_batch_is_no_heavier_than_weight_max() -> None:
    bench = Bench(Limits(size_max=100, weight_max=10, queue_max=100, deadline_s=1))
    bench.submit("ab", weight=4)
    bench.submit("c", weight=3)
    bench.submit("d", weight=7)
    assert await bench.line.answer() == ["a", "b"]
    assert await bench.line.answer() == ["c", "d"]
    await bench.batcher.stop()


async def test_a_single_overweight_request_goes_alone() -> None:
    bench = Bench(Limits(size_max=100, weight_max=10, queue_max=100, deadline_s=1))
    bench.submit("a")
    bench.submit("b", weight=50)
    bench.submit("c")
    assert [await bench.line.answer() for _ in range(3)] == [["a"], ["b"], ["c"]]
    await bench.batcher.stop()


async def test_a_full_queue_refuses_at_once() -> None:
    bench = Bench(Limits(size_max=1, weight_max=10, queue_max=2, deadline_s=1), command="full")
    shed = metrics.SHED.labels("full", "queue-full")
    before = shed._value.get()
    bench.submit("a")
    await settle_down()  # in flight, so no longer in the queue
    bench.submit("bc")
    with pytest.raises(Overloaded, match="full"):
        bench.batcher.submit("d")
    assert shed._value.get() == before + 1
    assert [await bench.line.answer() for _ in range(3)] == [["a"], ["b"], ["c"]]
    bench.submit("d")
    assert await bench.line.answer() == ["d"]
    await bench.batcher.stop()


async def test_a_request_that_waited_past_its_deadline_is_refused_unsent() -> None:
    bench = Bench(command="late")
    shed = metrics.SHED.labels("late", "deadline")
    before = shed._value.get()
    (first,) = bench.submit("a")
    await settle_down()
    (late,) = bench.submit("b")
    bench.clock.advance(0.6)
    (young,) = bench.submit("c")
    bench.clock.advance(0.6)
    await bench.line.answer()
    assert await bench.line.answer() == ["c"]
    assert await first == "A", "what was sent in time is answered however long it takes"
    with pytest.raises(Overloaded, match="nothing was sent"):
        await late
    assert await young == "C"
    assert shed._value.get() == before + 1
    await bench.batcher.stop()


async def test_a_request_exactly_at_its_deadline_is_still_sent() -> None:
    bench = Bench()
    bench.submit("a")
    await settle_down()
    bench.submit("b")
    bench.clock.advance(ROOMY.deadline_s)
    await bench.line.answer()
    assert await bench.line.answer() == ["b"]
    await bench.batcher.stop()


async def test_cancelling_before_it_is_sent_withdraws_a_request() -> None:
    bench = Bench()
    bench.submit("a")
    await settle_down()
    b, c, d = bench.submit("bcd")
    c.cancel()
    await bench.line.answer()
    assert await bench.line.answer() == ["b", "d"]
    assert (await b, await d) == ("B", "D")
    await bench.batcher.stop()


async def test_when_all_are_withdrawn_nothing_is_sent_and_the_next_goes_at_once() -> None:
    bench = Bench()
    bench.submit("a")
    await settle_down()
    for future in bench.submit("bcd"):
        future.cancel()
    await bench.line.answer()
    await settle_down()
    assert bench.line.calls == [["a"]]
    bench.submit("e")
    assert await bench.line.answer() == ["e"]
    await bench.batcher.stop()


async def test_a_caller_that_goes_away_in_flight_affects_nobody_else() -> None:
    bench = Bench()
    a, b, c = bench.submit("abc")
    await settle_down()
    b.cancel()
    await bench.line.answer()
    assert (await a, await c) == ("A", "C")
    assert b.cancelled()
    bench.submit("d")
    assert await bench.line.answer() == ["d"]
    await bench.batcher.stop()


async def test_an_exception_fails_that_batch_only() -> None:
    bench = Bench()
    a, b = bench.submit("ab")
    await settle_down()
    (c,) = bench.submit("c")
    b.cancel()
    await bench.line.answer(ConnectionError("gone"))
    await bench.line.answer()
    with pytest.raises(ConnectionError, match="gone"):
        await a
    assert await c == "C"
    await bench.batcher.stop()


@pytest.mark.parametrize("results", [[], ["A"], ["A", "B", "C"]])
async def test_a_wrong_number_of_results_fails_the_batch(results: list[str]) -> None:
    bench = Bench()
    a, b = bench.submit("ab")
    await bench.line.answer(results)
    for future in (a, b):
        with pytest.raises(RuntimeError, match=f"{len(results)} answers for 2 requests"):
            await future
    (c,) = bench.submit("c")
    await bench.line.answer()
    assert await c == "C", "and the batcher goes on"
    await bench.batcher.stop()


async def test_stop_sends_what_waits_and_refuses_what_comes() -> None:
    bench = Bench(Limits(size_max=2, weight_max=100, queue_max=100, deadline_s=1))
    futures = bench.submit("abcde")
    await settle_down()
    stopping = asyncio.ensure_future(bench.batcher.stop())
    await settle_down()
    with pytest.raises(Overloaded):
        bench.batcher.submit("f")
    for _ in range(3):
        assert not stopping.done()
        await bench.line.answer()
    await stopping
    assert await asyncio.gather(*futures) == list("ABCDE")
    assert bench.line.calls == [["a", "b"], ["c", "d"], ["e"]]


async def test_stop_of_an_idle_batcher_ends_at_once_and_may_be_repeated() -> None:
    bench = Bench()
    await bench.batcher.stop()
    await bench.batcher.stop()
    assert bench.line.calls == []


async def test_what_was_submitted_before_start_is_sent_after_it() -> None:
    line, clock = Line(), StillClock()
    batcher: Batcher[str, str] = Batcher("early", line.send, ROOMY, clock)
    future = batcher.submit("a")
    batcher.start()
    batcher.start()
    await line.answer()
    assert await future == "A"
    await batcher.stop()
    assert line.calls == [["a"]]


async def test_when_a_call_is_cancelled_its_batch_is_told() -> None:
    bench = Bench()
    (future,) = bench.submit("a")
    await settle_down()
    (call,) = bench.batcher._calls
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await future


async def test_size_and_wait_are_measured() -> None:
    bench = Bench(command="measured")
    size = metrics.BATCH_SIZE.labels("measured")
    wait = metrics.BATCH_WAIT.labels("measured")
    call = metrics.BATCH_CALL.labels("measured")
    length = metrics.BATCH_QUEUE.labels("measured")
    bench.submit("a")
    await settle_down()
    bench.submit("b")
    bench.clock.advance(0.25)
    bench.submit("c")
    await bench.line.answer()
    await settle_down()
    assert size._sum.get() == 1 + 2
    assert wait._sum.get() == pytest.approx(0 + 0.25), "of the one that waited longest"
    bench.submit("d")
    bench.clock.advance(0.5)
    await bench.line.answer()
    await bench.line.answer()
    await bench.batcher.stop()
    assert call._sum.get() == pytest.approx(0.25 + 0.5)
    assert length._value.get() == 0
