"""Racing deductions never sell more than there is; without the protections they do."""

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy import Connection, Update, update

from gateway.core.clock import SystemClock
from gateway.core.errors import InvariantBreach
from gateway.ledger import Deduction, Ledger, Outcome
from gateway.ledger import deduct as deducting
from gateway.ledger.tables import stock
from tests.ledger.backdoor import Backdoor
from tests.ledger.steps import assert_clean, put, row_of, sale

UNITS = 20
BUYERS = 60


def take_blindly(of_sku, taken, taken_safety) -> Update:
    return (
        update(stock)
        .where(stock.c.sku == of_sku)
        .values(on_hand=stock.c.on_hand - taken, sold=stock.c.sold + taken)
    )


class CarelessLedger(Ledger):
    """Looks in one transaction, takes in another, and never looks again."""

    async def deduct(self, batch: Sequence[Deduction]) -> list[Outcome]:
        skus = {line.sku for d in batch for line in d.lines}

        def look(connection: Connection) -> dict[str, deducting.Shelf]:
            return deducting.lock_shelves(connection, skus)

        shelves = await self._database.write(look)
        plan = deducting.decide(batch, {}, shelves, set(), now_ms=1)

        def take(connection: Connection) -> None:
            deducting.write(connection, plan, shelves)

        await self._database.write(take)
        return [plan.outcomes[d.reservation_id] for d in batch]


async def crowd(url: str, kind: type[Ledger]) -> int:
    """BUYERS race for UNITS through two ledgers of `kind`; returns how many were settled."""
    ledgers = [await kind.open(url, SystemClock(), migrate=True) for _ in range(2)]
    batches = [[sale(f"r{n}", ("phone", 1))] for n in range(BUYERS)]
    answers = await asyncio.gather(
        *(ledgers[n % 2].deduct(batch) for n, batch in enumerate(batches))
    )
    for ledger in ledgers:
        await ledger.close()
    return sum(outcome.settled for answer in answers for outcome in answer)


async def test_a_racing_crowd_gets_every_unit_and_not_one_more(
    kept_url: str, kept_ledger: Ledger
) -> None:
    await put(kept_ledger, "phone", UNITS)

    assert await crowd(kept_url, Ledger) == UNITS

    assert (await row_of(kept_ledger, "phone")).on_hand == 0
    await assert_clean(kept_ledger)


async def test_control_the_crowd_oversells_an_unprotected_ledger(
    kept_url: str, kept_ledger: Ledger, backdoor: Backdoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(kept_ledger, "phone", UNITS)
    await kept_ledger.close()
    backdoor.uncheck_stock()
    monkeypatch.setattr(deducting, "take", take_blindly)

    assert await crowd(kept_url, CarelessLedger) > UNITS

    reopened = await Ledger.open(kept_url, SystemClock(), migrate=True)
    (check,) = await reopened.audit()
    await reopened.close()
    assert "oversold" in check.faults


@pytest.mark.parametrize("blind", [False, True], ids=["condition", "constraint"])
async def test_each_protection_holds_when_the_ones_before_it_fail(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, blind: bool
) -> None:
    await put(ledger, "phone", 5)
    monkeypatch.setattr(deducting, "_refusal", lambda _deduction, _shelves, _taken: "")
    if blind:
        monkeypatch.setattr(deducting, "take", take_blindly)

    with pytest.raises(InvariantBreach):
        await ledger.deduct([sale(f"r{n}", ("phone", 2)) for n in range(3)])

    assert (await row_of(ledger, "phone")).on_hand == 5
    assert await ledger.deduction("r0") is None
    await assert_clean(ledger)
