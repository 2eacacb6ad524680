"""A payment reference buys one reservation: the ledger has the last word."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import text

from gateway.core.clock import SystemClock
from gateway.core.errors import InvariantBreach
from gateway.ledger import Deduction, DeductionLine, Ledger, Outcome, payment_refs
from gateway.ledger import deduct as deducting
from tests.ledger.steps import put


def paid(name: str, ref: str, sku: str = "phone") -> Deduction:
    return Deduction(name, "ann", ref, (DeductionLine(sku, 1),))


USED: Final = "payment-ref-used"


async def test_the_first_is_settled_and_others_are_refused(ledger: Ledger) -> None:
    await put(ledger, "phone", 10)
    batch = [paid("r1", "p"), paid("r2", "p"), paid("r3", "q")]
    assert await ledger.deduct(batch) == [
        Outcome("r1", True),
        Outcome("r2", False, USED),
        Outcome("r3", True),
    ]
    assert await ledger.deduct([paid("r4", "q")]) == [Outcome("r4", False, USED)]
    assert await ledger.deduct(batch) == [
        Outcome("r1", True),
        Outcome("r2", False, USED),
        Outcome("r3", True),
    ], "asked again, it says the same"
    assert await ledger.bought_with("p") == "r1"
    assert await ledger.bought_with("x") is None
    [row] = await ledger.stock(["phone"])
    assert row.sold == 2


async def test_no_reference_is_no_conflict(ledger: Ledger) -> None:
    await put(ledger, "phone", 10)
    outcomes = await ledger.deduct([paid("r1", ""), paid("r2", "")])
    assert [outcome.settled for outcome in outcomes] == [True, True]


async def test_what_was_refused_has_bought_nothing(ledger: Ledger) -> None:
    await put(ledger, "phone", 0)
    await put(ledger, "case", 5)
    assert (await ledger.deduct([paid("r1", "p")]))[0].reason == "shortfall"
    assert (await ledger.deduct([paid("r2", "p", "case")]))[0].settled


async def test_two_at_once_of_different_skus(ledger: Ledger) -> None:
    await put(ledger, "phone", 10)
    await put(ledger, "case", 10)
    asked = [ledger.deduct([paid(f"r{n}", "p", "phone" if n % 2 else "case")]) for n in range(8)]
    settled = [outcome.settled for [outcome] in await asyncio.gather(*asked)]
    assert settled.count(True) == 1


async def test_the_index_refuses_what_the_look_up_missed(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deducting, "taken_refs", lambda *_: set())
    await put(ledger, "phone", 10)
    await ledger.deduct([paid("r1", "p")])
    with pytest.raises(InvariantBreach):
        await ledger.deduct([paid("r2", "p")])


async def test_without_look_up_and_index_a_payment_buys_twice(
    file_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: both protections taken away."""
    monkeypatch.setattr(deducting, "taken_refs", lambda *_: set())
    await file_ledger._database.write(
        lambda c: c.execute(text("DROP INDEX deductions_payment_ref"))
    )
    await put(file_ledger, "phone", 10)
    for name in ("r1", "r2"):
        assert (await file_ledger.deduct([paid(name, "p")]))[0].settled


async def test_the_look_up_reads_the_index(file_ledger: Ledger) -> None:
    """A partial index is used only by a query that repeats its condition word for word."""
    plans: list[list[str]] = []

    def explain(connection):
        from sqlalchemy import event

        def note(_c, _cursor, statement, parameters, _context, _many):
            rows = connection.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.append([str(row[3]) for row in rows])

        event.listen(connection, "before_cursor_execute", note)
        payment_refs.taken_refs(connection, [paid("r1", "p"), paid("r2", "q")])
        payment_refs.owner_of(connection, "p")

    await file_ledger._database.read(explain)
    assert len(plans) == 2
    for plan in plans:
        assert any("USING" in step and "deductions_payment_ref" in step for step in plan), plan


async def test_sales_older_than_the_rule_keep_their_payments(tmp_path: Path) -> None:
    """Before it, one reference could buy several: they stay as they are, and it buys no more."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine

    from gateway.ledger import migrations

    path = tmp_path / "old.db"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        command.upgrade(config, "0001")
    engine.dispose()
    with sqlite3.connect(path) as old:
        for name, ref in (("r1", "p"), ("r2", "p"), ("r3", "q"), ("r4", ""), ("r5", "")):
            old.execute(
                "INSERT INTO deductions (reservation_id, outcome, payment_ref) VALUES (?, ?, ?)",
                (name, "settled", ref),
            )
    old.close()
    ledger = await Ledger.open(f"sqlite:///{path}", SystemClock(), migrate=True)
    try:
        await put(ledger, "phone", 10)
        outcomes = await ledger.deduct([paid("n1", "p"), paid("n2", "q"), paid("n3", "s")])
        assert [outcome.settled for outcome in outcomes] == [False, False, True]
        assert await ledger.bought_with("p") == "r1"
    finally:
        await ledger.close()
