"""Fixtures that any test may ask for: real servers, and every store in turn."""

import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from tests.support.postgres import PostgresServer
from tests.support.servers import Kind, RedisServer, ServerMissing, in_ci
from tests.support.soak_report import SoakReport

STORES = ("memory", "redis", "valkey")


def pytest_configure(config: pytest.Config) -> None:
    """Makes SIGTERM end the run in good order, so that its servers are ended too."""
    if config.option.markexpr == "soak":
        config.pluginmanager.register(SoakReport())

    def leave(number: int, _frame: FrameType | None) -> None:
        pytest.exit("terminated", returncode=128 + number)

    signal.signal(signal.SIGTERM, leave)


def make_server(kind: Kind, **options: Any) -> RedisServer:
    """A server that is not started yet; without its program the test skips, and fails in CI."""
    try:
        return RedisServer(kind, **options)
    except ServerMissing as missing:
        if in_ci():
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


def make_postgres(**options: Any) -> PostgresServer:
    """The same for PostgreSQL."""
    try:
        return PostgresServer(**options)
    except ServerMissing as missing:
        if in_ci():
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One Redis for the whole run, with the shipped settings. Do not kill it: `start_server`."""
    with make_server("redis") as server:
        yield server


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[RedisServer]:
    """One Valkey for the whole run, with the shipped settings. Do not kill it: `start_server`."""
    with make_server("valkey") as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL for the whole run, without fsync; a database a test: `new_database()`."""
    with make_postgres() as server:
        yield server


@pytest.fixture
def start_server() -> Iterator[Callable[..., RedisServer]]:
    """Starts servers of the test's own, to kill, pause and restart: `start_server("valkey")`.

    Takes what RedisServer takes. They are stopped when the test ends.
    """
    servers: list[RedisServer] = []

    def start(kind: Kind = "redis", **options: Any) -> RedisServer:
        server = make_server(kind, **options)
        servers.append(server)
        return server.start()

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(params=STORES)
def store_url(request: pytest.FixtureRequest) -> str:
    """An empty store of each kind: fakeredis (`memory://`), Redis and Valkey."""
    if request.param == "memory":
        return "memory://"
    server: RedisServer = request.getfixturevalue(f"{request.param}_server")
    server.call("FLUSHALL")
    server.call("SCRIPT", "FLUSH")
    return server.url
