"""One target's queue: deliver in order, try again, give up into a dead letter.

waiting ──attempt──► taken                        delivered
                ├──► refused for good             dead letter
                └──► failed ──pause──► waiting    dead letter after `attempts_max`
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

import msgspec

from gateway.core import metrics
from gateway.core.clock import Clock
from gateway.core.config import NotifyConfig, TargetConfig
from gateway.core.events import EventKind, Notice, Severity
from gateway.workers.notify_formats import Verdict, compose, judge
from gateway.workers.notify_http import Answer, NotSent, Outgoing

_log = logging.getLogger(__name__)

RETRY_AFTER_MAX_S = 300.0
"""A target that wishes a longer pause gets this one."""

ROBOT_PAUSE_S = 3.1
"""Between messages to a group robot: more than 20 a minute silence it for ten."""

Post = Callable[[Outgoing], Awaitable[Answer]]


class Letter(msgspec.Struct, frozen=True):
    """A notice that a target did not get, why, and when that was given up (ms since the epoch)."""

    target: str
    notice: Notice
    reason: str
    attempts: int
    given_up_ms: int


GiveUp = Callable[[Letter], None]


class Outlet:
    """Delivers to one target. Its queue is bounded; what does not fit is given up at once.

    give_up: is handed every notice that was wanted and not delivered; must not raise.
    """

    def __init__(
        self, target: TargetConfig, config: NotifyConfig, post: Post, give_up: GiveUp, clock: Clock
    ) -> None:
        self.target = target
        self._config = config
        self._post = post
        self._give_up = give_up
        self._clock = clock
        self._queue: deque[Notice] = deque()
        self._work = asyncio.Event()
        self._closing = asyncio.Event()
        self._attempts = 0
        self._task: asyncio.Task[None] | None = None
        self._length = metrics.NOTIFY_QUEUE.labels(target.name)
        self._delivered = metrics.NOTIFY_DELIVERED.labels(target.name)
        self._failed = metrics.NOTIFY_FAILED.labels(target.name)

    def start(self) -> None:
        """Begin. Needs a running event loop."""
        if self._task is None:
            name = f"notify-{self.target.name}"
            self._task = asyncio.get_running_loop().create_task(self._run(), name=name)

    def offer(self, notice: Notice) -> None:
        """Take a notice, if this target wants it. Never blocks."""
        if not wants(self.target, notice):
            return
        if self._closing.is_set():
            self._drop(notice, "told after the end")
        elif len(self._queue) >= self._config.queue_max:
            self._drop(notice, f"{len(self._queue)} messages wait already")
        else:
            self._queue.append(notice)
            self._length.set(len(self._queue))
            self._work.set()

    async def stop(self, patience_s: float) -> None:
        """Deliver what waits, each in one more attempt, for at most `patience_s`."""
        self._closing.set()
        self._work.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=patience_s)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        while self._queue:
            self._finish("the gateway stopped")

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            if self._queue:
                await self._deliver(self._queue[0])
            elif self._closing.is_set():
                return
            else:
                self._work.clear()

    async def _deliver(self, notice: Notice) -> None:
        """Deliver the head of the queue, or give it up."""
        verdict = await self._persist(notice)
        self._finish("" if verdict.taken else verdict.reason)
        if self.target.kind != "webhook":
            await self._pause(ROBOT_PAUSE_S)

    async def _persist(self, notice: Notice) -> Verdict:
        """The last of as many attempts as it takes."""
        while True:
            self._attempts += 1
            verdict = await self.attempt(notice)
            if verdict.taken:
                self._delivered.inc()
                return verdict
            self._failed.inc()
            _log.warning("target %s: attempt %d failed: %s",
                         self.target.name, self._attempts, verdict.reason)  # fmt: skip
            last = self._attempts >= self._config.attempts_max or self._closing.is_set()
            if last or not verdict.can_retry:
                return verdict
            await self._pause(self._pause_s(verdict))

    async def attempt(self, notice: Notice) -> Verdict:
        """One attempt. Never raises but when cancelled."""
        try:
            now_ms = self._clock.now_ms()
            answer = await self._post(compose(self.target, notice, now_ms, self._config.timeout_s))
            verdict = judge(self.target, answer, now_ms)
        except NotSent as error:
            verdict = Verdict(False, str(error), error.can_retry)
        except Exception as error:
            # Not its message, which may have the URL in it.
            verdict = Verdict(False, f"bug: {type(error).__name__}", can_retry=False)
        return verdict._replace(reason=without_secrets(self.target, verdict.reason))

    def _pause_s(self, verdict: Verdict) -> float:
        config = self._config
        longest = config.backoff_first_s * 2.0 ** min(self._attempts - 1, 20)
        backoff = min(longest, config.backoff_max_s) * (0.5 + self._clock.jitter() / 2)
        return max(backoff, min(verdict.retry_after_s, RETRY_AFTER_MAX_S))

    async def _pause(self, seconds: float) -> None:
        """Wait, unless it is time to end."""
        try:
            async with self._clock.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return

    def _finish(self, failure: str) -> None:
        """Take the head off the queue; with a failure it becomes a dead letter."""
        notice = self._queue.popleft()
        attempts, self._attempts = self._attempts, 0
        self._length.set(len(self._queue))
        if failure:
            self._drop(notice, failure, attempts)

    def _drop(self, notice: Notice, reason: str, attempts: int = 0) -> None:
        metrics.NOTIFY_DROPPED.labels(self.target.name).inc()
        self._give_up(Letter(self.target.name, notice, reason, attempts, self._clock.now_ms()))


def wants(target: TargetConfig, notice: Notice) -> bool:
    """Whether the target's filters let the notice through; a test always is."""
    if notice.kind is EventKind.TEST:
        return True
    listed = not target.events or notice.kind.value in target.events
    return listed and notice.severity.rank >= Severity(target.severity).rank


def without_secrets(target: TargetConfig, text: str) -> str:
    """`text` without anything of the target that must not be seen, should an answer echo it."""
    for secret in (target.url, *target.secrets, *_parts(target.url)):
        text = text.replace(secret, "***") if secret else text
    return text


def _parts(url: str) -> list[str]:
    """The path and query of a URL, and each value in the query, longest first."""
    rest = url.partition("://")[2].partition("/")[2]
    query = rest.partition("?")[2]
    values = [pair.partition("=")[2] for pair in query.split("&")]
    return sorted((part for part in (rest, query, *values) if len(part) >= 8), key=len)[::-1]
