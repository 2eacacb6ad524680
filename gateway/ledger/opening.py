"""Opens a ledger: is it there, readable, writable, and are its tables of this version?"""

from pathlib import Path

from gateway.core.clock import Clock
from gateway.core.errors import LedgerUnavailable, SetupError
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
ACCESS = "make the folder exist and let this user write to it, or set `ledger` to another path"
BUSY = "stop the other program that has it open for writing, then try again"


async def open_database(url: str, clock: Clock, timeout_s: float, *, migrate: bool) -> Database:
    """See Ledger.open."""
    database = Database(driver_for(url, timeout_s), clock, timeout_s)
    try:
        await _check(database, migrate=migrate)
    except LedgerUnavailable as error:
        await database.close()
        path = sqlite_file(database.url)
        if path is None:
            raise
        raise _explain(path, str(error)) from error
    except BaseException:
        await database.close()
        raise
    return database


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
        hint="run `stockgate ledger migrate`",
    )


def _explain(path: Path, reason: str) -> SetupError:
    if "readonly" in reason:
        return SetupError(f"the ledger file {path} cannot be written: {reason}", hint=ACCESS)
    if "unable to open" in reason or "disk I/O" in reason:
        return SetupError(f"the ledger file {path} cannot be opened: {reason}", hint=ACCESS)
    if "locked" in reason or "did not answer" in reason:
        return SetupError(f"the ledger file {path} is in use: {reason}", hint=BUSY)
    return SetupError(f"the ledger file {path} is damaged or no ledger: {reason}", hint=RESTORE)
