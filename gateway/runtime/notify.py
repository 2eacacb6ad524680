"""The notifier as it runs in a gateway, and a test message to each target."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import uuid4

from gateway.core.clock import Clock
from gateway.core.config import Config, TargetConfig
from gateway.core.events import EventKind, Notice
from gateway.workers.notifier import Notifier
from gateway.workers.notify_formats import Verdict
from gateway.workers.notify_http import HttpSender
from gateway.workers.notify_outlet import Letter, Outlet, Post


class Tested(NamedTuple):
    """What came of a test message, and how long that took."""

    target: TargetConfig
    verdict: Verdict
    took_s: float


def make_notifier(config: Config, clock: Clock) -> Notifier:
    """The notifier of the configured targets, not started."""
    return Notifier(config.targets, config.notify, HttpSender(clock).post, clock)


async def send_tests(config: Config, targets: Sequence[TargetConfig], clock: Clock) -> list[Tested]:
    """One test message to each of the targets, one attempt each, one after the other."""
    post = HttpSender(clock).post
    return [await _test(config, target, post, clock) for target in targets]


async def _test(config: Config, target: TargetConfig, post: Post, clock: Clock) -> Tested:
    started = clock.monotonic()
    outlet = Outlet(target, config.notify, post, _ignore, clock)
    verdict = await outlet.attempt(_test_notice(clock.now_ms()))
    return Tested(target, verdict, clock.monotonic() - started)


def _ignore(_letter: Letter) -> None:
    """The verdict of a test is printed, not kept."""


def _test_notice(now_ms: int) -> Notice:
    return Notice(
        id=f"msg_{uuid4().hex}",
        kind=EventKind.TEST,
        skus=(),
        reservations=(),
        cause="",
        detail="",
        times=1,
        count=1,
        first_ms=now_ms,
        last_ms=now_ms,
    )
