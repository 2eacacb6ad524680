"""The micro-batcher: while a call to Redis is in flight, the next batch gathers.

No timer: an idle gateway sends a single request at once, a busy one sends what has queued. The
queue is bounded and so is a batch; a request that waited past its deadline is refused unsent.
A second call may go ahead of the first one's answer, once enough waits to be worth it: then the
gateway reads and answers requests while Redis works, instead of the two taking turns.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

import msgspec

from gateway.core import metrics
from gateway.core.clock import Clock
from gateway.core.errors import Overloaded

T = TypeVar("T")
R = TypeVar("R")
R_contra = TypeVar("R_contra", contravariant=True)


class Limits(msgspec.Struct, frozen=True):
    """size_max: requests a batch; weight_max: sum of weights a batch (a single heavier request
    still goes, alone); queue_max: requests waiting; deadline_s: longest wait before sending.
    in_flight_max: calls at once; beside another, a call goes out only with `ahead_min` requests.
    """

    size_max: int
    weight_max: int
    queue_max: int
    deadline_s: float
    in_flight_max: int = 1
    ahead_min: int = 1


class Answer(Protocol[R_contra]):
    """Where a result goes: a future, or something that acts like one. `done`: nobody waits any
    more. None of these may raise; the others are called at most once, and only before `done`.
    """

    def done(self) -> bool: ...
    def set_result(self, result: R_contra, /) -> None: ...
    def set_exception(self, error: BaseException, /) -> None: ...
    def cancel(self) -> object: ...


class _Waiting(Generic[T, R]):
    __slots__ = ("answer", "item", "since", "weight")

    def __init__(self, item: T, weight: int, since: float, answer: Answer[R]) -> None:
        self.item = item
        self.weight = weight
        self.since = since
        self.answer = answer


class Batcher(Generic[T, R]):
    """Gathers items and sends them through `send`, `in_flight_max` calls at a time.

    `send` returns one result an item, in order. If it raises, every item of that batch gets the
    exception and the next batch goes on. `start` before use, `stop` after; stop drains.
    """

    def __init__(
        self,
        command: str,
        send: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        limits: Limits,
        clock: Clock,
    ) -> None:
        self._send = send
        self._limits = limits
        self._now = clock.monotonic
        self._queue: deque[_Waiting[T, R]] = deque()
        self._calls: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._called_up = False  # _send_next is about to run
        self._stopping = False
        self._size = metrics.BATCH_SIZE.labels(command)
        self._wait = metrics.BATCH_WAIT.labels(command)
        self._call = metrics.BATCH_CALL.labels(command)
        self._length = metrics.BATCH_QUEUE.labels(command)
        self._shed_full = metrics.SHED.labels(command, "queue-full")
        self._shed_late = metrics.SHED.labels(command, "deadline")
        self._shed_stopped = metrics.SHED.labels(command, "stopped")

    def start(self) -> None:
        """Begin sending. Needs a running event loop."""
        self._loop = asyncio.get_running_loop()
        self._call_up()

    async def stop(self) -> None:
        """Refuse new items, send what waits, and end."""
        self._stopping = True
        if self._loop is not None:
            self._send_next()
        while self._calls:
            await asyncio.wait(self._calls)

    def submit(self, item: T, weight: int = 1) -> "asyncio.Future[R]":
        """A future of the item's result.

        Raises Overloaded at once when the queue is full or the batcher has stopped. Cancelling
        the future withdraws an item that has not been sent; one that has been sent goes on.
        """
        loop = self._loop or asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()
        self.submit_for(answer, item, weight)
        return answer

    def submit_for(self, answer: Answer[R], item: T, weight: int = 1) -> None:
        """As `submit`, with somebody else's way to take the result."""
        waiting = len(self._queue)
        if waiting >= self._limits.queue_max or self._stopping:
            self._refuse()
        self._queue.append(_Waiting(item, weight, self._now(), answer))
        if not self._called_up and self._may_send(waiting + 1):
            self._call_up()

    def _refuse(self) -> None:
        if self._stopping:
            self._shed_stopped.inc()
            raise Overloaded("the gateway is stopping")
        self._shed_full.inc()
        raise Overloaded("the queue for Redis is full")

    def _may_send(self, waiting: int) -> bool:
        in_flight = len(self._calls)
        if not in_flight:
            return waiting > 0
        return in_flight < self._limits.in_flight_max and waiting >= self._limits.ahead_min

    def _call_up(self) -> None:
        """Send as soon as everything that arrived together has been queued."""
        if self._loop is not None:
            self._called_up = True
            self._loop.call_soon(self._send_next)

    def _send_next(self) -> None:
        self._called_up = False
        assert self._loop is not None
        while self._may_send(len(self._queue)):
            batch = self._next_batch()
            if not batch:
                return
            call = self._loop.create_task(self._send_batch(batch))
            self._calls.add(call)
            call.add_done_callback(self._returned)

    def _returned(self, call: "asyncio.Task[None]") -> None:
        self._calls.discard(call)
        if call.cancelled():
            self._stopping = True  # the event loop is ending
        else:
            self._send_next()

    def _next_batch(self) -> list[_Waiting[T, R]]:
        limits, queue = self._limits, self._queue
        oldest = self._now() - limits.deadline_s
        batch: list[_Waiting[T, R]] = []
        weight = 0
        while queue and len(batch) < limits.size_max:
            first = queue[0]
            if first.answer.done():
                queue.popleft()
            elif first.since < oldest:
                self._refuse_late(queue.popleft())
            elif batch and weight + first.weight > limits.weight_max:
                break
            else:
                weight += first.weight
                batch.append(queue.popleft())
        self._length.set(len(queue))
        return batch

    def _refuse_late(self, late: _Waiting[T, R]) -> None:
        self._shed_late.inc()
        late.answer.set_exception(Overloaded("waited too long for Redis; nothing was sent"))

    async def _send_batch(self, batch: list[_Waiting[T, R]]) -> None:
        sent = self._now()
        self._size.observe(len(batch))
        self._wait.observe(sent - batch[0].since)
        try:
            results = await self._send([waiting.item for waiting in batch])
            if len(results) != len(batch):
                raise RuntimeError(f"{len(results)} answers for {len(batch)} requests")
        except Exception as error:
            _answer_all(batch, error)
            return
        except BaseException:
            for waiting in batch:
                waiting.answer.cancel()
            raise
        finally:
            self._call.observe(self._now() - sent)
        for waiting, result in zip(batch, results, strict=False):
            if not waiting.answer.done():
                waiting.answer.set_result(result)


def _answer_all(batch: Sequence[_Waiting[T, R]], error: Exception) -> None:
    for waiting in batch:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)
