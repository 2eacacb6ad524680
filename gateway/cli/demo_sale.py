"""The flash sale: sets the SKU up, lets the crowd in, minds the shop's page, counts at the end."""

import asyncio
from collections.abc import Callable

from gateway.cli.demo_client import Answer, Caller
from gateway.cli.demo_crowd import Crowd, ReturnLine
from gateway.cli.demo_patience import PatientCaller
from gateway.cli.demo_plan import SalePlan
from gateway.cli.demo_record import Kept, Record, Terms, read_terms
from gateway.core.clock import Clock
from gateway.core.errors import SetupError

TICK_S = 0.1
SETTLE_WAIT_MAX_S = 20.0

OnTick = Callable[[Terms], None]


class FlashSale:
    """Runs one plan against one gateway and keeps the record.

    Args:
        shop: where the buyers' calls go.
        desk: where the shopkeeper's calls go: a connection that no crowd keeps busy.
        plan: who comes and what they do.
        give_up_s: the sale is closed this long after its opening, whatever is left.
    """

    def __init__(
        self, shop: Caller, desk: Caller, clock: Clock, plan: SalePlan, *, give_up_s: float
    ) -> None:
        self.record = Record()
        self._desk = PatientCaller(desk, clock, self.record)
        self._clock = clock
        self._plan = plan
        self._give_up_s = give_up_s
        self._line = ReturnLine()
        self._crowd = Crowd(
            PatientCaller(shop, clock, self.record), clock, plan, self.record, self._line
        )
        self._opened_s = 0.0

    @property
    def inside(self) -> int:
        """Buyers who have not gone home yet, those still to arrive included."""
        return self._crowd.inside

    @property
    def waiting(self) -> int:
        """Buyers waiting for units to come back."""
        return len(self._line)

    async def prepare(self) -> None:
        """Put the SKU on sale. Raises SetupError when the gateway does not let us."""
        path = f"/v1/admin/skus/{self._plan.sku}"
        answer = await self._desk.call("PUT", path, self._plan.terms_wanted())
        if not answer.ok:
            raise _cannot_prepare(answer)

    async def run(self, on_tick: OnTick) -> None:
        """Open the sale, play every buyer, and return when nobody can buy any more.

        Raises SetupError when the gateway stops answering for the SKU.
        """
        self._opened_s = self._clock.monotonic()
        try:
            await self._play(on_tick)
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        self.record.duration_s = self._clock.monotonic() - self._opened_s

    async def _play(self, on_tick: OnTick) -> None:
        async with asyncio.TaskGroup() as tasks:
            for buyer in self._plan.buyers:
                tasks.create_task(self._crowd.visit(buyer, self._opened_s))
            tasks.create_task(self._watch(on_tick))

    async def settle(self, on_tick: OnTick) -> Terms:
        """Wait until nothing is held or unsettled (bounded), then ask how each one ended."""
        deadline_s = self._clock.monotonic() + self._plan.hold_ttl_s + SETTLE_WAIT_MAX_S
        terms = await self.terms()
        while terms.held + terms.unsettled > 0 and self._clock.monotonic() < deadline_s:
            await self._clock.sleep(TICK_S)
            terms = await self.terms()
            on_tick(terms)
        await asyncio.gather(*(self._ask_ending(kept) for kept in self.record.kept.values()))
        return terms

    async def terms(self) -> Terms:
        """The SKU's terms now. Raises SetupError when the gateway stopped giving them."""
        answer = await self._desk.call("GET", f"/v1/admin/skus/{self._plan.sku}")
        if answer.ok:
            return read_terms(answer.body)
        raise SetupError(
            f"the gateway no longer gives the terms of {self._plan.sku}: {answer.code}",
            hint="the sale was cut short; look at the gateway's log",
        )

    async def _watch(self, on_tick: OnTick) -> None:
        """Show returned units to those who wait; close once nothing can come back."""
        while not await self._is_over(on_tick):
            stock = await self._desk.call("GET", f"/v1/stock/{self._plan.sku}")
            self._line.call_up(int(stock.body.get("available", 0)))
            await self._clock.sleep(TICK_S)
        self._line.close()

    async def _is_over(self, on_tick: OnTick) -> bool:
        quiet = self._crowd.inside == len(self._line)
        terms = await self.terms()
        on_tick(terms)
        if self._clock.monotonic() - self._opened_s > self._give_up_s:
            return True
        nothing_left = terms.available + terms.held + terms.unsettled == 0
        return quiet and (nothing_left or len(self._line) == 0)

    async def _ask_ending(self, kept: Kept) -> None:
        answer = await self._desk.call("GET", f"/v1/reservations/{kept.id}")
        kept.final = str(answer.body.get("state", answer.code))


def _cannot_prepare(answer: Answer) -> SetupError:
    if answer.status in (401, 403):
        return SetupError(
            f"the gateway refused to set up the demo's SKU: {answer.code}",
            hint="give a key with the admin and storefront scopes: --key TOKEN",
        )
    detail = answer.body.get("detail", "")
    return SetupError(f"the gateway could not set up the demo's SKU: {answer.code} {detail}")
