"""Errors of a Redis that does not answer always say why, each within its deadline."""

from collections.abc import Awaitable, Callable
from hashlib import sha1
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.core.clock import SystemClock
from gateway.core.errors import OutcomeUnknown, StoreUnavailable
from gateway.store.client import ScriptChannel, connect, reason
from gateway.store.feed import finished
from gateway.store.listing import Listing
from gateway.store.outbox import Outbox
from gateway.store.scripts import Header, Script
from tests.store.fake_server import FakeServer

DEADLINE_S = 0.1
LIMIT: dict[str, Any] = {"call_timeout_s": DEADLINE_S}

COUNT = "return { redis.call('INCR', KEYS[1]) }"
SCRIPT = Script("count", COUNT, sha1(COUNT.encode()).hexdigest(), Header("", (), (), ""))


def run_script(client: Redis) -> Awaitable[Any]:
    return ScriptChannel(client, SystemClock(), **LIMIT).run(SCRIPT, ["counter"], [])


def list_skus(client: Redis) -> Awaitable[Any]:
    return Listing(client, 0, SystemClock(), **LIMIT).sku_names("", 1)


def read_outbox(client: Redis) -> Awaitable[Any]:
    return Outbox(client, 0, "me", SystemClock(), **LIMIT).length()


def listen(client: Redis) -> Awaitable[Any]:
    return anext(finished(client, 0, SystemClock(), **LIMIT))


@pytest.mark.parametrize("call", [run_script, list_skus, read_outbox, listen])
async def test_silence_is_named_with_its_deadline(call: Callable[[Redis], Awaitable[Any]]) -> None:
    async with FakeServer(mute=True) as server:
        client = connect(server.url, connect_timeout_s=1.0)
        with pytest.raises(StoreUnavailable, match=r": no answer within 0\.1 s$"):
            await call(client)
        await client.aclose()


async def test_a_script_that_may_have_run_too() -> None:
    async with FakeServer() as server:
        client = connect(server.url, connect_timeout_s=1.0)
        channel = ScriptChannel(client, SystemClock(), **LIMIT)
        with pytest.raises(OutcomeUnknown, match=r"did not answer: no answer within 0\.1 s$"):
            await channel.run(SCRIPT, ["counter"], [])
        await channel.close()
        await client.aclose()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TimeoutError(), "no answer within 1.5 s"),
        (TimeoutError(110, "Connection timed out"), "[Errno 110] Connection timed out"),
        (ConnectionResetError(), "ConnectionResetError"),
    ],
)
def test_no_error_is_without_words(error: Exception, said: str) -> None:
    assert reason(error, 1.5) == said
