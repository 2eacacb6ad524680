"""The servers that other tests lean on do what they say."""

from collections.abc import Callable

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests import conftest
from tests.support import servers
from tests.support.processes import processes_in
from tests.support.servers import Kind, RedisServer, ServerFailed, ServerMissing

StartServer = Callable[..., RedisServer]
KINDS: tuple[Kind, ...] = ("redis", "valkey")


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_answered_survives_a_kill(start_server: StartServer, kind: Kind) -> None:
    server = start_server(kind)
    port, pid = server.port, server.pid
    server.call("SET", "unit", 1)

    server.kill()
    with pytest.raises(redis.ConnectionError):
        server.call("PING")
    server.restart()

    assert server.call("GET", "unit") == "1"
    assert server.port == port
    assert server.pid != pid


def test_a_paused_server_is_silent_and_then_goes_on(start_server: StartServer) -> None:
    server = start_server()
    once = Retry(NoBackoff(), 0)
    with redis.Redis(host="127.0.0.1", port=server.port, socket_timeout=0.1, retry=once) as client:
        client.ping()
        server.pause()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        server.resume()
    assert server.call("ECHO", "awake") == "awake"


def test_a_paused_server_can_be_stopped() -> None:
    with RedisServer() as server:
        directory = server.directory
        server.pause()
    assert not directory.exists()


def test_nothing_is_left_running() -> None:
    with RedisServer() as server:
        folder = server.directory
        assert processes_in(folder) == [server.pid]
    assert processes_in(folder) == []


def test_settings_reach_the_server(start_server: StartServer) -> None:
    server = start_server("redis", appendfsync="no", extra={"maxmemory": "64mb"})
    assert server.call("CONFIG", "GET", "appendfsync") == {"appendfsync": "no"}
    assert server.call("CONFIG", "GET", "maxmemory") == {"maxmemory": str(64 * 1024 * 1024)}


def test_a_server_that_cannot_start_shows_its_log() -> None:
    server = RedisServer(extra={"appendonly": "perhaps"})
    try:
        with pytest.raises(ServerFailed, match="argument must be 'yes' or 'no'"):
            server.start()
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)]
)
def test_a_missing_server_fails_in_ci_and_skips_elsewhere(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    def nowhere(kind: Kind) -> str:
        raise ServerMissing(f"no {kind} here")

    monkeypatch.setattr(servers, "find_program", nowhere)
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="no redis here"):
        conftest.make_server("redis")


def test_every_store_is_empty_and_usable(store_url: str) -> None:
    if store_url == "memory://":
        return
    with redis.Redis.from_url(store_url) as client:
        assert client.dbsize() == 0
        client.set("left", "behind")
