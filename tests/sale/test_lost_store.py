"""A Redis that lost data or went back in time is noticed, and sells nothing until it is rebuilt."""

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.core.clock import SystemClock
from gateway.core.errors import SetupError, StockgateError, StoreLost
from gateway.core.events import EventKind
from gateway.core.marks import Mark
from gateway.core.model import State
from gateway.runtime.core import open_core
from gateway.sale import rebuild as rebuild_module
from gateway.sale.outcomes import Granted, Refused
from gateway.store import keys
from gateway.store.marks import Guard
from gateway.workers import settler as settler_module
from tests.sale.fixtures import PATIENT
from tests.sale.steps import Sale, config_for, counts, granted, open_sale, refused, settle_all
from tests.sale.wreck import Watched, copy_of, flush, outcomes, put_back, rebuilt
from tests.support.servers import RedisServer

UNITS, BUYERS = 40, 120


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild_module, "LOOK_PAUSE_S", 0.0)
    monkeypatch.setattr(settler_module, "BLOCK_S", 0.02)


@pytest.fixture(params=["redis", "valkey"])
async def shop(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Sale]:
    server: RedisServer = request.getfixturevalue(f"{request.param}_server")
    server.call("FLUSHALL")
    async with open_sale(config_for(server.url, tmp_path, **PATIENT)) as sale:
        await sale.put("phone", UNITS)
        yield sale


async def test_nothing_is_called_unknown_by_a_redis_that_lost_everything(shop: Sale) -> None:
    """Without any watcher: the first answer that would be wrong is not given."""
    assert refused(await shop.hold(("ghost", 1))).code == "unknown-sku"
    held = await shop.held(("phone", 1))
    await flush(shop)
    with pytest.raises(StoreLost, match="stockgate rebuild"):
        await shop.hold(("phone", 1))
    for step in (
        shop.reservations.confirm(held, "pay", 0.0),
        shop.reservations.release(held),
        shop.reservations.show(held),
    ):
        with pytest.raises(StoreLost):
            await step
    with pytest.raises(StoreLost):
        await shop.core.catalogue.adjust("phone", 1, "more", "tester", None)


async def test_a_lost_record_alone_is_unknown(shop: Sale) -> None:
    held = await shop.held(("phone", 1))
    await shop.raw("DEL", keys.reservations(0))
    assert refused(await shop.reservations.show(held)).code == "unknown-reservation"


async def test_the_watch_tells_and_selling_goes_on_once_rebuilt(shop: Sale) -> None:
    watched = Watched(shop)
    assert await watched.beat() == ""
    await flush(shop)
    assert "lost" in await watched.look()
    assert await watched.beat() == await watched.look() != "", "it does not open by itself"
    [told] = watched.events
    assert told.kind is EventKind.STORE_LOST
    assert "stockgate rebuild" in told.detail
    assert outcomes(await rebuilt(shop)) == {"phone": "rebuilt"}
    assert await watched.beat() == ""
    assert watched.events[-1].kind is EventKind.STORE_REBUILT
    granted(await shop.hold(("phone", UNITS)))


async def test_an_old_copy_is_noticed_and_stays_closed_for_whoever_comes_later(
    shop: Sale,
) -> None:
    watched = Watched(shop)
    copy = await copy_of(shop)
    await watched.beat()
    await put_back(shop, copy)
    assert "back in time" in await watched.look()
    with pytest.raises(StoreLost):
        await shop.hold(("phone", 1))
    async with open_core(shop.core.config, SystemClock(), exclusive=True) as later:
        assert "back in time" in later.guards[0].fault
    with pytest.raises(SetupError, match="back in time") as refusal:
        async with open_core(shop.core.config, SystemClock(), exclusive=False):
            pass
    assert "stockgate rebuild" in refusal.value.hint
    await rebuilt(shop)
    assert await watched.beat() == ""


async def test_what_one_gateway_saw_is_told_to_the_ledger(shop: Sale) -> None:
    """A beat that Redis lost before the ledger heard of it."""
    watched = Watched(shop)
    copy = await copy_of(shop)
    await watched.guard.beat()
    assert (await shop.ledger.mark(0)).beats == 0
    await put_back(shop, copy)
    assert await watched.look() != ""
    await watched.beat()
    async with open_core(shop.core.config, SystemClock(), exclusive=True) as later:
        assert later.guards[0].fault


async def test_answers_that_overtake_each_other_are_no_alarm(shop: Sale) -> None:
    guard = shop.core.guards[0]
    known = guard.known
    await guard.beat()
    guard.judge(known, known)  # read before the beat, heard after it
    assert guard.fault == ""
    guard.judge(Mark(known.generation, known.beats), guard.known)
    assert guard.fault != "", "the same, read after it"


class Blind(Guard):
    """A guard that sees nothing: the check of the mark is gone."""

    def judge(self, found: Mark, known: Mark) -> None:
        return


async def sell_out(sale: Sale, tag: str) -> int:
    """Confirmed reservations of one unit each until none is given any more."""
    for number in range(UNITS + 1):
        answer = await sale.hold(("phone", 1), buyer=f"{tag}{number}")
        if isinstance(answer, Refused):
            break
        id_ = answer.reservation.id
        granted(await sale.reservations.confirm(id_, f"pay-{id_}", 0.0))
    return number


@pytest.mark.parametrize("blind", [False, True])
async def test_an_old_copy_sells_nothing_twice(shop: Sale, blind: bool) -> None:
    """blind is the control: buyers are promised, and pay for, units that were sold before."""
    copy = await copy_of(shop)
    watched = Watched(shop)
    await watched.beat()
    assert await sell_out(shop, "a") == UNITS
    await settle_all(shop.settler())
    await put_back(shop, copy)
    if blind:
        guard = Blind(0, shop.core.store.marks(0), "")
        shop.shard._guard = guard
        assert await sell_out(shop, "b") == UNITS
        await settle_all(shop.settler())
        assert (await shop.ledger.stock())[0].sold == UNITS, "the ledger refuses all of them"
        return
    await watched.look()
    with pytest.raises(StoreLost):
        await sell_out(shop, "b")
    await rebuilt(shop)
    await watched.beat()
    assert await sell_out(shop, "c") == 0


@pytest.mark.parametrize("kind", ["redis", "valkey"])
async def test_a_new_connection_looks_before_it_sells(
    kind: str, start_server: Callable[..., RedisServer], tmp_path: Path
) -> None:
    """A server that comes back with old files: the first request already is refused."""
    server = start_server(kind)
    async with open_sale(config_for(server.url, tmp_path, **PATIENT)) as sale:
        await sale.put("phone", UNITS)
        await sale.held(("phone", 1))
        files = server.directory / "appendonlydir"
        shutil.copytree(files, tmp_path / "old")
        await Watched(sale).beat()
        server.kill()
        shutil.rmtree(files)
        shutil.copytree(tmp_path / "old", files)
        server.restart()
        with pytest.raises(StoreLost, match="back in time"):
            await sale.hold(("phone", 1))
        await rebuilt(sale)
        await Watched(sale).beat()
        granted(await sale.hold(("phone", 1)))


class Crowd:
    """Buyers of one unit each, who come back on 503 and pay what they get."""

    def __init__(self, sale: Sale) -> None:
        self.sale = sale
        self.answers: Counter[str] = Counter()
        self.bought: set[str] = set()
        self.over = asyncio.Event()

    async def shop(self, number: int) -> None:
        turn = 0
        while not self.over.is_set():
            turn += 1
            try:
                answer = await self.sale.hold(
                    ("phone", 1), key=f"{number}-{turn}", buyer=f"b{number}"
                )
                if isinstance(answer, Granted):
                    paid = await self.pay(answer.reservation.id)
                    if paid:
                        return
                else:
                    self.answers[answer.code] += 1
            except StockgateError as error:
                self.answers[type(error).__name__] += 1
            await asyncio.sleep(0.002)

    async def pay(self, id_: str) -> bool:
        while True:
            try:
                answer = await self.sale.reservations.confirm(id_, f"pay-{id_}", 0.0)
            except StockgateError as error:
                self.answers[type(error).__name__] += 1
                await asyncio.sleep(0.002)
                continue
            if isinstance(answer, Granted):
                self.bought.add(id_)
            else:
                self.answers[answer.code] += 1
            return isinstance(answer, Granted)


async def test_flushall_in_the_middle_of_a_sale(shop: Sale) -> None:
    """Selling stops, goes on once rebuilt, and ends with all units sold and none twice."""
    watched = Watched(shop)
    shop.run(shop.settler().loop)
    crowd = Crowd(shop)
    buyers = [asyncio.create_task(crowd.shop(n)) for n in range(BUYERS)]
    while len(crowd.bought) < UNITS // 3:
        await asyncio.sleep(0.001)
    await flush(shop)
    assert await watched.look() != ""
    stopped_at = len(crowd.bought)
    await asyncio.sleep(0.05)
    assert len(crowd.bought) == stopped_at, "nothing is promised meanwhile"
    assert crowd.answers["StoreLost"] > 0
    assert crowd.answers["unknown-sku"] == 0
    done = await rebuilt(shop)
    assert outcomes(done) == {"phone": "rebuilt"}
    await watched.beat()
    sold = 0
    async with asyncio.timeout(60):
        while sold < UNITS:
            await asyncio.sleep(0.01)
            sold = (await shop.ledger.stock())[0].sold
    crowd.over.set()
    await asyncio.gather(*buyers)
    assert (await shop.ledger.stock())[0].on_hand == 0
    assert await settled_of(shop, crowd) == UNITS
    await shop.stop_loops()
    await settle_all(shop.settler())
    assert counts(await shop.terms("phone"))[:4] == (0, 0, 0, 0)
    await shop.assert_sound()


async def settled_of(sale: Sale, crowd: Crowd) -> int:
    states = [await sale.reservations.show(id_) for id_ in crowd.bought]
    return sum(isinstance(s, Granted) and s.reservation.state is State.SETTLED for s in states)


async def test_a_rebuild_during_a_sale_refuses_nobody(shop: Sale) -> None:
    """Everything changes while it is read, and nothing is wrong."""
    shop.run(shop.settler().loop)
    crowd = Crowd(shop)
    buyers = [asyncio.create_task(crowd.shop(n)) for n in range(UNITS)]
    for _ in range(5):
        done = await rebuilt(shop)
        assert set(outcomes(done).values()) <= {"sound", "unsure"}
        assert done.mended == 0
    async with asyncio.timeout(60):
        await asyncio.gather(*buyers)
    assert set(crowd.answers) <= {"sold-out"}
    assert len(crowd.bought) == UNITS
    await shop.stop_loops()
    await settle_all(shop.settler())
    assert outcomes(await rebuilt(shop)) == {"phone": "sound"}
    await shop.assert_sound()
