"""Transactions with turns and deadlines, on any driver."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from gateway.core.clock import Clock
from gateway.core.errors import InvariantBreach, LedgerUnavailable
from gateway.ledger.drivers import Driver, Work
from gateway.ledger.refusals import concerns_data

T = TypeVar("T")

RUNS_MAX = 5
"""Runs of one write that keeps clashing with others."""

CLASH_PAUSE_S = 0.02
"""Longest pause after the first clash; it grows with each."""

CLASHES = ("40001", "40P01")
"""SQLSTATE of a failed serialization and of a deadlock: nothing was committed."""


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

    async def attempt(self, work: Work[T]) -> T:
        """Run `work` once and commit it.

        Raises, beside what every call does:
            DBAPIError: it clashed with what is written; nothing of it was.
        """
        return await self._bounded(work, writes=True, timeout_s=None)

    async def write(self, work: Work[T], *, timeout_s: float | None = None) -> T:
        """Run `work` and commit it; after a clash with other writers, again on what they wrote.

        A clash shows as a deadlock, a failed serialization, or a violated key. A violation that
        stays is our own mistake.
        """
        for clashes in range(1, RUNS_MAX):
            try:
                return await self._bounded(work, writes=True, timeout_s=timeout_s)
            except IntegrityError as error:
                if clashes > 1:
                    raise InvariantBreach(f"the ledger refused a write: {error.orig}") from error
            except DBAPIError:
                await self._clock.sleep(self._clock.jitter() * clashes * CLASH_PAUSE_S)
        try:
            return await self._bounded(work, writes=True, timeout_s=timeout_s)
        except IntegrityError as error:
            raise InvariantBreach(f"the ledger refused a write: {error.orig}") from error
        except DBAPIError as error:
            raise LedgerUnavailable(f"the ledger failed {RUNS_MAX} times: {error.orig}") from error

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
        except TimeoutError as error:
            raise LedgerUnavailable(f"the ledger did not answer in {limit_s:g} s") from error
        except DBAPIError as error:
            if writes and _is_clash(error):
                raise
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


def _is_clash(error: DBAPIError) -> bool:
    sqlstate = getattr(error.orig, "sqlstate", None)
    return isinstance(error, IntegrityError) or sqlstate in CLASHES
