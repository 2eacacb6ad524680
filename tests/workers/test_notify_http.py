"""Delivery over real connections on loopback, to servers that behave and that do not."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.core.clock import SystemClock
from gateway.core.config import TargetConfig
from gateway.core.events import Event, EventKind
from gateway.workers.notifier import MemoryShelf, Notifier
from gateway.workers.notify_http import (
    BODY_BYTES_MAX,
    HttpSender,
    NotSent,
)
from tests.support.ports import free_port
from tests.workers.notices import SECRET, Listener, config, outgoing, says, target
from tests.workers.test_notify_signing import verified

DRIFT = Event(EventKind.DRIFT_FOUND, sku="phone")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the environment would do the look-up where nothing is checked: it is not used."""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")


# ── the whole way ────────────────────────────────────────────────────────────


@asynccontextmanager
async def notifying(it: TargetConfig, **settings: Any) -> AsyncIterator[tuple[Notifier, Any]]:
    clock, shelf = SystemClock(), MemoryShelf()
    settings = {"backoff_first_s": 0.01, "timeout_s": 5.0, **settings}
    notifier = Notifier((it,), config(**settings), HttpSender(clock).post, clock, shelf=shelf)
    notifier.start()
    try:
        yield notifier, shelf.letters
    finally:
        await notifier.stop()


async def until(ready: Any) -> None:
    async with asyncio.timeout(10):
        while not ready():
            await asyncio.sleep(0.005)


async def test_a_signed_message_arrives() -> None:
    async with Listener().open() as server, notifying(target(server.url)) as (notifier, letters):
        notifier.tell(DRIFT)
        await until(lambda: server.heard)
    (heard,) = server.heard
    assert heard.line == "POST /hook HTTP/1.1"
    assert heard.headers["host"] == f"127.0.0.1:{server.port}"
    assert heard.headers["content-type"].startswith("application/json")
    assert verified(heard.headers, heard.body, SECRET)
    assert json.loads(heard.body)["type"] == "drift.found"
    assert not letters


async def test_failures_are_tried_again_under_one_id() -> None:
    listener = Listener(says(500, "broken"), says(503, retry_after="0"))
    async with listener.open(), notifying(target(listener.url)) as (notifier, letters):
        notifier.tell(DRIFT)
        await until(lambda: len(listener.heard) == 3)
    assert len({heard.headers["webhook-id"] for heard in listener.heard}) == 1
    assert not letters


async def test_a_target_says_when_to_come_back() -> None:
    listener = Listener(says(429, retry_after="1"))
    async with listener.open(), notifying(target(listener.url)) as (notifier, _):
        started = asyncio.get_running_loop().time()
        notifier.tell(DRIFT)
        await until(lambda: len(listener.heard) == 2)
        assert asyncio.get_running_loop().time() - started >= 0.99


async def test_a_robots_errcode_is_a_failure() -> None:
    listener = Listener(
        says(200, '{"errcode":-1,"errmsg":"busy"}'),
        says(200, '{"errcode":93000,"errmsg":"invalid webhook url"}'),
    )
    async with listener.open():
        robot = target(f"{listener.url}?key=k", kind="wecom", secrets=())
        async with notifying(robot) as (notifier, letters):
            notifier.tell(DRIFT)
            await until(lambda: letters or len(listener.heard) > 2)
    assert [letter.reason for letter in letters] == ["errcode 93000: invalid webhook url"]
    assert len(listener.heard) == 2
    assert json.loads(listener.heard[0].body)["msgtype"] == "text"


async def test_a_robot_of_dingtalk_gets_timestamp_and_sign() -> None:
    listener = Listener(says(200, '{"errcode":0,"errmsg":"ok"}'))
    async with listener.open():
        robot = target(f"{listener.url}?access_token=a", kind="dingtalk", secrets=("SEC1",))
        async with notifying(robot) as (notifier, letters):
            notifier.tell(DRIFT)
            await until(lambda: listener.heard)
    line = listener.heard[0].line
    assert line.startswith("POST /hook?access_token=a&timestamp=")
    assert "&sign=" in line
    assert not letters


async def test_a_redirect_is_not_followed() -> None:
    trap = Listener()
    async with trap.open():
        listener = Listener(says(307, location=trap.url))
        async with listener.open(), notifying(target(listener.url)) as (notifier, letters):
            notifier.tell(DRIFT)
            await until(lambda: letters)
    assert letters[0].reason.startswith("HTTP 307: redirects are not followed")
    assert letters[0].attempts == 1
    assert trap.connections == 0


async def test_what_the_libraries_log_shows_no_url(caplog: pytest.LogCaptureFixture) -> None:
    listener = Listener(says(500))
    with caplog.at_level(logging.INFO):
        async with listener.open():
            it = target(f"{listener.url}?access_token=tok0123456789")
            async with notifying(it) as (notifier, _):
                notifier.tell(DRIFT)
                await until(lambda: len(listener.heard) == 2)
    assert "attempt 1 failed: HTTP 500" in caplog.text
    assert "tok0123456789" not in caplog.text


# ── answers that do harm ─────────────────────────────────────────────────────


async def drips(writer: asyncio.StreamWriter) -> None:
    """An answer that never ends, one byte at a time: no single read takes long."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


async def drips_a_head(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"x-a: b\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


async def says_nothing(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


@pytest.mark.parametrize("reply", [drips, drips_a_head, says_nothing])
async def test_a_slow_answer_has_a_deadline(reply: Any) -> None:
    async with Listener(reply).open() as server:
        started = asyncio.get_running_loop().time()
        with pytest.raises(NotSent, match="0.3 s|timed out") as error:
            await HttpSender(SystemClock()).post(outgoing(server.url, timeout_s=0.3))
        assert asyncio.get_running_loop().time() - started < 3
        assert error.value.can_retry


async def test_a_huge_answer_is_not_read() -> None:
    written = 0

    async def floods(writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            written += 65536

    async with Listener(floods).open() as server:
        answer = await HttpSender(SystemClock()).post(outgoing(server.url))
    assert answer.status == 200
    assert len(answer.body) == BODY_BYTES_MAX
    assert not answer.complete
    assert written < 50_000_000


async def raw(*pieces: bytes) -> Any:
    async def reply(writer: asyncio.StreamWriter) -> None:
        writer.writelines(pieces)

    return reply


@pytest.mark.parametrize(
    "piece",
    [
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 500_000,
        b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\ncut",
    ],
)
async def test_what_is_no_answer(piece: bytes) -> None:
    async with Listener(await raw(piece)).open() as server:
        with pytest.raises(NotSent) as error:
            await HttpSender(SystemClock()).post(outgoing(server.url))
        assert str(error.value)
        assert error.value.can_retry


async def test_nobody_listens() -> None:
    with pytest.raises(NotSent) as error:
        await HttpSender(SystemClock()).post(outgoing(f"http://127.0.0.1:{free_port()}/"))
    assert error.value.can_retry
