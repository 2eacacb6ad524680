"""Opens a ledger: is it there, readable, writable, and are its tables of this version?"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from gateway.core.clock import Clock
from gateway.core.errors import LedgerUnavailable, SetupError, StockgateError
from gateway.ledger import migrations
from gateway.ledger.drivers import describe, driver_for, quick_check, sqlite_file
from gateway.ledger.engine import Database

MIGRATION_TIMEOUT_S = 600.0
CHECK_TIMEOUT_S = 60.0
CHECKED_BYTES_MAX = 64 * 1024 * 1024
"""Larger files are not read through at start; their damage shows when it is met."""

RESTORE = (
    "restore it from a backup; or, if its sales may be lost, move it away together with its"
    " -wal and -shm files and start with an empty ledger"
)
MIGRATE = "stockgate ledger migrate"
ACCESS = "make the folder exist and let this user write to it, or set `ledger` to another path"
REFUSALS = {
    "28P01": "check user and password in `ledger` (special characters are written %40 and so on)",
    "28000": "let this user in from this host (pg_hba.conf), or name another in `ledger`",
    "3D000": "create the database (CREATE DATABASE ...), or name another in `ledger`",
    "42501": "make this user the owner of the database, or let it create tables there",
}
"""What to do, by SQLSTATE."""

BUSY = "stop the other program that has it open for writing, then try again"


class LedgerState(msgspec.Struct, frozen=True):
    """Where a ledger is, for people, and the version of its tables, None when it has none."""

    address: str
    version: str | None
    head: str = migrations.HEAD


async def open_database(url: str, clock: Clock, timeout_s: float, *, migrate: bool) -> Database:
    """See Ledger.open."""
    database = Database(driver_for(url, timeout_s), clock, timeout_s)
    try:
        async with _explained(database.url):
            await _check(database, migrate=migrate)
    except BaseException:
        await database.close()
        raise
    return database


async def look(url: str, clock: Clock, timeout_s: float) -> LedgerState:
    """See Ledger.look."""
    database = Database(driver_for(url, timeout_s), clock, timeout_s)
    path = sqlite_file(database.url)
    try:
        if path is not None and not path.exists():
            return LedgerState(describe(database.url), None)
        async with _explained(database.url):
            version = await database.read(migrations.version)
        return LedgerState(describe(database.url), version)
    finally:
        await database.close()


@asynccontextmanager
async def _explained(url: URL) -> AsyncIterator[None]:
    """What failed, in words that a person can act on."""
    try:
        yield
    except LedgerUnavailable as error:
        path = sqlite_file(url)
        if path is not None:
            raise _explain(path, str(error)) from error
        raise _explain_server(describe(url), error) from error


async def _check(database: Database, *, migrate: bool) -> None:
    path = sqlite_file(database.url)
    if path is not None:
        await _check_file(database, path, create=migrate)
    version = await database.read(migrations.version)
    if version not in (*migrations.KNOWN, None):
        raise SetupError(
            f"the ledger {describe(database.url)} has tables of version {version},"
            f" which this stockgate does not know (it knows {migrations.HEAD})",
            hint="run the newer stockgate that wrote it",
        )
    if version != migrations.HEAD and not migrate:
        raise _outdated(database, f"has tables of version {version}" if version else "is empty")
    if version != migrations.HEAD:
        await migrations.load()
        await database.write(migrations.upgrade, timeout_s=MIGRATION_TIMEOUT_S)
    await database.write(migrations.probe)


async def _check_file(database: Database, path: Path, *, create: bool) -> None:
    if not create and _size_bytes(path) is None:
        raise _outdated(database, "does not exist")
    if (_size_bytes(path) or 0) <= CHECKED_BYTES_MAX:
        damage = await database.read(quick_check, timeout_s=CHECK_TIMEOUT_S)
        if damage:
            raise LedgerUnavailable(damage)


def _size_bytes(path: Path) -> int | None:
    return path.stat().st_size if path.exists() else None


def _outdated(database: Database, what: str) -> SetupError:
    return SetupError(
        f"the ledger {describe(database.url)} {what}; version {migrations.HEAD} is needed",
        hint=f"run `{MIGRATE}`",
    )


def _explain(path: Path, reason: str) -> SetupError:
    if "readonly" in reason:
        return SetupError(f"the ledger file {path} cannot be written: {reason}", hint=ACCESS)
    if "unable to open" in reason or "disk I/O" in reason:
        return SetupError(f"the ledger file {path} cannot be opened: {reason}", hint=ACCESS)
    if "locked" in reason or "did not answer" in reason:
        return SetupError(f"the ledger file {path} is in use: {reason}", hint=BUSY)
    return SetupError(f"the ledger file {path} is damaged or no ledger: {reason}", hint=RESTORE)


def _explain_server(address: str, error: LedgerUnavailable) -> StockgateError:
    """A person must act where the server refuses; otherwise it may answer later."""
    cause = error.__cause__
    sqlstate = getattr(cause.orig if isinstance(cause, DBAPIError) else cause, "sqlstate", "")
    if sqlstate in REFUSALS:
        return SetupError(f"the ledger {address} refuses: {error}", hint=REFUSALS[sqlstate])
    return LedgerUnavailable(f"the ledger {address} cannot be used: {error}")
