"""ScriptChannel: each call once, within its deadline, and an error that says whether it ran."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from hashlib import sha1

import pytest
from redis.exceptions import ResponseError

from gateway.core.clock import SystemClock
from gateway.core.codes import Reply
from gateway.core.errors import InvariantBreach, OutcomeUnknown, StoreUnavailable
from gateway.store import scripts
from gateway.store.client import ScriptChannel, connect
from gateway.store.scripts import Script
from tests.store.fake_server import HANG_UP, Answer, FakeServer
from tests.store.shop import Shop, Terms
from tests.support.ports import free_port
from tests.support.servers import RedisServer

DEADLINE_S = 0.25
SLACK_S = 5.0
"""What a busy machine may add to a deadline."""

NOSCRIPT = b"-NOSCRIPT No matching script. Please use EVAL.\r\n"

StartServer = Callable[..., RedisServer]
OpenShop = Callable[[str], Awaitable[Shop]]


def script(text: str) -> Script:
    header = scripts.Header("counts", ("KEYS[1] counter",), ("none",), "the count")
    return Script("count", text, sha1(text.encode()).hexdigest(), header)


COUNT = script("return { redis.call('INCR', KEYS[1]) }")


@asynccontextmanager
async def channel_to(url: str, call_timeout_s: float = DEADLINE_S) -> AsyncIterator[ScriptChannel]:
    client = connect(url, connect_timeout_s=1.0)
    channel = ScriptChannel(client, SystemClock(), call_timeout_s=call_timeout_s)
    try:
        yield channel
    finally:
        await channel.close()
        await client.aclose()


async def hung_up(channel: ScriptChannel) -> None:
    """Return when the idle connection's end has been noticed."""
    connection = channel._connection
    assert connection is not None
    while not await connection.can_read():
        await asyncio.sleep(0)


async def count(channel: ScriptChannel) -> int:
    [value] = await channel.run(COUNT, ["counter"], [])
    return int(value)


# Against servers that answer as they are told to.


async def test_an_unknown_script_is_sent_whole_and_once() -> None:
    async with (
        FakeServer(NOSCRIPT, b"*1\r\n:1\r\n", b"*1\r\n:2\r\n") as server,
        channel_to(server.url) as channel,
    ):
        assert await count(channel) == 1
        assert await count(channel) == 2
    assert server.received == ["EVALSHA", "EVAL", "EVALSHA"]


@pytest.mark.parametrize(
    "refusal",
    [
        "READONLY You can't write against a read only replica.",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "LOADING Redis is loading the dataset in memory",
        "MISCONF Redis is configured to save RDB snapshots, but it's unable to persist to disk.",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "CLUSTERDOWN The cluster is down",
        "BUSY Redis is busy running a script.",
        "NOAUTH Authentication required.",
        "NOPERM User default has no permissions to run the 'evalsha' command",
        "NOREPLICAS Not enough good replicas to write.",
    ],
)
async def test_a_refusal_says_that_nothing_happened(refusal: str) -> None:
    async with (
        FakeServer(f"-{refusal}\r\n".encode(), b"*1\r\n:1\r\n") as server,
        channel_to(server.url) as channel,
    ):
        with pytest.raises(StoreUnavailable):
            await count(channel)
        assert server.received == ["EVALSHA"]
        assert await count(channel) == 1


async def test_a_breach_is_its_own_error() -> None:
    async with (
        FakeServer(b"-INVARIANT phone\r\n", b"*1\r\n:1\r\n") as server,
        channel_to(server.url) as channel,
    ):
        with pytest.raises(InvariantBreach, match="phone"):
            await count(channel)
        assert await count(channel) == 1


async def test_a_fault_in_a_script_is_not_hidden() -> None:
    async with (
        FakeServer(b"-ERR user_script:1: attempt to index a nil value\r\n") as server,
        channel_to(server.url) as channel,
    ):
        with pytest.raises(ResponseError, match="attempt to index"):
            await count(channel)


@pytest.mark.parametrize(
    "answers",
    [
        [HANG_UP],
        [],
        [b"*1\r\n:"],
        [b"?what\r\n"],
        [NOSCRIPT, HANG_UP],
        [NOSCRIPT],
    ],
    ids=["hung up", "silent", "cut off", "garbled", "hung up after reload", "silent after reload"],
)
async def test_no_answer_is_an_unknown_outcome_and_no_repeat(answers: list[Answer]) -> None:
    async with FakeServer(*answers) as server, channel_to(server.url) as channel:
        begun = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            await count(channel)
        assert time.monotonic() - begun < 2 * DEADLINE_S + SLACK_S
        assert server.received == ["EVALSHA", "EVAL"][: 2 if NOSCRIPT in answers else 1]
        server.answers = [b"*1\r\n:7\r\n"]
        assert await count(channel) == 7, "the next call has a connection of its own"


async def test_a_server_that_takes_connections_and_says_nothing_is_unavailable() -> None:
    async with FakeServer(mute=True) as server, channel_to(server.url) as channel:
        begun = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await count(channel)
        assert time.monotonic() - begun < DEADLINE_S + SLACK_S


async def test_a_refused_connection_is_unavailable() -> None:
    async with channel_to(f"redis://127.0.0.1:{free_port()}/0") as channel:
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await count(channel)


async def test_an_answer_that_came_too_late_is_not_the_next_calls() -> None:
    late: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    async with (
        FakeServer(lambda: late, b"*1\r\n:2\r\n") as server,
        channel_to(server.url) as channel,
    ):
        with pytest.raises(OutcomeUnknown):
            await count(channel)
        late.set_result(b"*1\r\n:1\r\n")
        assert await count(channel) == 2


@pytest.mark.parametrize("answered_first", [False, True])
async def test_an_answer_to_a_cancelled_call_is_not_the_next_calls(answered_first: bool) -> None:
    late: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    async with (
        FakeServer(lambda: late, b"*1\r\n:2\r\n") as server,
        channel_to(server.url, call_timeout_s=SLACK_S) as channel,
    ):
        call = asyncio.ensure_future(count(channel))
        await server.wait_for(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        if answered_first:
            late.set_result(b"*1\r\n:1\r\n")
        again = asyncio.ensure_future(count(channel))
        await server.wait_for(2)
        if not answered_first:
            late.set_result(b"*1\r\n:1\r\n")
        assert await again == 2


# Against servers that are killed, paused and filled.


async def test_scripts_are_loaded_again_after_a_flush(shop: Shop) -> None:
    await shop.put("phone", 5)
    await shop.held("a")
    await shop.raw("SCRIPT", "FLUSH")
    await shop.held("b")
    await shop.held("c")
    assert await shop.terms() == Terms(5, 2, held=3)


async def test_a_connection_dropped_while_idle_is_replaced(start_server: StartServer) -> None:
    server = start_server("redis", appendfsync="no")
    async with channel_to(server.url, SLACK_S) as channel:
        assert await count(channel) == 1
        for expected in (2, 3):
            server.call("CLIENT", "KILL", "TYPE", "normal")
            await hung_up(channel)
            assert await count(channel) == expected


async def test_a_server_killed_while_idle_is_unavailable_until_it_is_back(
    start_server: StartServer,
) -> None:
    server = start_server("redis")
    async with channel_to(server.url, SLACK_S) as channel:
        assert await count(channel) == 1
        server.kill()
        await hung_up(channel)
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await count(channel)
        server.restart()
        assert await count(channel) == 2


async def test_a_paused_server_runs_the_call_at_most_once(
    start_server: StartServer, open_shop: OpenShop
) -> None:
    server = start_server("redis")
    shop = await open_shop(server.url)
    await shop.put("phone", 5)
    # A hold of its own loads the script, so that the one in doubt is not lost to NOSCRIPT.
    await shop.held("warm")
    shop.channel._call_timeout_s = DEADLINE_S
    server.pause()
    begun = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        await shop.hold("a")
    with pytest.raises(StoreUnavailable):
        await shop.hold("b")
    assert time.monotonic() - begun < 2 * DEADLINE_S + SLACK_S
    server.resume()
    shop.channel._call_timeout_s = SLACK_S
    while await shop.terms() == Terms(5, 4, held=1):
        pass  # what the paused server had received, it now reads
    answer = await shop.hold("a")
    assert answer.code == Reply.REPLAYED
    assert answer.a.decode() == await shop.record("a")
    assert await shop.terms() == Terms(5, 3, held=2)
    await shop.check()


@pytest.mark.parametrize("kind", ["redis", "valkey"])
async def test_a_server_killed_in_mid_call_gives_one_answer_in_the_end(
    start_server: StartServer, open_shop: OpenShop, kind: str
) -> None:
    server = start_server(kind)
    shop = await open_shop(server.url)
    await shop.put("phone", 5)
    await shop.held("a")
    server.pause()
    call = asyncio.ensure_future(shop.confirm("a", "pay-1"))
    while not call.done() and not shop.channel._connection.is_connected:  # type: ignore[union-attr]
        await asyncio.sleep(0)
    server.kill()
    with pytest.raises(OutcomeUnknown):
        await call
    server.restart()
    await shop.raw("PING")
    assert await shop.confirm("a", "pay-1") in (Reply.DONE, Reply.UNCHANGED)
    assert await shop.confirm("a", "pay-1") is Reply.UNCHANGED
    assert await shop.terms() == Terms(5, 4, unsettled=1)
    await shop.check()


REFUSING = {
    "read-only": (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
    "full": (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
    "alone": (
        ("CONFIG", "SET", "min-replicas-to-write", "1"),
        ("CONFIG", "SET", "min-replicas-to-write", "0"),
    ),
}


@pytest.mark.parametrize("kind", ["redis", "valkey"])
async def test_a_server_that_takes_no_writes_is_unavailable_and_unchanged(
    start_server: StartServer, open_shop: OpenShop, kind: str
) -> None:
    server = start_server(kind, appendfsync="no")
    shop = await open_shop(server.url)
    await shop.put("phone", 5)
    for key in ("held", "confirmed"):
        await shop.held(key)
    await shop.confirm("confirmed")
    await shop.take()
    before = await shop.dump()
    for name, (refuse, allow) in REFUSING.items():
        server.call(*refuse)
        for call in (
            shop.hold("new"),
            shop.confirm("held"),
            shop.release("held"),
            shop.settle("confirmed"),
            shop.move("phone", 1),
        ):
            with pytest.raises(StoreUnavailable):
                await call
        server.call(*allow)
        assert await shop.dump() == before, name
    await shop.held("new")
    assert await shop.settle("confirmed") == [Reply.DONE]
    await shop.check()
