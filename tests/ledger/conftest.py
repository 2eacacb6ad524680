"""A ledger of each kind in turn, and a way to its tables that does not go through the gateway."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gateway.core.clock import SystemClock
from gateway.ledger import Ledger
from tests.conftest import make_postgres
from tests.ledger.backdoor import Backdoor, PostgresBackdoor, SqliteBackdoor
from tests.support.postgres import PostgresServer

MIGRATED = "ledger_template"


def in_a_thread(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `work` where no event loop is running."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(work())).result()


async def migrate(url: str) -> None:
    await (await Ledger.open(url, SystemClock(), migrate=True)).close()


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: PostgresServer) -> PostgresServer:
    """The server, with a migrated database to copy: `new_database(MIGRATED)`."""
    postgres_server.sql(f"CREATE DATABASE {MIGRATED} TEMPLATE template0")
    in_a_thread(lambda: migrate(postgres_server.url(MIGRATED)))
    return postgres_server


@pytest.fixture
def ledger_file(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def file_url(ledger_file: Path) -> str:
    return f"sqlite:///{ledger_file}"


@pytest.fixture(params=["file", "postgresql"])
def kept_url(request: pytest.FixtureRequest) -> str:
    """A ledger that outlives its process; on PostgreSQL with its tables made."""
    if request.param == "file":
        url: str = request.getfixturevalue("file_url")
        return url
    server: PostgresServer = request.getfixturevalue("migrated_postgres")
    return server.url(server.new_database(MIGRATED))


@pytest.fixture
def ledger_without_tables_of(request: pytest.FixtureRequest, file_url: str) -> Callable[[str], str]:
    """The address of a ledger of some kind before its first start."""

    def address(kind: str) -> str:
        if kind == "file":
            return file_url
        server: PostgresServer = request.getfixturevalue("postgres_server")
        return server.url(server.new_database())

    return address


@pytest.fixture(params=["file", "postgresql"])
def ledger_without_tables(
    request: pytest.FixtureRequest, ledger_without_tables_of: Callable[[str], str]
) -> str:
    """Every kind of ledger that outlives its process, before its first start."""
    return ledger_without_tables_of(request.param)


@pytest.fixture(params=["file", "memory", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, file_url: str) -> str:
    """Every kind of ledger."""
    if request.param == "memory":
        return "sqlite+aiosqlite://"
    if request.param == "file":
        return file_url
    server: PostgresServer = request.getfixturevalue("migrated_postgres")
    return server.url(server.new_database(MIGRATED))


@pytest.fixture
async def ledger(ledger_url: str) -> AsyncIterator[Ledger]:
    opened = await Ledger.open(ledger_url, SystemClock(), migrate=True)
    yield opened
    await opened.close()


@pytest.fixture
async def kept_ledger(kept_url: str) -> AsyncIterator[Ledger]:
    opened = await Ledger.open(kept_url, SystemClock(), migrate=True)
    yield opened
    await opened.close()


@pytest.fixture
async def file_ledger(file_url: str) -> AsyncIterator[Ledger]:
    opened = await Ledger.open(file_url, SystemClock(), migrate=True)
    yield opened
    await opened.close()


@pytest.fixture
def backdoor(
    kept_url: str, kept_ledger: Ledger, request: pytest.FixtureRequest
) -> Iterator[Backdoor]:
    """The tables of `kept_ledger`, as whoever has the database's password reaches them."""
    if kept_url.startswith("sqlite"):
        with SqliteBackdoor(kept_url) as door:
            yield door
    else:
        server: PostgresServer = request.getfixturevalue("migrated_postgres")
        yield PostgresBackdoor(server, kept_url)


@pytest.fixture
def start_postgres() -> Iterator[Callable[..., PostgresServer]]:
    """Starts servers of the test's own, to kill, pause and restart. Takes what it takes."""
    servers: list[PostgresServer] = []

    def start(**options: bool) -> PostgresServer:
        servers.append(make_postgres(**options))
        return servers[-1].start()

    yield start
    for server in servers:
        server.stop()
