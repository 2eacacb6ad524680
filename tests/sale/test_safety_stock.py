"""The safety stock while a sale goes on: what is kept back, what it covers, how it changes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import Random

import pytest

from gateway.core.events import Event, EventKind
from gateway.core.model import State
from gateway.sale.catalogue import Moved
from gateway.sale.outcomes import Granted, Refused
from gateway.store.commands import Pulse
from gateway.workers import settler as settler_module
from tests.sale.fixtures import PATIENT
from tests.sale.steps import (
    PAST_MS,
    Sale,
    config_for,
    counts,
    granted,
    open_sale,
    refused,
    settle_all,
)
from tests.sale.test_confirm import take_from_ledger
from tests.support.servers import RedisServer

UNITS, SAFETY = 30, 6


@pytest.fixture(params=["redis", "valkey"])
async def shop(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Sale]:
    monkeypatch.setattr(settler_module, "BLOCK_S", 0.02)
    server: RedisServer = request.getfixturevalue(f"{request.param}_server")
    server.call("FLUSHALL")
    async with open_sale(config_for(server.url, tmp_path, **PATIENT)) as sale:
        await sale.put("phone", UNITS, SAFETY)
        yield sale


async def set_safety(sale: Sale, safety: int) -> Moved | Refused:
    row = (await sale.ledger.stock())[0]
    return await sale.core.catalogue.put("phone", row.on_hand, safety, row.settings, "tester")


async def test_more_takes_from_what_is_available_and_no_more_than_that(shop: Sale) -> None:
    await shop.held(("phone", 20))
    too_much = refused(await set_safety(shop, SAFETY + 5))
    assert too_much.code == "adjustment-refused"
    assert too_much.params["available"] == 4
    assert isinstance(await set_safety(shop, SAFETY + 4), Moved)
    assert counts(await shop.terms("phone")) == (30, 0, 20, 0, 10, 0)
    assert refused(await shop.hold(("phone", 1))).code == "sold-out"
    await shop.assert_sound()


async def test_less_puts_units_on_sale(shop: Sale) -> None:
    await shop.held(("phone", 24))
    assert refused(await shop.hold(("phone", 1))).code == "sold-out", "never in holds"
    assert isinstance(await set_safety(shop, 1), Moved)
    granted(await shop.hold(("phone", 5)))
    await shop.assert_sound()


async def test_each_use_is_told(shop: Sale) -> None:
    late = await shop.expired(("phone", 3), buyer="late")
    await shop.confirmed(("phone", 24))
    granted(await shop.reservations.confirm(late, "pay-late", 0.0))
    told: list[Event] = []
    await settle_all(shop.settler(tell=told.append))
    assert told == [Event(EventKind.SAFETY_USED, "phone", late, "late-payment", count=3)]
    assert counts(await shop.terms("phone")) == (3, 0, 0, 0, 3, 27)
    await shop.assert_sound()


async def test_a_shortfall_is_covered_and_told(shop: Sale) -> None:
    ids = [await shop.confirmed(("phone", 12)) for _ in range(2)]
    await take_from_ledger(shop, "phone", 2)
    told: list[Event] = []
    await settle_all(shop.settler(tell=told.append))
    assert told == [Event(EventKind.SAFETY_USED, "phone", ids[1], "shortfall", count=2)]
    assert await shop.is_in(ids[1], State.SETTLED)
    row = (await shop.ledger.stock())[0]
    assert (row.on_hand, row.safety_stock) == (4, 4)


class Watch:
    """Asserts the invariant on every reply of every command."""

    def __init__(self) -> None:
        self.seen = 0
        self.faults: list[Pulse] = []

    def __call__(self, pulses: Sequence[Pulse], _now_ms: int) -> None:
        for p in pulses:
            self.seen += 1
            parts = (p.available, p.held, p.unsettled, p.safety_stock)
            if min(parts) < 0 or sum(parts) != p.on_hand:
                self.faults.append(p)


async def buyer(sale: Sale, chance: Random) -> None:
    for _ in range(12):
        late = chance.random() < 0.4
        answer = await sale.hold(("phone", chance.randint(1, 3)), ttl_ms=PAST_MS if late else 0)
        await asyncio.sleep(chance.random() * 0.01)
        if isinstance(answer, Granted):
            id_ = answer.reservation.id
            if chance.random() < 0.7:
                await sale.reservations.confirm(id_, f"pay-{id_}", 0.0)
            else:
                await sale.reservations.release(id_)


async def changer(sale: Sale, chance: Random) -> list[Moved | Refused]:
    answers: list[Moved | Refused] = []
    for _ in range(15):
        if chance.random() < 0.7:
            answers.append(await set_safety(sale, chance.randint(0, 12)))
        else:
            delta = chance.choice([-3, -1, 2, 4])
            answers.append(
                await sale.core.catalogue.adjust("phone", delta, "recount", "tester", None)
            )
        await asyncio.sleep(chance.random() * 0.01)
    return answers


@pytest.mark.parametrize("seed", range(4))
async def test_changes_while_a_crowd_buys_keep_the_invariant(shop: Sale, seed: int) -> None:
    watch = Watch()
    shop.shard = shop.open_shard(watch)
    shop.reservations = shop.open_reservations(shop.shard)
    settler = shop.settler()
    shop.run(settler.loop)
    buyers = [buyer(shop, Random(f"{seed}-{n}")) for n in range(8)]
    changers = [changer(shop, Random(f"{seed}-c{n}")) for n in range(2)]
    results = await asyncio.gather(*changers, *buyers)
    await shop.stop_loops()
    await settle_all(shop.settler(consumer="two"))
    assert watch.faults == []
    assert watch.seen > 20
    assert any(isinstance(a, Moved) for a in results[0] or [])
    await shop.commands().expire_due(4096)
    await shop.assert_sound()
    terms, row = await shop.terms("phone"), (await shop.ledger.stock())[0]
    assert (terms.on_hand, terms.safety_stock) == (row.on_hand, row.safety_stock)
    assert row.received == row.sold + row.on_hand
