"""Whatever is cancelled and whatever fails: every request is sent at most once, and whoever still
waits gets the answer to their own request. Two broken batchers show that the test can fail.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import Overloaded
from gateway.sale.batcher import Batcher, Limits, _Waiting
from tests.sale.clocks import StillClock

Action = tuple[str, int]

actions = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.integers(1, 7)),
        st.tuples(st.just("cancel"), st.integers(0, 40)),
        st.tuples(st.just("answer"), st.integers(0, 2)),
        st.tuples(st.just("fail"), st.integers(0, 2)),
        st.tuples(st.just("wait"), st.integers(1, 9)),
    ),
    max_size=60,
)
limits = st.builds(
    Limits,
    size_max=st.integers(1, 6),
    weight_max=st.integers(1, 12),
    queue_max=st.integers(1, 12),
    deadline_s=st.just(1.0),
    in_flight_max=st.integers(1, 3),
    ahead_min=st.integers(1, 4),
)


class Broken(Exception):
    pass


class Run:
    """Plays a list of actions against a batcher and keeps account."""

    def __init__(self, kind: type[Batcher[int, int]], limits: Limits) -> None:
        self.limits = limits
        self.clock = StillClock()
        self.sent: list[list[int]] = []
        self.weights: dict[int, int] = {}
        self.waiting: dict[int, asyncio.Future[int]] = {}
        self.withdrawn: set[int] = set()
        self.open_calls: list[asyncio.Future[None]] = []
        self.batcher = kind("property", self._send, limits, self.clock)
        self.batcher.start()

    async def _send(self, items: Sequence[int]) -> Sequence[int]:
        self.sent.append(list(items))
        ahead = len(self.open_calls)
        assert ahead < self.limits.in_flight_max, "too many calls in flight"
        assert not ahead or self._was_worth_it(items), "a small call went ahead"
        call: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.open_calls.append(call)
        try:
            await call
        finally:
            self.open_calls.remove(call)
        return [-item for item in items]

    def _was_worth_it(self, items: Sequence[int]) -> bool:
        """Enough waited; a batch may be smaller for its own limits, or for who went away."""
        waiting = len(items) + len(self.batcher._queue)
        gone = sum(future.done() for future in self.waiting.values())
        return waiting + gone >= self.limits.ahead_min

    async def play(self, script: Sequence[Action]) -> None:
        for name, n in script:
            getattr(self, f"_{name}")(n)
            await _settle_down()
        stopping = asyncio.ensure_future(self.batcher.stop())
        while not stopping.done():
            self._answer(0)
            await _settle_down()
        await stopping

    def _submit(self, weight: int) -> None:
        number = len(self.weights) + 1
        self.weights[number] = weight
        try:
            self.waiting[number] = self.batcher.submit(number, weight)
        except Overloaded:
            assert len(self.batcher._queue) == self.limits.queue_max

    def _cancel(self, n: int) -> None:
        future = self.waiting.get(n)
        if future is not None and future.cancel() and not self._was_sent(n):
            self.withdrawn.add(n)

    def _answer(self, n: int) -> None:
        if call := self._open_call(n):
            call.set_result(None)

    def _fail(self, n: int) -> None:
        if call := self._open_call(n):
            call.set_exception(Broken("no answer"))

    def _open_call(self, n: int) -> "asyncio.Future[None] | None":
        """Any of them: answers need not come in the order of the calls."""
        still = [call for call in self.open_calls if not call.done()]
        return still[n % len(still)] if still else None

    def _wait(self, tenths: int) -> None:
        self.clock.advance(tenths / 10)

    def _was_sent(self, number: int) -> bool:
        return any(number in batch for batch in self.sent)

    def check(self) -> None:
        flat = [item for batch in self.sent for item in batch]
        assert max(Counter(flat).values(), default=0) <= 1, "sent twice"
        assert flat == sorted(flat), "out of order"
        assert not self.withdrawn & set(flat), "sent after it was withdrawn"
        for batch in self.sent:
            assert 0 < len(batch) <= self.limits.size_max
            weight = sum(self.weights[item] for item in batch)
            assert weight <= self.limits.weight_max or len(batch) == 1
        for number, future in self.waiting.items():
            self._check_answer(number, future)

    def _check_answer(self, number: int, future: "asyncio.Future[int]") -> None:
        assert future.done(), "left without an answer"
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            assert future.result() == -number, "somebody else's answer"
        elif isinstance(error, Overloaded):
            assert not self._was_sent(number), "refused as unsent, but sent"
        else:
            assert isinstance(error, Broken)
            assert self._was_sent(number)


async def _settle_down() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


def play(kind: type[Batcher[int, int]], script: Sequence[Action], limits: Limits) -> None:
    async def run() -> None:
        played = Run(kind, limits)
        await played.play(script)
        played.check()

    asyncio.run(run())


@settings(max_examples=150, deadline=None)
@given(script=actions, limits=limits)
def test_sent_at_most_once_and_answered_with_their_own(
    script: list[Action], limits: Limits
) -> None:
    play(Batcher, script, limits)


class SendsAgain(Batcher[int, int]):
    """Broken on purpose: what was in a failed call goes back to the front of the queue."""

    async def _send_batch(self, batch: list[_Waiting[int, int]]) -> None:
        try:
            results = await self._send([waiting.item for waiting in batch])
        except Broken:
            self._queue.extendleft(reversed(batch))
            return
        for waiting, result in zip(batch, results, strict=True):
            if not waiting.answer.done():
                waiting.answer.set_result(result)


class MixesUp(Batcher[int, int]):
    """Broken on purpose: leaves out those who went away in flight before it hands out answers."""

    async def _send_batch(self, batch: list[_Waiting[int, int]]) -> None:
        results: Any = await self._send([waiting.item for waiting in batch])
        still_here = [waiting for waiting in batch if not waiting.answer.done()]
        for waiting, result in zip(still_here, results, strict=False):
            waiting.answer.set_result(result)


FAILED_CALL = [("submit", 1), ("fail", 0), ("answer", 0)]
LEFT_IN_FLIGHT = [("submit", 1), ("submit", 1), ("submit", 1), ("answer", 0), ("cancel", 2)]


@pytest.mark.parametrize(
    ("kind", "script", "complaint"),
    [
        (SendsAgain, FAILED_CALL, "sent twice"),
        (MixesUp, LEFT_IN_FLIGHT, "somebody else's answer"),
    ],
)
def test_a_broken_batcher_is_found_out(
    kind: type[Batcher[int, int]], script: list[Action], complaint: str
) -> None:
    roomy = Limits(size_max=10, weight_max=10, queue_max=10, deadline_s=1.0)
    with pytest.raises(AssertionError, match=complaint):
        play(kind, script, roomy)
    play(Batcher, script, roomy)
