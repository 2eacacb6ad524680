"""kill -9 of a rebuild before each of its steps; and two of them at once."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.errors import LeaseBusy, StockgateError
from gateway.core.model import State
from gateway.ledger import MoveRequest
from gateway.runtime.rebuild import LEASE, make_rebuilder
from gateway.sale import rebuild as rebuild_module
from gateway.sale import verify as verify_module
from gateway.store import keys
from gateway.workers import settler as settler_module
from tests.sale.fixtures import PATIENT
from tests.sale.steps import Sale, config_for, counts, granted, open_sale, refused, settle_all
from tests.sale.wreck import Watched, copy_of, flush, outcomes, put_back, rebuilt
from tests.support.processes import Child
from tests.support.servers import RedisServer

ROOT = Path(__file__).parents[2]

POINTS = [
    ("look", 1),
    ("close", 1),
    ("close", 2),
    ("mark in the ledger", 1),
    ("mark in Redis", 1),
    ("look again", 1),
    ("mend", 1),
    ("look again", 2),
    ("open", 1),
    ("buyers written", 1),
    ("open", 2),
    ("buyers written", 2),
]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_module, "ROUND_PAUSE_S", 0.0)
    monkeypatch.setattr(rebuild_module, "LOOK_PAUSE_S", 0.0)
    monkeypatch.setattr(settler_module, "BLOCK_S", 0.02)


@pytest.fixture(params=["redis", "valkey"])
async def shop(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Sale]:
    server: RedisServer = request.getfixturevalue(f"{request.param}_server")
    server.call("FLUSHALL")
    async with open_sale(config_for(server.url, tmp_path, **PATIENT)) as sale:
        yield sale


async def stale(sale: Sale) -> dict[str, str]:
    """A Redis put back in time: a hold that was sold since, one that ran out, one that lives."""
    watched = Watched(sale)
    await sale.put("phone", 30, 2, buyer_limit=9)
    await sale.put("lamp", 10)
    ids = {
        "sold": await sale.held(("phone", 4), ("lamp", 1), buyer="sam"),
        "live": await sale.held(("phone", 3), buyer="liv"),
        "paid": await sale.confirmed(("lamp", 2), buyer="pia"),
    }
    copy = await copy_of(sale)
    granted(await sale.reservations.confirm(ids["sold"], "pay-sam", 0.0))
    await settle_all(sale.settler())
    await watched.beat()
    await put_back(sale, copy)
    assert await watched.look() != ""
    return ids


async def die_at(sale: Sale, folder: Path, step: str, nth: int) -> None:
    command = [sys.executable, "-m", "tests.sale.rebuilding_child", sale.core.config.store]
    child = Child([*command, str(folder), step, str(nth)], cwd=ROOT, log=folder / "log")
    try:
        code = await asyncio.to_thread(child.wait, 30)
        assert code == -signal.SIGKILL, child.output()
    finally:
        child.kill()
    await sale.raw("DEL", keys.LEASE_TERMS)  # rather than wait for the dead holder's term


@pytest.mark.parametrize(("step", "nth"), POINTS)
async def test_a_rebuild_that_was_killed_is_done_again(
    shop: Sale, tmp_path: Path, step: str, nth: int
) -> None:
    ids = await stale(shop)
    await die_at(shop, tmp_path, step, nth)
    watched = Watched(shop)
    await watched.beat()
    if step not in ("look", "mark in the ledger", "mark in Redis") and nth == 1:
        assert "stockgate rebuild" in watched.keeper.interrupted
    await rebuilt(shop)
    assert await watched.beat() == ""
    assert watched.keeper.interrupted == ""
    await settle_all(shop.settler())
    assert counts(await shop.terms("phone")) == (26, 21, 3, 0, 2, 4)
    assert counts(await shop.terms("lamp")) == (7, 7, 0, 0, 0, 3)
    assert [await shop.state(ids[name]) for name in ("sold", "live", "paid")] == [
        State.SETTLED,
        State.HELD,
        State.SETTLED,
    ]
    assert refused(await shop.hold(("phone", 6), buyer="sam")).code == "buyer-limit"
    await shop.assert_sound()


async def test_one_at_a_time(shop: Sale) -> None:
    await shop.put("phone", 30)
    async with shop.core.leases.hold(LEASE, expected_s=5):
        with pytest.raises(LeaseBusy):
            await rebuilt(shop)
    await rebuilt(shop)


async def test_two_without_a_lease_do_no_harm(shop: Sale) -> None:
    """What one closed after the other looked, the other leaves alone."""
    await shop.put("phone", 30)
    await shop.put("lamp", 10)
    held = await shop.confirmed(("phone", 3))
    await settle_all(shop.settler())
    await flush(shop)
    makers = [make_rebuilder(shop.core, shop.stack) for _ in range(3)]
    ended = await asyncio.gather(*[maker.run() for maker in makers], return_exceptions=True)
    assert all(not isinstance(e, Exception) or isinstance(e, StockgateError) for e in ended), ended
    await rebuilt(shop)
    await Watched(shop).beat()
    assert counts(await shop.terms("phone")) == (27, 27, 0, 0, 0, 3)
    assert counts(await shop.terms("lamp")) == (10, 10, 0, 0, 0, 0)
    assert await shop.state(held) is State.SETTLED
    await shop.assert_sound()


async def test_a_later_rebuild_takes_a_sku_over(shop: Sale) -> None:
    """The first one planned before the SKU was opened by the second and sold."""
    await shop.put("phone", 30)
    await flush(shop)

    async def overtake() -> None:
        await make_rebuilder(shop.core, shop.stack).run()
        await Watched(shop).beat()
        granted(await shop.hold(("phone", 5)))

    first = make_rebuilder(shop.core, shop.stack)
    open_one = first._open_one

    async def late(*args: object) -> object:
        await overtake()
        return await open_one(*args)  # type: ignore[arg-type]

    first._open_one = late  # type: ignore[assignment,method-assign]
    with pytest.raises(StockgateError, match="taken over"):
        await first.run()
    assert counts(await shop.terms("phone")) == (30, 25, 5, 0, 0, 0)


async def test_a_move_in_flight_is_neither_lost_nor_done_twice(shop: Sale) -> None:
    """The ledger has numbered it; whether Redis had applied it is gone with Redis."""
    await shop.put("phone", 30)
    await shop.ledger.begin_move(
        MoveRequest(sku="phone", kind="adjust", delta=7, reason="more", actor="x")
    )
    await flush(shop)
    done = await rebuilt(shop)
    assert outcomes(done) == {"phone": "rebuilt"}
    await Watched(shop).beat()
    await shop.core.catalogue.recover()
    assert await shop.ledger.pending_moves() == []
    assert counts(await shop.terms("phone")) == (37, 37, 0, 0, 0, 0)
    assert (await shop.ledger.stock())[0].on_hand == 37
    await shop.assert_sound()
