"""Many rows in one statement: how a batch travels to each database.

To SQLite rows go a hundred a statement. To PostgreSQL they go by COPY, which costs half of what
arrays cost and a seventh of a statement a row.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Dialect,
    String,
    Table,
    Update,
    any_,
    bindparam,
    func,
    insert,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import TypeEngine

from gateway.ledger.copying import copy_rows

Values = tuple[Any, ...]
Same = tuple[tuple[str, str | int], ...]
Change = Callable[..., Update]

PIECES = (100, 10, 1)
"""Rows of one INSERT into SQLite; 100 of 13 columns are 1,300 parameters of 32,766."""

_TEXT, _COUNT = String(), BigInteger()
_encode = msgspec.json.Encoder().encode


def is_server(connection: Connection) -> bool:
    """Whether the database is PostgreSQL."""
    return connection.dialect.name == "postgresql"


def among(column: ColumnElement[str], on_server: bool) -> ColumnElement[bool]:
    """`column` is one of the parameter `listed`, whose value is made by `listing`.

    One parameter for any number of values: the statement's text, and so its plan, stays the same.
    """
    if on_server:
        return column == any_(bindparam("listed", type_=ARRAY(_TEXT, dimensions=1)))
    rows = func.json_each(bindparam("listed", type_=_TEXT)).table_valued("value")
    return column.in_(select(rows.c.value))


def listing(connection: Connection, values: Iterable[str]) -> dict[str, Any]:
    """The parameters of a statement that asks for what is `among` the values."""
    listed = sorted(values)
    return {"listed": listed if is_server(connection) else str(_encode(listed), "utf-8")}


def insert_rows(
    connection: Connection,
    table: Table,
    columns: tuple[str, ...],
    rows: Sequence[Values],
    same: Same = (),
) -> None:
    """Insert tuples in the order of `columns`; rows are written in their order.

    same: what is the same in every row, as (column, value).
    Not the first statement of a transaction: PostgreSQL's driver would copy outside of it.
    """
    if not rows:
        return
    if is_server(connection):
        names, rest = columns + tuple(name for name, _ in same), tuple(value for _, value in same)
        copy_rows(connection, table.name, names, [row + rest for row in rows])
    else:
        _insert_each(connection, table, columns, same, rows)


def _insert_each(
    connection: Connection,
    table: Table,
    columns: tuple[str, ...],
    same: Same,
    rows: Sequence[Values],
) -> None:
    """Feed plain tuples: turning rows from dicts into the driver's order cost more than the rest.

    A hundred rows a statement take a third less time than a row each, and the thread gives up
    the interpreter once, not a hundred times, while the event loop is busy.
    """
    begun = 0
    for size in PIECES:
        ended = len(rows) - (len(rows) - begun) % size
        if begun < ended:
            sql = _insert_sql(table, columns, same, connection.dialect, size)
            connection.exec_driver_sql(sql, _pieces(rows[begun:ended], size))
        begun = ended


def _pieces(rows: Sequence[Values], size: int) -> list[Values]:
    """The values of each `size` rows, one after the other."""
    if size == 1:
        return list(rows)
    starts = range(0, len(rows), size)
    return [tuple(chain.from_iterable(rows[start : start + size])) for start in starts]


def change_rows(
    connection: Connection, change: Change, names: tuple[str, ...], rows: Collection[Values]
) -> int:
    """Run `change` for each of `rows`; how many rows of the table were changed.

    change: makes the UPDATE from one expression a name: the first is text, the others counts.
    """
    if not rows:
        return 0
    statement = _change(change, names, is_server(connection))
    if is_server(connection):
        arrays = zip(*rows, strict=True)
        return connection.execute(statement, dict(zip(names, arrays, strict=True))).rowcount
    each = [dict(zip(names, row, strict=True)) for row in rows]
    return connection.execute(statement, each).rowcount


@lru_cache(maxsize=64)
def _change(change: Change, names: tuple[str, ...], on_server: bool) -> Update:
    types: list[TypeEngine[Any]] = [_TEXT, *[_COUNT] * (len(names) - 1)]
    if on_server:
        return change(*_arrays(names, types).c)
    return change(*[bindparam(n, type_=kind) for n, kind in zip(names, types, strict=True)])


def _arrays(names: Sequence[str], types: Sequence[TypeEngine[Any]]) -> Any:
    """A table of parameters, one array a column."""
    arrays = [
        bindparam(name, type_=ARRAY(kind, dimensions=1))
        for name, kind in zip(names, types, strict=True)
    ]
    return func.unnest(*arrays).table_valued(*names, name="given").render_derived()


@lru_cache(maxsize=64)
def _insert_sql(
    table: Table, columns: tuple[str, ...], same: Same, dialect: Dialect, size: int
) -> str:
    """An INSERT of `size` rows.

    What is the same for every row is part of the text: binding it cost a tenth of a row.
    """
    written: dict[str, Any] = {name: literal_column(_quoted(value)) for name, value in same}
    statement = insert(table).values({**{name: bindparam(name) for name in columns}, **written})
    compiled = statement.compile(dialect=dialect)
    if tuple(compiled.positiontup or ()) != columns:
        raise AssertionError(f"{dialect.name} does not take its parameters in the order given")
    head, values, row = str(compiled).partition(" VALUES ")
    return head + values + ", ".join([row] * size)


def _quoted(value: str | int) -> str:
    return str(value) if isinstance(value, int) else "'{}'".format(value.replace("'", "''"))
