"""A deduction is written before anybody asks whether it was decided: the keys notice."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import Connection, text

from gateway.ledger import Deduction, DeductionLine, Ledger, Outcome
from gateway.ledger import deduct as deducting
from gateway.ledger.bulk import PIECES
from gateway.ledger.deduct import Plan
from tests.ledger.steps import assert_clean, put, row_of, sale


def paid(name: str, ref: str, quantity: int) -> Deduction:
    return Deduction(name, "ann", ref, (DeductionLine("phone", quantity),))


async def transactions(ledger: Ledger, batch: Sequence[Deduction]) -> tuple[list[str], list]:
    """What deducting a batch ran, by name, and the outcomes."""
    run: list[str] = []
    with pytest.MonkeyPatch.context() as seen:
        for name in ("deduct_new", "deduct"):
            seen.setattr(deducting, name, noted(run, name, getattr(deducting, name)))
        return run, await ledger.deduct(batch)


def noted(run: list[str], name: str, work: Callable[..., list[Outcome]]) -> Callable[..., object]:
    def noting(*args: Any, **named: Any) -> list[Outcome]:
        run.append(name)
        return work(*args, **named)

    return noting


async def test_new_ones_are_not_looked_up(ledger: Ledger) -> None:
    await put(ledger, "phone", 10)
    run, outcomes = await transactions(ledger, [sale("r1", ("phone", 1)), sale("r2", ("phone", 1))])
    assert run == ["deduct_new"]
    assert outcomes == [Outcome("r1", True), Outcome("r2", True)]


async def test_one_known_among_many_new(ledger: Ledger) -> None:
    """The whole batch is undone and done again; each is taken once."""
    await put(ledger, "phone", 1_000)
    await ledger.deduct([sale("r7", ("phone", 1))])
    count = 2 * max(PIECES) + 35
    run, outcomes = await transactions(
        ledger, [sale(f"r{number}", ("phone", 1)) for number in range(count)]
    )
    assert run == ["deduct_new", "deduct"]
    assert outcomes == [Outcome(f"r{number}", True) for number in range(count)]
    assert (await row_of(ledger, "phone")).sold == count
    await assert_clean(ledger)


async def test_what_was_sold_stays_sold_when_there_is_no_more(ledger: Ledger) -> None:
    await put(ledger, "phone", 1)
    batch = [sale("r1", ("phone", 1))]
    assert await ledger.deduct(batch) == await ledger.deduct(batch) == [Outcome("r1", True)]
    await assert_clean(ledger)


async def test_the_reason_is_the_one_that_a_look_gives(ledger: Ledger) -> None:
    """`shortfall` asks for a refund; of money that bought another reservation, that is wrong."""
    await put(ledger, "phone", 1)
    await ledger.deduct([paid("r1", "p", 1)])
    assert await ledger.deduct([paid("r2", "p", 1)]) == [Outcome("r2", False, "payment-ref-used")]


async def test_control_without_a_look_the_reason_is_wrong(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide = deducting.decide

    def hiding_refusals(*args) -> Plan:
        plan = decide(*args)
        plan.refused = 0
        return plan

    monkeypatch.setattr(deducting, "decide", hiding_refusals)
    await put(ledger, "phone", 1)
    await ledger.deduct([paid("r1", "p", 1)])
    assert await ledger.deduct([paid("r2", "p", 1)]) == [Outcome("r2", False, "shortfall")]


async def test_the_same_batch_from_many_at_once(ledger: Ledger) -> None:
    await put(ledger, "phone", 100)
    batch = [sale(f"r{number}", ("phone", 1)) for number in range(20)]
    for outcomes in await asyncio.gather(*(ledger.deduct(batch) for _ in range(6))):
        assert all(outcome.settled for outcome in outcomes)
    assert (await row_of(ledger, "phone")).sold == 20
    await assert_clean(ledger)


async def test_control_without_the_key_they_sell_twice(
    file_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: the key is what notices."""

    def without_key(connection: Connection) -> None:
        for statement in (
            "PRAGMA defer_foreign_keys = ON",
            "DROP INDEX deductions_payment_ref",
            "DROP TRIGGER deductions_no_update",
            "DROP TRIGGER deductions_no_delete",
            "ALTER TABLE deduction_lines RENAME TO kept",
            "CREATE TABLE deduction_lines AS SELECT * FROM kept",
            "ALTER TABLE deductions RENAME TO keyed",
            "CREATE TABLE deductions AS SELECT * FROM keyed",
        ):
            connection.execute(text(statement))

    await put(file_ledger, "phone", 10)
    await file_ledger._database.write(without_key)
    for _ in range(2):
        await file_ledger.deduct([sale("r1", ("phone", 1))])
    assert (await row_of(file_ledger, "phone")).sold == 2
