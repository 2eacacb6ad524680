"""The notifier: queue, retries, dead letters, the end. On a clock that stands still."""

import asyncio
import json
import logging
from typing import Any

import pytest

from gateway.core import metrics
from gateway.core.config import NotifyConfig, TargetConfig
from gateway.core.errors import LedgerUnavailable
from gateway.core.events import Event, EventKind
from gateway.workers.notifier import MemoryShelf, Notifier
from gateway.workers.notify_http import Answer, NotSent, Outgoing
from gateway.workers.notify_outlet import RETRY_AFTER_MAX_S, ROBOT_PAUSE_S, Letter, without_secrets
from tests.sale.clocks import StillClock
from tests.workers.notices import SECRET, Posts, answer, config, target

DRIFT = Event(EventKind.DRIFT_FOUND, sku="phone", detail="Redis has 7, the ledger 8")
ROBOT_OK = answer(200, b'{"errcode":0}')


class Stage:
    """A notifier with everything around it played."""

    def __init__(
        self,
        posts: Any = None,
        *,
        targets: tuple[TargetConfig, ...] = (),
        shelf: Any = None,
        **settings: Any,
    ) -> None:
        self.clock = StillClock(jitter=1.0)
        self.posts = posts or Posts()
        self.shelf = shelf or MemoryShelf()
        numbers = iter(range(1, 10_000))
        self.notifier = Notifier(
            targets or (target(),),
            config(**settings),
            self.posts.post,
            self.clock,
            shelf=self.shelf,
            new_id=lambda: f"msg_{next(numbers)}",
        )

    def tell(self, number: int) -> None:
        """`number` events, each of a cause of its own while there are few."""
        for n in range(number):
            self.notifier.tell(Event(EventKind.DRIFT_FOUND, sku=f"sku-{n}"))

    @property
    def letters(self) -> list[Letter]:
        return list(self.shelf.letters)

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await settle()


async def settle() -> None:
    """Let everything that can go on go on."""
    for _ in range(30):
        await asyncio.sleep(0)


def value(metric: Any, **labels: str) -> float:
    return float(metric.labels(**labels)._value.get())


async def test_an_event_is_logged_and_delivered(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    stage.notifier.start()
    before = value(metrics.NOTIFY_DELIVERED, target="ops")
    with caplog.at_level(logging.INFO):
        stage.notifier.tell(DRIFT)
        await settle()
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert json.loads(record.getMessage())["type"] == "drift.found"
    (sent,) = stage.posts.sent
    assert json.loads(sent.body)["data"]["skus"] == ["phone"]
    assert value(metrics.NOTIFY_DELIVERED, target="ops") == before + 1
    assert value(metrics.NOTIFY_QUEUE, target="ops") == 0
    await stage.notifier.stop()
    assert not stage.letters


async def test_without_targets_the_log_has_it(caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier((), NotifyConfig(), Posts().post, StillClock())
    notifier.start()
    notifier.tell(DRIFT)
    assert "drift.found" in caplog.text
    await notifier.stop()


async def test_duplicates_are_one_message_and_the_rest_comes_after_a_minute() -> None:
    stage = Stage()
    stage.notifier.start()
    folded = value(metrics.NOTIFY_FOLDED, kind="drift.found")
    for _ in range(10):
        stage.notifier.tell(DRIFT)
    await settle()
    assert len(stage.posts.sent) == 1
    await stage.pass_time(60.0)
    assert [json.loads(sent.body)["data"]["times"] for sent in stage.posts.sent] == [1, 9]
    assert value(metrics.NOTIFY_FOLDED, kind="drift.found") == folded + 8
    await stage.notifier.stop()


@pytest.mark.parametrize(
    ("filters", "kinds"),
    [
        ({"severity": "info"}, ["holds.expired", "fuse.opened", "drift.found", "notify.test"]),
        ({"severity": "warning"}, ["fuse.opened", "drift.found", "notify.test"]),
        ({"severity": "critical"}, ["drift.found", "notify.test"]),
        ({"events": ("fuse.opened",)}, ["fuse.opened", "notify.test"]),
        ({"events": ("fuse.opened",), "severity": "critical"}, ["notify.test"]),
    ],
)
async def test_a_target_gets_what_it_wants(filters: Any, kinds: list[str]) -> None:
    stage = Stage(targets=(target(**filters),))
    stage.notifier.start()
    for kind in ("holds.expired", "fuse.opened", "drift.found", "notify.test"):
        stage.notifier.tell(Event(EventKind(kind)))
    await settle()
    assert [json.loads(sent.body)["type"] for sent in stage.posts.sent] == kinds
    await stage.notifier.stop()
    assert not stage.letters


# ── failures ─────────────────────────────────────────────────────────────────


async def attempts(stage: Stage, number: int) -> list[float]:
    """The pauses between `number` attempts, letting them pass."""
    stage.notifier.start()
    stage.notifier.tell(DRIFT)
    await settle()
    pauses = []
    for n in range(1, number):
        assert len(stage.posts.sent) == n
        own = [t for t in stage.clock._timers if t.at - stage.clock.monotonic() not in (1.0,)]
        pause = max(t.at for t in own) - stage.clock.monotonic()
        pauses.append(round(pause, 6))
        await stage.pass_time(pause)
    return pauses


async def test_failures_are_tried_again_with_growing_pauses_and_fresh_signatures() -> None:
    script: list[Answer | Exception] = [
        NotSent("refused"),
        answer(500),
        answer(502),
        answer(429),
        answer(204),
    ]
    stage = Stage(Posts(*script), backoff_first_s=2.0, backoff_max_s=10.0)
    assert await attempts(stage, 5) == [2.0, 4.0, 8.0, 10.0]
    headers = [sent.headers for sent in stage.posts.sent]
    assert {h["webhook-id"] for h in headers} == {"msg_1"}, "one id, so that it is taken once"
    assert len({h["webhook-timestamp"] for h in headers}) == 5
    assert len({h["webhook-signature"] for h in headers}) == 5
    assert not stage.letters
    await stage.notifier.stop()


async def test_pauses_are_spread() -> None:
    stage = Stage(Posts(answer(500), answer(204)), backoff_first_s=2.0)
    stage.clock._jitter = 0.5
    assert await attempts(stage, 2) == [1.5]
    await stage.notifier.stop()


@pytest.mark.parametrize(
    ("retry_after", "pause_s"), [("30", 30.0), ("1", 2.0), ("999999999", RETRY_AFTER_MAX_S)]
)
async def test_retry_after_is_honoured_within_a_bound(retry_after: str, pause_s: float) -> None:
    stage = Stage(Posts(answer(503, retry_after=retry_after), answer(204)), backoff_first_s=2.0)
    assert await attempts(stage, 2) == [pause_s]
    await stage.notifier.stop()


async def test_after_the_last_attempt_it_is_a_dead_letter(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(Posts(*[answer(500)] * 3), attempts_max=3, backoff_first_s=2.0)
    dropped = value(metrics.NOTIFY_DROPPED, target="ops")
    failed = value(metrics.NOTIFY_FAILED, target="ops")
    await attempts(stage, 3)
    await stage.pass_time(1.0)
    (letter,) = stage.letters
    assert (letter.target, letter.attempts, letter.reason) == ("ops", 3, "HTTP 500")
    assert letter.notice.skus == ("phone",)
    assert value(metrics.NOTIFY_DROPPED, target="ops") == dropped + 1
    assert value(metrics.NOTIFY_FAILED, target="ops") == failed + 3
    assert "undeliverable to target ops after 3 attempts: HTTP 500" in caplog.text
    stage.notifier.tell(Event(EventKind.TEST))
    await settle()
    assert len(stage.posts.sent) == 4, "the next message has attempts of its own"
    await stage.notifier.stop()


@pytest.mark.parametrize(
    "failure",
    [answer(404), answer(302), NotSent("refused: a private address", can_retry=False), KeyError()],
)
async def test_what_a_retry_cannot_help_is_given_up_at_once(failure: Answer | Exception) -> None:
    stage = Stage(Posts(failure))
    stage.notifier.start()
    stage.tell(2)
    await settle()
    await stage.pass_time(1.0)
    assert [letter.notice.skus for letter in stage.letters] == [("sku-0",)]
    assert len(stage.posts.sent) == 2, "and the next one is sent"
    await stage.notifier.stop()


async def test_one_target_does_not_hold_up_another() -> None:
    class Halves(Posts):
        async def post(self, request: Outgoing) -> Answer:
            if "bad" in request.url:
                await asyncio.Event().wait()
            return await super().post(request)

    bad = target("https://bad.example/", name="bad")
    stage = Stage(Halves(), targets=(bad, target()), drain_s=0.01)
    stage.notifier.start()
    stage.tell(3)
    await settle()
    assert len(stage.posts.sent) == 3
    await stage.notifier.stop()
    assert {letter.target for letter in stage.letters} == {"bad"}


async def test_a_full_queue_gives_up_what_does_not_fit() -> None:
    stage = Stage(queue_max=4)
    stage.tell(7)
    assert value(metrics.NOTIFY_QUEUE, target="ops") == 4
    stage.notifier.start()
    await settle()
    await stage.pass_time(1.0)
    assert len(stage.posts.sent) == 4
    assert [letter.reason for letter in stage.letters] == ["4 messages wait already"] * 3
    assert [letter.attempts for letter in stage.letters] == [0] * 3
    await stage.notifier.stop()


async def test_robots_are_not_called_too_often() -> None:
    robot = target(kind="wecom", secrets=())
    stage = Stage(Posts(*[ROBOT_OK] * 3), targets=(robot,))
    stage.notifier.start()
    stage.tell(3)
    for number in (1, 2, 3):
        await settle()
        assert len(stage.posts.sent) == number
        await stage.pass_time(ROBOT_PAUSE_S)
    assert ROBOT_PAUSE_S * 20 > 60
    await stage.notifier.stop()


@pytest.mark.parametrize("broken", [None, object(), Event("no such kind")])  # type: ignore[arg-type]
async def test_tell_never_raises(broken: Any, caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    stage.notifier.tell(broken)
    assert "could not be told" in caplog.text
    stage.notifier.tell(DRIFT)
    await stage.notifier.stop()
    assert len(stage.letters) == 1


# ── the end ──────────────────────────────────────────────────────────────────


async def test_what_was_only_counted_is_told_at_the_end() -> None:
    stage = Stage()
    stage.notifier.start()
    for _ in range(5):
        stage.notifier.tell(DRIFT)
    await stage.notifier.stop()
    assert [json.loads(sent.body)["data"]["times"] for sent in stage.posts.sent] == [1, 4]
    assert not stage.letters


async def test_the_end_cuts_pauses_short_and_tries_once_more() -> None:
    stage = Stage(Posts(answer(500), answer(204)))
    stage.notifier.start()
    stage.notifier.tell(DRIFT)
    await settle()
    await stage.notifier.stop()
    assert len(stage.posts.sent) == 2
    assert not stage.letters


async def test_what_the_end_cannot_deliver_is_kept() -> None:
    stage = Stage(Posts(*[answer(500)] * 9))
    stage.notifier.start()
    stage.tell(4)
    await stage.notifier.stop()
    assert [letter.notice.skus[0] for letter in stage.letters] == [f"sku-{n}" for n in range(4)]


async def test_the_end_is_bounded_when_a_target_hangs() -> None:
    class Hangs(Posts):
        async def post(self, request: Outgoing) -> Answer:
            await asyncio.Event().wait()
            raise AssertionError("unreachable")

    stage = Stage(Hangs(), drain_s=0.01)
    stage.notifier.start()
    stage.tell(3)
    await asyncio.wait_for(stage.notifier.stop(), 5)
    assert [letter.reason for letter in stage.letters] == ["the gateway stopped"] * 3
    assert [letter.attempts for letter in stage.letters] == [1, 0, 0]


async def test_told_after_the_end_is_logged_and_kept(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    stage.notifier.start()
    await stage.notifier.stop()
    await stage.notifier.stop()
    stage.notifier.tell(DRIFT)
    stage.notifier.tell(DRIFT)
    assert caplog.text.count("told after the end") == 2


async def test_stopping_what_was_never_started() -> None:
    stage = Stage()
    stage.notifier.tell(DRIFT)
    await stage.notifier.stop()
    assert [letter.reason for letter in stage.letters] == ["the gateway stopped"]


# ── dead letters ─────────────────────────────────────────────────────────────


class Outage(MemoryShelf):
    """A shelf that cannot be reached a number of times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self._times = times

    async def keep(self, letter: Letter) -> None:
        if self._times:
            self._times -= 1
            raise LedgerUnavailable("gone")
        await super().keep(letter)


async def test_a_shelf_that_is_gone_is_waited_for() -> None:
    stage = Stage(Posts(answer(404)), shelf=Outage(3))
    stage.notifier.start()
    stage.notifier.tell(DRIFT)
    for _ in range(4):
        await settle()
        await stage.pass_time(5.0)
    assert len(stage.letters) == 1
    await stage.notifier.stop()


async def test_a_shelf_that_stays_gone_leaves_the_log(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(Posts(answer(404)), shelf=Outage(99))
    stage.notifier.start()
    stage.notifier.tell(DRIFT)
    await settle()
    await stage.notifier.stop()
    assert "1 dead letters are in this log only" in caplog.text
    assert '"skus": ["phone"]' in caplog.text


# ── what must not be seen ────────────────────────────────────────────────────


async def test_secrets_are_nowhere_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    url = "https://oapi.example/robot/send?access_token=tok0123456789"
    echo = answer(403, f"bad {url} tok0123456789 {SECRET}".encode())
    robot = target(url, kind="dingtalk", secrets=(SECRET,))
    leaky: list[Answer | Exception] = [
        echo,
        NotSent(f"cannot use {url}", can_retry=False),
        RuntimeError(url),
    ]
    stage = Stage(Posts(*leaky), targets=(robot,))
    with caplog.at_level(logging.DEBUG):
        stage.notifier.start()
        stage.tell(3)
        await stage.notifier.stop()
    assert len(stage.letters) == 3
    seen = caplog.text + repr(stage.letters) + repr(robot)
    assert "tok0123456789" not in seen
    assert SECRET not in seen
    assert "HTTP 403: bad" in seen


def test_nothing_is_hidden_in_vain() -> None:
    assert without_secrets(target("https://h/x"), "HTTP 500: x") == "HTTP 500: x"
