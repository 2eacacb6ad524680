"""Many rows in one statement: how a batch travels to each database.

SQLite is a function call away: a statement a row costs little. To PostgreSQL rows go by COPY,
which costs half of what arrays cost and a seventh of a statement a row.
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

ROWS_MANY = 100
"""Rows of one INSERT into SQLite; with 13 columns a statement has 1,300 parameters of 32,766."""

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
        _insert_each(connection, _insert_sql(table, columns, same, connection.dialect), rows)


def _insert_each(connection: Connection, sql: tuple[str, str], rows: Sequence[Values]) -> None:
    """Feed plain tuples: turning rows from dicts into the driver's order cost more than the rest.

    sql: the statements for one row and for ROWS_MANY. The second takes a third less time, and
    hands the interpreter over to the event loop once instead of once a row.
    """
    one, many = sql
    rest = len(rows) - len(rows) % ROWS_MANY
    for start in range(0, rest, ROWS_MANY):
        values = tuple(chain.from_iterable(rows[start : start + ROWS_MANY]))
        connection.exec_driver_sql(many, values)
    if rest < len(rows):
        connection.exec_driver_sql(one, list(rows[rest:]))


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
    table: Table, columns: tuple[str, ...], same: Same, dialect: Dialect
) -> tuple[str, str]:
    """An INSERT of one row, and one of ROWS_MANY.

    What is the same for every row is part of the text: binding it cost a tenth of a row.
    """
    written: dict[str, Any] = {name: literal_column(_quoted(value)) for name, value in same}
    statement = insert(table).values({**{name: bindparam(name) for name in columns}, **written})
    compiled = statement.compile(dialect=dialect)
    if tuple(compiled.positiontup or ()) != columns:
        raise AssertionError(f"{dialect.name} does not take its parameters in the order given")
    head, values, row = str(compiled).partition(" VALUES ")
    return str(compiled), head + values + ", ".join([row] * ROWS_MANY)


def _quoted(value: str | int) -> str:
    return str(value) if isinstance(value, int) else "'{}'".format(value.replace("'", "''"))
