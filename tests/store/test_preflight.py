"""What is looked at before any stock is trusted to a Redis."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.core.clock import SystemClock
from gateway.core.errors import SetupError
from gateway.store import preflight
from gateway.store.client import connect
from tests.store.fake_server import FakeServer
from tests.support.ports import free_port
from tests.support.servers import RedisServer

StartServer = Callable[..., RedisServer]


@asynccontextmanager
async def client_of(url: str) -> AsyncIterator[Redis]:
    client = connect(url, connect_timeout_s=1.0)
    try:
        yield client
    finally:
        await client.aclose()


async def look(url: str, shards: int = 1, timeout_s: float = 10.0) -> list[str]:
    async with client_of(url) as client:
        return await preflight.check(client, url, shards, SystemClock(), timeout_s)


@pytest.mark.parametrize("kind", ["redis", "valkey"])
async def test_a_server_that_keeps_every_promise_goes_unremarked(
    start_server: StartServer, kind: str
) -> None:
    assert await look(start_server(kind).url) == []


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "allkeys-random"])
async def test_a_server_that_evicts_is_refused(start_server: StartServer, policy: str) -> None:
    server = start_server("redis", extra={"maxmemory-policy": policy})
    with pytest.raises(SetupError, match=f"maxmemory-policy {policy}") as refused:
        await look(server.url)
    assert "noeviction" in refused.value.hint
    assert server.call("KEYS", "*") == [], "nothing was written to it"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"appendfsync": "everysec"}, "appendfsync everysec"),
        ({"extra": {"appendonly": "no"}}, "appendonly no"),
    ],
)
async def test_weak_persistence_is_said_out_loud(
    start_server: StartServer, options: dict[str, Any], words: str
) -> None:
    [notice] = await look(start_server("redis", **options).url)
    assert words in notice
    assert "may forget" in notice


async def test_memory_is_said_to_be_memory() -> None:
    [notice] = await look("memory://")
    assert "nothing survives" in notice


@pytest.mark.parametrize("url_kind", ["memory", "redis", "valkey"])
async def test_the_number_of_shards_is_fixed_at_first_use(
    url_kind: str, request: pytest.FixtureRequest
) -> None:
    url = "memory://"
    if url_kind != "memory":
        server: RedisServer = request.getfixturevalue(f"{url_kind}_server")
        server.call("FLUSHALL")
        url = server.url
    async with client_of(url) as client:
        await preflight.check(client, url, 4, SystemClock(), 10.0)
        await preflight.check(client, url, 4, SystemClock(), 10.0)
        with pytest.raises(SetupError, match=r"shards 4.*configured for 5") as refused:
            await preflight.check(client, url, 5, SystemClock(), 10.0)
    assert "shards 4" in refused.value.hint


async def test_a_store_of_another_format_is_refused(redis_server: RedisServer) -> None:
    redis_server.call("FLUSHALL")
    redis_server.call("HSET", "sg:meta", "format", "0")
    with pytest.raises(SetupError, match="format 0"):
        await look(redis_server.url)


@pytest.mark.parametrize("version", ["6.2.14", "5.0.0", "0", "garbage"])
async def test_a_server_that_is_too_old_is_refused(
    redis_server: RedisServer, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis_server.call("FLUSHALL")

    async def info(_client: Redis, *_sections: str) -> dict[str, str]:
        return {"redis_version": version}

    monkeypatch.setattr(Redis, "info", info)
    with pytest.raises(SetupError, match=rf"Redis {version}; at least 7\.0"):
        await look(redis_server.url)
    assert redis_server.call("KEYS", "*") == []


@pytest.mark.parametrize("version", ["7.0.0", "7.2.4", "8.0", "10.1.1"])
async def test_a_server_that_is_new_enough_is_taken(
    redis_server: RedisServer, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis_server.call("FLUSHALL")

    async def info(_client: Redis, *_sections: str) -> dict[str, str]:
        return {"redis_version": version}

    monkeypatch.setattr(Redis, "info", info)
    assert await look(redis_server.url) == []


async def test_a_server_that_is_not_there_is_named(start_server: StartServer) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    with pytest.raises(SetupError, match=url) as refused:
        await look(url)
    assert "store" in refused.value.hint


async def test_a_server_that_says_nothing_is_given_up() -> None:
    async with FakeServer(mute=True) as server:
        with pytest.raises(SetupError, match="cannot be reached"):
            await look(server.url, timeout_s=0.2)


async def test_a_server_that_wants_a_password_says_so(start_server: StartServer) -> None:
    server = start_server("redis")
    server.call("CONFIG", "SET", "requirepass", "secret")
    try:
        with pytest.raises(SetupError, match="Authentication required"):
            await look(server.url)
        assert await look(f"redis://:secret@127.0.0.1:{server.port}/0") == []
    finally:
        server.stop()


async def test_a_server_that_hides_its_settings_is_taken_with_a_notice(
    start_server: StartServer,
) -> None:
    server = start_server("redis")
    server.call("ACL", "SETUSER", "shop", "on", ">pw", "~*", "&*", "+@all", "-config")
    [notice] = await look(f"redis://shop:pw@127.0.0.1:{server.port}/0")
    assert "not checked" in notice
    assert "pw" not in notice


async def test_a_replica_is_refused(start_server: StartServer) -> None:
    server = start_server("redis")
    server.call("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(SetupError, match="read only"):
        await look(server.url)
