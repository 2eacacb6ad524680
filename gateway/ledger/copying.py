"""COPY into PostgreSQL, which only its driver offers; errors are those of SQLAlchemy."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

INTEGRITY_CLASS = "23"
"""SQLSTATE class of violated constraints."""


def copy_rows(
    connection: Connection, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Append rows to `table` within the transaction that `connection` has begun.

    Raises:
        IntegrityError: a constraint refused a row.
        DBAPIError: anything else went wrong.
    """
    adapted: Any = connection.connection.dbapi_connection

    async def copy(driver: Any) -> None:
        await driver.copy_records_to_table(table, records=rows, columns=columns)

    try:
        adapted.run_async(copy)
    except Exception as error:
        raise _explained(f"COPY {table}", error) from error


def _explained(statement: str, error: Exception) -> DBAPIError:
    from asyncpg import PostgresError

    if not isinstance(error, PostgresError):
        return OperationalError(statement, None, error)
    violated = (error.sqlstate or "").startswith(INTEGRITY_CLASS)
    return (IntegrityError if violated else DBAPIError)(statement, None, error)
