"""How a transaction reaches a database: SQLite in threads, PostgreSQL over the network.

SQLite takes one writer: other processes are waited for by `busy_timeout`, and BEGIN IMMEDIATE
takes the write lock before the first read, so what a transaction read still holds when it writes.
PostgreSQL locks rows instead (`SELECT ... FOR UPDATE`, which SQLite leaves out of its SQL).
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from gateway.core.errors import SetupError

T = TypeVar("T")
Work = Callable[[Connection], T]

READERS_MAX = 4
FORMS = "write sqlite:///path/to/ledger.db or postgresql+asyncpg://host/name"


class Driver(Protocol):
    """Runs transactions. `readers_max` 0: reads take turns with the writes.

    abandons: a transaction may be cancelled; otherwise it ends by itself soon.
    """

    url: URL
    writers_max: int
    readers_max: int
    abandons: bool

    async def run(self, work: Work[T], *, writes: bool) -> T:
        """Run `work` in one transaction and commit it."""
        ...

    async def close(self) -> None:
        """Drop the connections."""
        ...


class SqliteDriver:
    """A whole transaction per hop to a thread.

    A driver that hops for every statement takes the event loop 3.5 ms for a single deduction.
    """

    writers_max = 1
    abandons = False

    def __init__(self, url: URL, timeout_s: float) -> None:
        self.url = url
        in_memory = sqlite_file(url) is None
        self.readers_max = 0 if in_memory else READERS_MAX
        self._engine = _sqlite_engine(url, timeout_s, in_memory=in_memory)
        self._threads = ThreadPoolExecutor(READERS_MAX + 1, thread_name_prefix="ledger")

    async def run(self, work: Work[T], *, writes: bool) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._transaction, work, writes)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, self._engine.dispose)
        self._threads.shutdown(wait=False)

    def _transaction(self, work: Work[T], writes: bool) -> T:
        with self._engine.connect() as connection:
            connection.execution_options(stockgate_writes=writes)
            with connection.begin():
                return work(connection)


def driver_for(url: str, timeout_s: float) -> Driver:
    """The driver for an address; nothing is opened yet.

    Raises:
        SetupError: the address cannot be understood, or its driver is not installed.
    """
    parsed = _parse(url)
    if _is_sqlite(parsed):
        return SqliteDriver(parsed.set(drivername="sqlite"), timeout_s)
    from gateway.ledger.server_driver import ServerDriver

    return ServerDriver(parsed, timeout_s)


def sqlite_file(url: URL) -> Path | None:
    """The file of a SQLite ledger; None for one in memory or on a server."""
    if not _is_sqlite(url) or url.database in (None, "", ":memory:"):
        return None
    return Path(str(url.database))


def describe(url: URL) -> str:
    """The address as shown to people: a path, or an address without its password."""
    path = sqlite_file(url)
    return str(path) if path else url.render_as_string(hide_password=True)


def quick_check(connection: Connection) -> str:
    """What SQLite finds wrong with the pages of its file; empty when sound."""
    found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    return "" if found == "ok" else str(found)


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError):
        parsed = None
    if parsed is None or parsed.get_backend_name() not in ("sqlite", "postgresql"):
        shown = url.partition("://")[0]
        raise SetupError(
            f"the ledger's address {shown}://... is not SQLite or PostgreSQL", hint=FORMS
        )
    return parsed


def _is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


class _Cursor(Protocol):
    def execute(self, statement: str) -> object: ...
    def close(self) -> None: ...


class _DriverConnection(Protocol):
    def cursor(self) -> _Cursor: ...
    def close(self) -> None: ...


def _sqlite_engine(url: URL, timeout_s: float, *, in_memory: bool) -> Engine:
    """isolation_level None stops the driver from opening transactions of its own, late."""
    connect_args = {"isolation_level": None, "check_same_thread": False}
    pool: dict[str, Any] = {"pool_size": READERS_MAX + 1, "max_overflow": 0}
    if in_memory:
        pool = {"poolclass": StaticPool}
    engine = create_engine(url, connect_args=connect_args, hide_parameters=True, **pool)
    pragmas = (
        # Give up on another process's lock before the caller gives up on us.
        f"busy_timeout = {int(timeout_s * 800)}",
        *([] if in_memory else ["journal_mode = WAL"]),
        "synchronous = FULL",
        "foreign_keys = ON",
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: _DriverConnection, _record: object) -> None:
        try:
            cursor = connection.cursor()
            for pragma in pragmas:
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()
        except BaseException:
            connection.close()  # the pool does not know it yet
            raise

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("stockgate_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
