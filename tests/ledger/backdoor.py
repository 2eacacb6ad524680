"""Raw SQL on a ledger's tables, past everything that the gateway would check."""

import sqlite3
from types import TracebackType
from typing import Protocol, Self

from tests.support.postgres import PostgresServer
from tests.support.servers import ServerFailed

TRIGGERS = {
    "journal": ("journal_no_update", "journal_no_delete"),
    "deductions": ("deductions_no_update", "deductions_no_delete"),
    "deduction_lines": ("deduction_lines_no_update", "deduction_lines_no_delete"),
}


class Refused(Exception):
    """The database refused the statement; its words."""


class Backdoor(Protocol):
    """Statements that both databases understand; rows come as texts."""

    def sql(self, statement: str) -> list[list[str]]:
        """The rows, or Refused."""
        ...

    def unguard(self, table: str) -> None:
        """Remove the triggers that keep a table's rows as they are."""
        ...

    def uncheck_stock(self) -> None:
        """Remove the constraints of the stock."""
        ...


class SqliteBackdoor:
    def __init__(self, url: str) -> None:
        self._connection = sqlite3.connect(url.partition("///")[2], isolation_level=None)
        self._connection.execute("PRAGMA foreign_keys = ON")

    def sql(self, statement: str) -> list[list[str]]:
        try:
            *before, last = statement.split(";")
            for one in before:
                self._connection.execute(one)
            rows = self._connection.execute(last).fetchall()
        except sqlite3.DatabaseError as error:
            raise Refused(str(error)) from error
        return [["" if cell is None else str(cell) for cell in row] for row in rows]

    def unguard(self, table: str) -> None:
        for trigger in TRIGGERS[table]:
            self.sql(f"DROP TRIGGER {trigger}")

    def uncheck_stock(self) -> None:
        """Copy the stock into a table without constraints."""
        self.sql("PRAGMA foreign_keys = OFF")
        self.sql("CREATE TABLE bare AS SELECT * FROM stock; DROP TABLE stock")
        self.sql("ALTER TABLE bare RENAME TO stock")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()


class PostgresBackdoor:
    def __init__(self, server: PostgresServer, url: str) -> None:
        self._server = server
        self._database = url.rpartition("/")[2]

    def sql(self, statement: str) -> list[list[str]]:
        try:
            return self._server.sql(statement, self._database)
        except ServerFailed as error:
            raise Refused(str(error)) from error

    def unguard(self, table: str) -> None:
        self.sql(f"ALTER TABLE {table} DISABLE TRIGGER USER")

    def uncheck_stock(self) -> None:
        for name in ("on_hand", "safety_stock", "received", "sold", "balance"):
            self.sql(f"ALTER TABLE stock DROP CONSTRAINT stock_{name}")
