"""A whole sale at once: 300 buyers fight over 40 units, and nothing is lost or sold twice."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest

from gateway.core.config import ReaperConfig, RetentionConfig, SettlerConfig
from gateway.core.model import State
from gateway.sale.outcomes import Granted
from gateway.sale.reservations import Reservations
from gateway.store.commands import Pulse
from gateway.workers.reaper import Reaper
from tests.sale.steps import WAIT_S, Sale, counts, granted, request_for, settle_all, until

UNITS, SAFETY, BUYERS = 40, 3, 300


class Watch:
    """Asserts the invariant on every reply of every command, as gateways see them."""

    def __init__(self) -> None:
        self.seen = 0
        self.faults: list[Pulse] = []

    def __call__(self, pulses: Sequence[Pulse], _now_ms: int) -> None:
        for p in pulses:
            self.seen += 1
            parts = (p.available, p.held, p.unsettled, p.safety_stock)
            if min(parts) < 0 or sum(parts) != p.on_hand or p.on_hand + p.sold != UNITS:
                self.faults.append(p)


class Buyer:
    """Wants one unit, and does not give up while any may come back."""

    def __init__(
        self, sale: Sale, gateways: Sequence[Reservations], number: int, closed: asyncio.Event
    ) -> None:
        self.name = f"buyer-{number}"
        self.bought: list[str] = []
        self.outcomes: Counter[str] = Counter()
        self._sale = sale
        self._gateways = gateways
        self._closed = closed
        self._chance = Random(number)

    async def shop(self) -> None:
        turn = 0
        while not self.bought and not self._closed.is_set():
            turn += 1
            id_ = await self._hold(f"{self.name}-{turn}")
            if id_ is None:
                await asyncio.sleep(0.02)
            else:
                await self._chance.choice(
                    [self._pay, self._release, self._leave, self._leave, self._pay_late]
                )(id_)

    async def _hold(self, key: str) -> str | None:
        """One request, sent to both gateways: the answers are about one reservation."""
        ttl_ms = self._chance.choice([0, 50])
        request = request_for(("ticket", 1), buyer=self.name, key=key, ttl_ms=ttl_ms)
        answers = await asyncio.gather(*[g.reserve(request) for g in self._gateways])
        held = [answer.reservation for answer in answers if isinstance(answer, Granted)]
        self.outcomes.update(a.code for a in answers if not isinstance(a, Granted))
        assert len({r.id for r in held}) <= 1, "one key, two reservations"
        return held[0].id if held else None

    async def _pay(self, id_: str) -> None:
        answers = await asyncio.gather(
            *[g.confirm(id_, f"pay-{id_}", WAIT_S) for g in self._gateways]
        )
        states = {a.reservation.state if isinstance(a, Granted) else a.code for a in answers}
        # Too late for one gateway may be in time for the other: units came back in between.
        assert len(states) == 1 or states == {State.SETTLED, "reservation-expired"}, states
        self.outcomes.update(map(str, states))
        if State.SETTLED in states:
            self.bought.append(id_)

    async def _release(self, id_: str) -> None:
        await self._sale.reservations.release(id_)
        self.outcomes["released"] += 1

    async def _leave(self, id_: str) -> None:
        """Forgets about it; without a short time to live that would take a quarter of an hour."""
        reservation = granted(await self._sale.reservations.show(id_)).reservation
        if reservation.deadline_ms - reservation.created_ms > 1000:
            await self._release(id_)
        self.outcomes["left"] += 1

    async def _pay_late(self, id_: str) -> None:
        reservation = granted(await self._sale.reservations.show(id_)).reservation
        if reservation.deadline_ms - reservation.created_ms < 1000:
            await until(lambda: self._sale.is_in(id_, State.EXPIRED))
        await self._pay(id_)


@pytest.mark.timeout(120)
async def test_the_last_unit_sells_and_none_sells_twice(any_sale: Sale) -> None:
    watch = Watch()
    gateways = [any_sale.open_reservations(any_sale.open_shard(watch)) for _ in range(2)]
    await any_sale.put("ticket", UNITS, SAFETY, buyer_limit=1)
    await any_sale.listen()
    for n in range(2):
        config = SettlerConfig(batch_max=7)
        any_sale.run(any_sale.settler(consumer=f"s{n}", config=config).loop)
    commands = any_sale.commands(on_pulse=watch)
    clock = any_sale.core.clock
    any_sale.run(Reaper(commands, ReaperConfig(), RetentionConfig(), clock).loop)

    closed = asyncio.Event()
    buyers = [Buyer(any_sale, gateways, n, closed) for n in range(BUYERS)]
    async with asyncio.TaskGroup() as crowd:
        for buyer in buyers:
            crowd.create_task(buyer.shop())
        await until(lambda: _nothing_left(any_sale))
        closed.set()

    await until(lambda: _nothing_left(any_sale))
    await any_sale.stop_loops()
    await settle_all(any_sale.settler(consumer="s0"))
    bought = [id_ for buyer in buyers for id_ in buyer.bought]
    terms = await any_sale.terms("ticket")
    taken = SAFETY - terms.safety_stock  # late payments may have taken from it
    assert counts(terms) == (
        terms.safety_stock,
        0,
        0,
        0,
        terms.safety_stock,
        UNITS - SAFETY + taken,
    )
    assert 0 <= taken <= SAFETY
    assert len(bought) == len(set(bought)) == terms.sold, "everything that could sell has sold"
    (row,) = await any_sale.ledger.stock(["ticket"])
    assert (row.received, row.sold) == (UNITS, terms.sold)
    assert watch.seen > UNITS
    assert watch.faults == []
    happened = sum((buyer.outcomes for buyer in buyers), Counter[str]())
    assert {"sold-out", "released", "left"} <= set(happened), happened
    await any_sale.assert_sound()


async def _nothing_left(sale: Sale) -> bool:
    await asyncio.sleep(0.05)
    terms = await sale.terms("ticket")
    return terms.available == terms.held == terms.unsettled == 0
