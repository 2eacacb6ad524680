"""The journal explains every unit, cannot be rewritten, and the audit notices if it was."""

import pytest

from gateway.ledger import Ledger, MoveRequest
from tests.ledger.backdoor import TRIGGERS, Backdoor, Refused
from tests.ledger.steps import begun, put, sale


async def history(ledger: Ledger) -> None:
    await put(ledger, "phone", 10, safety_stock=2)
    await ledger.deduct([sale("r1", ("phone", 3, 1)), sale("r2", ("phone", 1))])
    request = MoveRequest(sku="phone", kind="adjust", delta=-2, reason="broken", actor="eve")
    move = await begun(ledger, request)
    await ledger.finish_move("phone", move.seq, True)


async def test_rows_tell_before_after_who_and_why(kept_ledger: Ledger, backdoor: Backdoor) -> None:
    await history(kept_ledger)

    rows = backdoor.sql(
        "SELECT kind, delta, on_hand_before, on_hand_after, safety_before, safety_after,"
        " actor, reason, reservation_id FROM journal ORDER BY id"
    )

    assert rows == [
        ["received", "10", "0", "10", "0", "0", "", "", ""],
        ["safety", "0", "10", "10", "0", "2", "", "", ""],
        ["sold", "-3", "10", "7", "2", "1", "settler", "late payment: 1 from safety_stock", "r1"],
        ["sold", "-1", "7", "6", "1", "1", "settler", "", "r2"],
        ["adjusted", "-2", "6", "4", "1", "1", "eve", "broken", ""],
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
async def test_append_only(kept_ledger: Ledger, backdoor: Backdoor, statement: str) -> None:
    await history(kept_ledger)
    before = backdoor.sql("SELECT * FROM journal")

    with pytest.raises(Refused, match="the journal is append-only"):
        backdoor.sql(statement)

    assert backdoor.sql("SELECT * FROM journal") == before


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE stock SET on_hand = 5, received = 9", "the journal does not add up to on_hand"),
        ("UPDATE stock SET sold = 5, received = 9", "settled lines do not add up to sold"),
        ("UPDATE stock SET safety_stock = 9", "the journal does not explain safety_stock"),
        ("UPDATE deduction_lines SET quantity = 9", "settled lines do not add up to sold"),
        ("DELETE FROM journal WHERE reservation_id = 'r2'", "1 breaks in the journal's chain"),
        ("DELETE FROM moves; DELETE FROM stock", "no stock row"),
    ],
)
async def test_audit_names_what_was_tampered_with(
    kept_ledger: Ledger, backdoor: Backdoor, statement: str, fault: str
) -> None:
    await history(kept_ledger)
    (check,) = await kept_ledger.audit()
    assert check.ok
    for table in TRIGGERS:
        backdoor.unguard(table)

    backdoor.sql(statement)

    (check,) = await kept_ledger.audit()
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
    kept_ledger: Ledger, backdoor: Backdoor, statement: str
) -> None:
    await history(kept_ledger)

    with pytest.raises(Refused, match="stock_"):
        backdoor.sql(statement)


async def test_audit_counts_pending_moves(kept_ledger: Ledger) -> None:
    await history(kept_ledger)
    await begun(kept_ledger, MoveRequest(sku="phone", kind="adjust", delta=5))

    (check,) = await kept_ledger.audit()

    assert check.ok
    assert check.moves_pending == 1
