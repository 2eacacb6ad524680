"""The micro-batcher: while one call to Redis is in flight, the next batch gathers.

No timer: an idle gateway sends a single request at once, a busy one sends what has queued. The
queue is bounded and so is a batch; a request that waited past its deadline is refused unsent.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import msgspec

from gateway.core import metrics
from gateway.core.clock import Clock
from gateway.core.errors import Overloaded

T = TypeVar("T")
R = TypeVar("R")


class Limits(msgspec.Struct, frozen=True):
    """size_max: requests a batch; weight_max: sum of weights a batch (a single heavier request
    still goes, alone); queue_max: requests waiting; deadline_s: longest wait before sending.
    """

    size_max: int
    weight_max: int
    queue_max: int
    deadline_s: float


class _Waiting(msgspec.Struct, Generic[T, R], frozen=True):
    item: T
    weight: int
    since: float
    answer: "asyncio.Future[R]"


class Batcher(Generic[T, R]):
    """Gathers items and sends them through `send`, one batch in flight at a time.

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
        self._clock = clock
        self._queue: deque[_Waiting[T, R]] = deque()
        self._wake = asyncio.Event()
        self._stopping = False
        self._pump: asyncio.Task[None] | None = None
        self._size = metrics.BATCH_SIZE.labels(command)
        self._wait = metrics.BATCH_WAIT.labels(command)
        self._call = metrics.BATCH_CALL.labels(command)
        self._length = metrics.BATCH_QUEUE.labels(command)
        self._shed_full = metrics.SHED.labels(command, "queue-full")
        self._shed_late = metrics.SHED.labels(command, "deadline")

    def start(self) -> None:
        """Begin sending. Needs a running event loop."""
        if self._pump is None:
            self._pump = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Refuse new items, send what waits, and end."""
        self._stopping = True
        self._wake.set()
        if self._pump is not None:
            await self._pump

    def submit(self, item: T, weight: int = 1) -> "asyncio.Future[R]":
        """A future of the item's result.

        Raises Overloaded at once when the queue is full or the batcher has stopped. Cancelling
        the future withdraws an item that has not been sent; one that has been sent goes on.
        """
        if len(self._queue) >= self._limits.queue_max or self._stopping:
            self._shed_full.inc()
            raise Overloaded("the queue for Redis is full")
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(item, weight, self._clock.monotonic(), answer))
        self._wake.set()
        return answer

    async def _run(self) -> None:
        while True:
            batch = self._next_batch()
            if batch:
                await self._send_batch(batch)
            elif self._stopping:
                return
            else:
                self._wake.clear()
                await self._wake.wait()

    def _next_batch(self) -> list[_Waiting[T, R]]:
        limits, queue = self._limits, self._queue
        oldest = self._clock.monotonic() - limits.deadline_s
        batch: list[_Waiting[T, R]] = []
        weight = 0
        while queue and len(batch) < limits.size_max:
            if queue[0].answer.done():
                queue.popleft()
            elif queue[0].since < oldest:
                self._refuse_late(queue.popleft())
            elif batch and weight + queue[0].weight > limits.weight_max:
                break
            else:
                weight += queue[0].weight
                batch.append(queue.popleft())
        self._length.set(len(queue))
        return batch

    def _refuse_late(self, late: _Waiting[T, R]) -> None:
        self._shed_late.inc()
        late.answer.set_exception(Overloaded("waited too long for Redis; nothing was sent"))

    async def _send_batch(self, batch: list[_Waiting[T, R]]) -> None:
        sent = self._clock.monotonic()
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
            self._call.observe(self._clock.monotonic() - sent)
        for waiting, result in zip(batch, results, strict=False):
            if not waiting.answer.done():
                waiting.answer.set_result(result)


def _answer_all(batch: Sequence[_Waiting[T, R]], error: Exception) -> None:
    for waiting in batch:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)
