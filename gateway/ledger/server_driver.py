"""PostgreSQL: transactions over the network, on the event loop, with deadlines on both ends.

The server ends what runs or waits for a lock too long. The caller's deadline ends what the server
does not answer: the connection is dropped, for nobody knows what is still on its way.
"""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar
from weakref import WeakSet

from sqlalchemy import URL, event
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from gateway.core.errors import SetupError
from gateway.ledger.drivers import READERS_MAX, Work, describe

T = TypeVar("T")

WRITERS_MAX = 8
APPLICATION = "stockgate"
TLS_OPTIONS = ("ssl", "sslmode")
STALE_S = 1800
"""A connection this old is replaced, so that load spreads after a failover."""

GOODBYE_S = 1.0
"""How long the server has to take leave."""

RUNS_MAX = 2

# Reads see one snapshot. Writers see what was committed while they waited for a row.
READS = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
WRITES = {"isolation_level": "READ COMMITTED"}


class ServerDriver:
    """At most READERS_MAX + WRITERS_MAX connections.

    A connection that the server has closed is found out by using it: the work is then done again
    on another one, because nothing of it was committed. Only a lost COMMIT is told to the caller.
    """

    writers_max = WRITERS_MAX
    readers_max = READERS_MAX
    abandons = True

    def __init__(self, url: URL, timeout_s: float) -> None:
        self.url = url
        self._engine = _engine(url, timeout_s)
        self._connections: WeakSet[Any] = WeakSet()
        event.listen(self._engine.sync_engine, "connect", self._remember)

    async def run(self, work: Work[T], *, writes: bool) -> T:
        for _ in range(RUNS_MAX - 1):
            with suppress(_Stale):
                return await self._run(work, writes=writes)
        try:
            return await self._run(work, writes=writes)
        except _Stale as stale:
            raise stale.error from None

    async def close(self) -> None:
        goodbyes = [driver.close(timeout=GOODBYE_S) for driver in self._connections]
        await asyncio.gather(*goodbyes, return_exceptions=True)
        await self._engine.dispose()

    async def _run(self, work: Work[T], *, writes: bool) -> T:
        async with self._engine.connect() as connection:  # its end rolls back what is not committed
            await connection.execution_options(**(WRITES if writes else READS))
            raw: Any = await connection.get_raw_connection()
            transaction = asyncio.create_task(_transaction(connection, work))
            try:
                return await asyncio.shield(transaction)
            except asyncio.CancelledError:
                # Hang up first: a polite end would wait for a server that may never answer.
                raw.driver_connection.terminate()
                await _ended(transaction)
                await connection.invalidate()
                raise

    def _remember(self, connection: Any, _record: object) -> None:
        self._connections.add(connection.driver_connection)


class _Stale(Exception):
    """The connection was lost before anything could be committed."""

    def __init__(self, error: DBAPIError) -> None:
        super().__init__(str(error))
        self.error = error


async def _ended(transaction: asyncio.Task[Any]) -> None:
    done, _ = await asyncio.wait([transaction], timeout=GOODBYE_S)
    for task in done:
        if not task.cancelled():
            task.exception()  # that the connection was lost is no news


async def _transaction(connection: AsyncConnection, work: Work[T]) -> T:
    await connection.begin()
    try:
        done = await connection.run_sync(work)
    except DBAPIError as error:
        if error.connection_invalidated:
            raise _Stale(error) from error
        raise
    await connection.commit()
    return done


def _engine(url: URL, timeout_s: float) -> AsyncEngine:
    try:
        return create_async_engine(
            url.set(drivername="postgresql+asyncpg", query={}),
            async_creator=partial(_connect, _arguments(url, timeout_s)),
            pool_size=READERS_MAX + WRITERS_MAX,
            max_overflow=0,
            hide_parameters=True,
            pool_timeout=timeout_s,
            pool_recycle=STALE_S,
        )
    except (SQLAlchemyError, ImportError) as error:
        raise SetupError(
            f"the ledger {describe(url)} needs a driver that is not installed: {error}",
            hint="pip install 'stockgate[postgresql]'",
        ) from error


def _arguments(url: URL, timeout_s: float) -> dict[str, Any]:
    """What to call the driver with. The server gives up before the caller gives up on it."""
    settings = {
        "application_name": APPLICATION,
        "statement_timeout": str(int(timeout_s * 900)),
        "lock_timeout": str(int(timeout_s * 800)),
        "idle_in_transaction_session_timeout": str(int(timeout_s * 2000)),
    }
    return {
        "host": url.host,
        "port": url.port,
        "user": url.username,
        "password": url.password,
        "database": url.database,
        "timeout": timeout_s,
        "server_settings": settings,
        **_tls(url),
    }


async def _connect(arguments: dict[str, Any]) -> Any:
    """A connection of the driver; its errors as SQLAlchemy's, which would let them through."""
    import asyncpg

    try:
        return await asyncpg.connect(**arguments)
    except OSError:
        raise
    except Exception as error:
        raise OperationalError("connect", None, error) from error


def _tls(url: URL) -> dict[str, Any]:
    """`?ssl=verify-full`, also by libpq's name for it."""
    unknown = sorted(set(url.query) - set(TLS_OPTIONS))
    if unknown:
        raise SetupError(
            f"the ledger {describe(url)} has an option that is not known: {unknown[0]}",
            hint=f"known options: {', '.join(TLS_OPTIONS)}",
        )
    found = [url.query[name] for name in TLS_OPTIONS if name in url.query]
    return {"ssl": found[0]} if found else {}
