"""The journal explains every unit, cannot be rewritten, and the audit notices if it was."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.ledger import Ledger, MoveRequest
from tests.ledger.steps import begun, put, sale

Sql = Callable[[str], list[tuple[object, ...]]]


@pytest.fixture
def sql(ledger_file: Path, file_ledger: Ledger) -> Iterator[Sql]:
    connection = sqlite3.connect(ledger_file, isolation_level=None)
    yield lambda statement: connection.execute(statement).fetchall()
    connection.close()


async def history(ledger: Ledger) -> None:
    await put(ledger, "phone", 10, safety_stock=2)
    await ledger.deduct([sale("r1", ("phone", 3, 1)), sale("r2", ("phone", 1))])
    request = MoveRequest(sku="phone", kind="adjust", delta=-2, reason="broken", actor="eve")
    move = await begun(ledger, request)
    await ledger.finish_move("phone", move.seq, True)


async def test_rows_tell_before_after_who_and_why(file_ledger: Ledger, sql: Sql) -> None:
    await history(file_ledger)

    rows = sql(
        "SELECT kind, delta, on_hand_before, on_hand_after, safety_before, safety_after,"
        " actor, reason, reservation_id FROM journal ORDER BY id"
    )

    assert rows == [
        ("received", 10, 0, 10, 0, 0, "", "", None),
        ("safety", 0, 10, 10, 0, 2, "", "", None),
        ("sold", -3, 10, 7, 2, 1, "settler", "", "r1"),
        ("sold", -1, 7, 6, 1, 1, "settler", "", "r2"),
        ("adjusted", -2, 6, 4, 1, 1, "eve", "broken", None),
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE journal SET actor = 'nobody'",
        "UPDATE journal SET delta = delta + 1, on_hand_after = on_hand_after + 1 WHERE id = 1",
        "DELETE FROM journal",
        "DELETE FROM journal WHERE id = 1",
    ],
)
async def test_append_only(file_ledger: Ledger, sql: Sql, statement: str) -> None:
    await history(file_ledger)
    before = sql("SELECT * FROM journal")

    with pytest.raises(sqlite3.IntegrityError, match="the journal is append-only"):
        sql(statement)

    assert sql("SELECT * FROM journal") == before


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE stock SET on_hand = 5, received = 9", "the journal does not add up to on_hand"),
        ("UPDATE stock SET sold = 5, received = 9", "settled lines do not add up to sold"),
        ("UPDATE stock SET safety_stock = 9", "the journal does not explain safety_stock"),
        ("UPDATE deduction_lines SET quantity = 9", "settled lines do not add up to sold"),
        ("DELETE FROM journal WHERE reservation_id = 'r2'", "1 breaks in the journal's chain"),
        ("DELETE FROM stock", "no stock row"),
    ],
)
async def test_audit_names_what_was_tampered_with(
    file_ledger: Ledger, sql: Sql, statement: str, fault: str
) -> None:
    await history(file_ledger)
    (check,) = await file_ledger.audit()
    assert check.ok
    sql("DROP TRIGGER journal_no_delete")

    sql(statement)

    (check,) = await file_ledger.audit()
    assert not check.ok
    assert fault in check.faults


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE stock SET on_hand = -1, received = 3",
        "UPDATE stock SET on_hand = on_hand + 1",
        "UPDATE stock SET sold = sold + 1",
        "UPDATE stock SET safety_stock = -1",
    ],
)
async def test_stock_that_does_not_balance_cannot_be_written(
    file_ledger: Ledger, sql: Sql, statement: str
) -> None:
    await history(file_ledger)

    with pytest.raises(sqlite3.IntegrityError, match="CHECK constraint failed: stock_"):
        sql(statement)


async def test_audit_counts_pending_moves(file_ledger: Ledger) -> None:
    await history(file_ledger)
    await begun(file_ledger, MoveRequest(sku="phone", kind="adjust", delta=5))

    (check,) = await file_ledger.audit()

    assert check.ok
    assert check.moves_pending == 1
