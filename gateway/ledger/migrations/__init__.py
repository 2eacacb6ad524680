"""The versions of the ledger's tables. Alembic is imported only when there is work for it."""

import asyncio
import importlib
from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select, update

VERSION_TABLE = "ledger_version"
KNOWN = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")
HEAD = KNOWN[-1]

TURN = 0x73746F636B
"""The advisory lock of whoever migrates a PostgreSQL ledger."""

TURN_WAIT_S = 60

_versions = Table(VERSION_TABLE, MetaData(), Column("version_num", String))


def version(connection: Connection) -> str | None:
    """The version of the tables, None where there are none."""
    if not _has_versions(connection):
        return None
    return connection.execute(select(_versions.c.version_num)).scalar_one_or_none()


async def load() -> None:
    """Import Alembic off the event loop: it takes its time."""
    await asyncio.to_thread(importlib.import_module, "alembic.command")


def upgrade(connection: Connection) -> None:
    """Bring the tables to HEAD inside the transaction of `connection`: all of it or nothing.

    Whoever waited for another process's migration finds nothing left to do.
    """
    _take_turn(connection)
    if version(connection) != HEAD:
        _upgrade(connection)


def _take_turn(connection: Connection) -> None:
    """SQLite has one writer at a time anyway."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{TURN_WAIT_S}s'")
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")  # the caller has a deadline
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({TURN})")


def probe(connection: Connection) -> None:
    """Write what is there already: refused where this user may only read."""
    connection.execute(update(_versions).values(version_num=HEAD))


def _has_versions(connection: Connection) -> bool:
    return inspect(connection).has_table(VERSION_TABLE)


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    command.upgrade(config, "head")
