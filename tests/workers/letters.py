"""Short names for what the tests of dead letters do."""

from collections.abc import Sequence
from typing import Any

from gateway.core.errors import InvariantBreach
from gateway.ledger import Deduction, Letter, Outcome
from gateway.workers.settler import Settler
from tests.sale.clocks import StillClock
from tests.sale.steps import Sale

POISON = "poison"
"""The buyer whose reservations the ledger refuses to take down."""


class Refusing:
    """A ledger with a constraint that the poison's deductions break, while `on`."""

    def __init__(self, ledger: Any) -> None:
        self._ledger = ledger
        self.on = True
        self.batches: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def deduct(self, batch: Sequence[Deduction]) -> list[Outcome]:
        self.batches.append(len(batch))
        if self.on and any(d.buyer == POISON for d in batch):
            raise InvariantBreach("a constraint refuses it")
        outcomes: list[Outcome] = await self._ledger.deduct(batch)
        return outcomes


async def give_up(settler: Settler, clock: StillClock) -> None:
    """Steps until nothing this settler knows of waits for another try."""
    for _ in range(40):
        await settler.step()
        if not settler._recovering and not len(settler._suspects):
            return
        clock.advance(2.0)
    raise AssertionError("it never gives up")


async def a_letter(sale: Sale, *, safety: int = 0) -> tuple[str, Letter, Refusing]:
    """A reservation of three phones that was given up, of ten."""
    await sale.put("phone", 10, safety)
    id_ = await sale.confirmed(("phone", 3), buyer=POISON)
    ledger, clock = Refusing(sale.ledger), StillClock()
    await give_up(sale.settler(ledger=ledger, clock=clock), clock)
    [letter] = await sale.core.letters.page()
    return id_, letter, ledger
