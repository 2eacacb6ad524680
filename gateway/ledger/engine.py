"""Transactions with turns and deadlines, on any driver."""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Dialect, Table, insert
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from gateway.core.clock import Clock
from gateway.core.errors import InvariantBreach, LedgerUnavailable
from gateway.ledger.drivers import Driver, Work
from gateway.ledger.refusals import concerns_data

T = TypeVar("T")


class Database:
    """Runs units of work, each in one transaction that ends within `timeout_s`.

    Writers queue for their turn (one at a time on SQLite) in this process, first come first
    served, rather than fight for the database's lock; who does not get a turn in time is told so.

    Raises (every call):
        LedgerUnavailable: the database could not be asked or did not commit.
        InvariantBreach: a constraint refused what the code tried to write.
    """

    def __init__(self, driver: Driver, clock: Clock, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._driver = driver
        self._clock = clock
        self._writers = asyncio.Semaphore(driver.writers_max)
        separate = driver.readers_max > 0
        self._readers = asyncio.Semaphore(driver.readers_max) if separate else self._writers
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    @property
    def url(self) -> URL:
        """Where the database is; may carry a password."""
        return self._driver.url

    async def read(self, work: Work[T], *, timeout_s: float | None = None) -> T:
        """Run `work` on one snapshot of the database; it must not write."""
        return await self._bounded(work, writes=False, timeout_s=timeout_s)

    async def write(self, work: Work[T], *, timeout_s: float | None = None) -> T:
        """Run `work` and commit it.

        A clash with another writer's new row shows as a violated key: the second run sees that
        row. A violation that stays is our own mistake.
        """
        try:
            return await self._bounded(work, writes=True, timeout_s=timeout_s)
        except IntegrityError:
            pass
        try:
            return await self._bounded(work, writes=True, timeout_s=timeout_s)
        except IntegrityError as error:
            raise InvariantBreach(f"the ledger refused a write: {error.orig}") from error

    async def close(self) -> None:
        """Let running work end, then drop the connections. Calls after it find no ledger."""
        if self._closed:
            return
        self._closed = True
        if self._running:
            await asyncio.wait(self._running, timeout=self.timeout_s)
        with suppress(TimeoutError):
            async with self._clock.timeout(self.timeout_s):
                await self._driver.close()

    async def _bounded(self, work: Work[T], *, writes: bool, timeout_s: float | None) -> T:
        limit_s = timeout_s or self.timeout_s
        turn = self._writers if writes else self._readers
        try:
            async with self._clock.timeout(limit_s):
                await turn.acquire()
                self._check_open(turn)
                task = self._start(turn, self._driver.run(work, writes=writes))
                return await self._outlived_by(task)
        except IntegrityError:
            raise
        except TimeoutError as error:
            raise LedgerUnavailable(f"the ledger did not answer in {limit_s:g} s") from error
        except DBAPIError as error:
            if concerns_data(error):
                raise InvariantBreach(f"the ledger refused a value: {error.orig}") from error
            raise LedgerUnavailable(f"the ledger failed: {error.orig}") from error
        except (SQLAlchemyError, OSError) as error:
            raise LedgerUnavailable(f"the ledger failed: {error}") from error

    def _check_open(self, turn: asyncio.Semaphore) -> None:
        if self._closed:
            turn.release()
            raise LedgerUnavailable("the ledger is closed")

    def _start(self, turn: asyncio.Semaphore, run: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        def ended(task: asyncio.Task[T]) -> None:
            self._running.discard(task)
            turn.release()
            if not task.cancelled():
                task.exception()  # nobody may be waiting for it any more

        task = asyncio.create_task(run)
        self._running.add(task)
        task.add_done_callback(ended)
        return task

    async def _outlived_by(self, task: asyncio.Task[T]) -> T:
        """Wait for a transaction that goes on, and keeps its turn, when its caller goes away."""
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if self._driver.abandons:
                task.cancel()
            raise


def insert_rows(
    connection: Connection, table: Table, columns: tuple[str, ...], rows: Sequence[Any]
) -> None:
    """Insert tuples in the order of `columns`.

    The statement is compiled once for the dialect and fed with plain tuples: turning 3 rows a
    deduction from dicts into the driver's order cost more than all the rest.
    """
    if rows:
        sql = _insert_sql(table, columns, connection.dialect)
        connection.exec_driver_sql(sql, rows)


@lru_cache(maxsize=64)
def _insert_sql(table: Table, columns: tuple[str, ...], dialect: Dialect) -> str:
    compiled = insert(table).compile(dialect=dialect, column_keys=list(columns))
    if tuple(compiled.positiontup or ()) != columns:
        raise AssertionError(f"{dialect.name} does not take its parameters in the order given")
    return str(compiled)
