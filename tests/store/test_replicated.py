"""Scripts followed by WAIT: what they promise, and that each call reads its own answers."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from gateway.core.clock import SystemClock
from gateway.core.config import ConfirmConfig
from gateway.core.errors import OutcomeUnknown, SetupError, StoreUnavailable
from gateway.store import preflight
from gateway.store.client import connect
from gateway.store.replicated import ReplicatedChannel
from tests.store.fake_server import FakeServer
from tests.store.test_channel import NOSCRIPT, SLACK_S, count, script
from tests.support.replication import start_pair
from tests.support.servers import RedisServer

StartServer = Callable[..., RedisServer]
LOOK = script("return { redis.call('GET', KEYS[1]) or 0 }")
WAIT_MS = 2_000  # a busy machine is slow; nothing here is about speed
REPLICATED = ConfirmConfig(durability="replicated")


@asynccontextmanager
async def channel_to(url: str, *, wait_ms: int = WAIT_MS) -> AsyncIterator[ReplicatedChannel]:
    client = connect(url, connect_timeout_s=1.0)
    channel = ReplicatedChannel(
        client, SystemClock(), call_timeout_s=SLACK_S, replicas_min=1, wait_ms=wait_ms
    )
    try:
        yield channel
    finally:
        await channel.close()
        await client.aclose()


async def test_an_answer_counts_once_a_replica_has_it() -> None:
    async with FakeServer(b"*1\r\n:1\r\n", b"*1\r\n:2\r\n", b"*1\r\n:3\r\n") as server:
        server.copies = [b":1\r\n", b":0\r\n", b":2\r\n"]
        async with channel_to(server.url) as channel:
            assert await count(channel) == 1
            with pytest.raises(OutcomeUnknown, match="0 of 1 replicas"):
                await count(channel)
            assert await count(channel) == 3, "it reads its own answers"


async def test_an_unknown_script_is_sent_whole_and_waited_for() -> None:
    async with FakeServer(NOSCRIPT, b"*1\r\n:7\r\n", b"*1\r\n:8\r\n") as server:
        server.copies = [b":1\r\n"] * 3
        async with channel_to(server.url) as channel:
            assert (await count(channel), await count(channel)) == (7, 8)
    assert server.received == ["EVALSHA", "EVAL", "EVALSHA"]


async def test_a_refusal_is_one_and_the_next_call_reads_its_own_answer() -> None:
    async with FakeServer(b"-READONLY no\r\n", b"*1\r\n:2\r\n") as server:
        server.copies = [b"-ERR WAIT cannot be used with replica instances\r\n", b":1\r\n"]
        async with channel_to(server.url) as channel:
            with pytest.raises(StoreUnavailable):
                await count(channel)
            assert await count(channel) == 2


async def test_a_server_that_does_not_wait_leaves_the_outcome_unknown() -> None:
    """The script has run: that WAIT is refused is no sign of the contrary."""
    async with FakeServer(b"*1\r\n:1\r\n", b"*1\r\n:2\r\n") as server:
        server.copies = [b"-NOPERM no permission for 'wait'\r\n", b":1\r\n"]
        async with channel_to(server.url) as channel:
            with pytest.raises(OutcomeUnknown):
                await count(channel)
            assert await count(channel) == 2


@pytest.mark.parametrize("kind", ["redis", "valkey"])
async def test_who_finds_the_work_done_waits_for_it_too(
    start_server: StartServer, kind: str
) -> None:
    """A repeat writes nothing, maybe on another connection: the mark is what it waits for."""
    pair = start_pair(start_server, kind)
    async with channel_to(pair.primary.url) as one, channel_to(pair.primary.url) as other:
        assert await count(one) == 1
        await other.run(LOOK, ["counter"], [])
        pair.replica.pause()
        begun = time.monotonic()
        unmarked = pair.primary.call("WAIT", 1, 100)
        assert unmarked == (kind == "valkey"), "there, without a write it promises too much"
        with pytest.raises(OutcomeUnknown):
            await count(one)
        with pytest.raises(OutcomeUnknown):
            await other.run(LOOK, ["counter"], [])
        assert time.monotonic() - begun < 2 * (WAIT_MS / 1000 + SLACK_S)
        pair.replica.resume()
        pair.wait_until_in_step()
        assert await other.run(LOOK, ["counter"], []) == [b"2"]
        assert await count(one) == 3, "each call ran once"


async def look(url: str, rule: ConfirmConfig) -> list[str]:
    client = connect(url, connect_timeout_s=1.0)
    try:
        return await preflight.check(client, url, 1, SystemClock(), 10.0, rule)
    finally:
        await client.aclose()


async def test_the_replicas_that_are_promised_must_be_there(start_server: StartServer) -> None:
    pair = start_pair(start_server)
    assert await look(pair.primary.url, REPLICATED) == []
    two = ConfirmConfig(durability="replicated", replicas_min=2)
    with pytest.raises(SetupError, match=r"1 replicas online.*replicas_min = 2") as refused:
        await look(pair.primary.url, two)
    assert "REPLICAOF" in refused.value.hint
    pair.cut()
    with pytest.raises(SetupError, match="0 replicas online"):
        await look(pair.primary.url, REPLICATED)
    assert await look(pair.primary.url, ConfirmConfig()) == []


async def test_memory_has_no_replicas() -> None:
    with pytest.raises(SetupError, match="has no replicas"):
        await look("memory://", REPLICATED)


@pytest.mark.parametrize(
    ("durability", "words"),
    [("accepted", "may forget holds and confirms"), ("settled", "are in the ledger")],
)
async def test_what_a_weak_disk_puts_at_risk_depends_on_the_promise(
    start_server: StartServer, durability: str, words: str
) -> None:
    server = start_server("redis", appendfsync="everysec")
    [notice] = await look(server.url, ConfirmConfig(durability=durability))  # type: ignore[arg-type]
    assert words in notice
