"""A Redis that lost data is rebuilt from the ledger and from what survived in it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.model import State
from gateway.runtime.rebuild import plan_rebuild
from gateway.sale import rebuild as rebuild_module
from gateway.sale import verify as verify_module
from gateway.store import keys
from gateway.workers import settler as settler_module
from tests.sale.fixtures import PATIENT
from tests.sale.steps import Sale, config_for, counts, granted, open_sale, refused, settle_all
from tests.sale.wreck import copy_of, flush, outcomes, put_back, rebuilt, shake
from tests.support.servers import RedisServer


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_module, "ROUND_PAUSE_S", 0.0)
    monkeypatch.setattr(rebuild_module, "LOOK_PAUSE_S", 0.0)
    monkeypatch.setattr(settler_module, "BLOCK_S", 0.02)


@pytest.fixture(params=["redis", "valkey"])
async def shop(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Sale]:
    """A sale on a real Redis 7.0 or Valkey with phones in every state."""
    server: RedisServer = request.getfixturevalue(f"{request.param}_server")
    server.call("FLUSHALL")
    async with open_sale(config_for(server.url, tmp_path, **PATIENT)) as sale:
        yield sale


async def busy(sale: Sale) -> dict[str, str]:
    """Phones (limit 9, 5 kept back) and lamps in every state; ids by state."""
    await sale.put("phone", 100, 5, buyer_limit=9)
    await sale.put("lamp", 20)
    settled = await sale.confirmed(("phone", 4), ("lamp", 1), buyer="sam")
    await settle_all(sale.settler())
    ids = {
        "settled": settled,
        "expired": await sale.expired(("phone", 1)),
        "held": await sale.held(("phone", 2), ("lamp", 3), buyer="hal"),
        "paying": await sale.held(("phone", 3), buyer="pat"),
        "released": await sale.held(("lamp", 2)),
        "confirmed": await sale.confirmed(("phone", 5), buyer="con"),
    }
    granted(await sale.reservations.pay(ids["paying"]))
    granted(await sale.reservations.release(ids["released"]))
    return ids


async def test_a_healthy_system_is_left_as_it_is_to_the_byte(shop: Sale) -> None:
    await busy(shop)
    before = await copy_of(shop, housekeeping=False)
    done = await rebuilt(shop)
    assert done.ok
    assert done.mended == 0
    assert not done.mark
    assert set(outcomes(done).values()) == {"sound"}
    assert await copy_of(shop, housekeeping=False) == before


async def test_an_emptied_redis_has_what_the_ledger_has(shop: Sale) -> None:
    await busy(shop)
    await flush(shop)
    done = await rebuilt(shop)
    assert outcomes(done) == {"phone": "rebuilt", "lamp": "rebuilt"}
    assert counts(await shop.terms("phone")) == (96, 91, 0, 0, 5, 4)
    assert counts(await shop.terms("lamp")) == (19, 19, 0, 0, 0, 1)
    await shop.assert_sound()
    assert await shop.state(await shop.confirmed(("phone", 1))) is State.CONFIRMED


async def test_what_a_buyer_bought_still_counts(shop: Sale) -> None:
    await busy(shop)
    await flush(shop)
    await rebuilt(shop)
    assert refused(await shop.hold(("phone", 6), buyer="sam")).code == "buyer-limit"
    granted(await shop.hold(("phone", 5), buyer="sam"))


async def test_a_lost_sku_is_rebuilt_around_the_records_that_survived(shop: Sale) -> None:
    await busy(shop)
    before = await shop.terms("phone")
    await shop.raw("DEL", keys.sku(0, "phone"), keys.buyers(0, "phone"))
    done = await rebuilt(shop)
    assert outcomes(done) == {"phone": "rebuilt", "lamp": "sound"}
    after = await shop.terms("phone")
    assert counts(after) == counts(before) == (96, 81, 5, 5, 5, 4)
    assert after.settings == before.settings
    assert after.move_seq == before.move_seq
    await settle_all(shop.settler())
    await shop.assert_sound()
    assert refused(await shop.hold(("phone", 8), buyer="hal")).code == "buyer-limit"


@pytest.mark.parametrize(
    "field", ["on_hand", "available", "held", "unsettled", "safety_stock", "sold"]
)
async def test_drift_in_any_counter_is_put_right(shop: Sale, field: str) -> None:
    await busy(shop)
    before = await shop.terms("phone")
    await shake(shop, field, "phone", 3)
    assert not (await shop.verify()).ok
    assert outcomes(await rebuilt(shop)) == {"phone": "rebuilt", "lamp": "sound"}
    assert counts(await shop.terms("phone")) == counts(before)
    await shop.assert_sound()


async def test_lost_outbox_entries_and_reminders_come_back(shop: Sale) -> None:
    ids = await busy(shop)
    await shop.raw("DEL", keys.outbox(0))
    for name in await shop.raw("KEYS", f"{keys.due(0)}*"):
        await shop.raw("DEL", name)
    before = await shop.terms("phone")
    done = await rebuilt(shop)
    assert done.mended == 3  # one outbox entry, two holds
    assert set(outcomes(done).values()) == {"sound"}, "no SKU is closed for it"
    assert counts(await shop.terms("phone")) == counts(before)
    await settle_all(shop.settler())
    assert await shop.state(ids["confirmed"]) is State.SETTLED


async def test_a_stale_copy_is_brought_up_to_the_ledger(shop: Sale) -> None:
    """What was held or confirmed in the copy and sold since is sold, once."""
    ids = await busy(shop)
    copy = await copy_of(shop)
    granted(await shop.reservations.confirm(ids["held"], "pay-hal", 0.0))
    await settle_all(shop.settler())
    new = await shop.confirmed(("phone", 7), buyer="neu")
    await settle_all(shop.settler())
    await put_back(shop, copy)
    assert await shop.state(ids["held"]) is State.HELD, "the copy knows no better"
    done = await rebuilt(shop)
    assert outcomes(done) == {"phone": "rebuilt", "lamp": "rebuilt"}
    await settle_all(shop.settler())
    assert await shop.state(ids["held"]) is State.SETTLED
    assert await shop.state(ids["confirmed"]) is State.SETTLED
    assert await shop.state(new) is State.SETTLED, "only the ledger remembers it"
    assert counts(await shop.terms("phone")) == (82, 74, 3, 0, 5, 18)
    await shop.assert_sound()
    again = granted(await shop.reservations.confirm(ids["held"], "pay-hal", 0.0))
    assert again.reservation.payment_ref == "pay-hal"


async def test_holds_of_a_stale_copy_that_nobody_can_have_keep_the_sku_closed(shop: Sale) -> None:
    await shop.put("phone", 10)
    old = await shop.held(("phone", 10))
    copy = await copy_of(shop)
    granted(await shop.reservations.release(old))
    for number in range(10):
        await shop.confirmed(("phone", 1), buyer=f"b{number}")
    await settle_all(shop.settler())
    await put_back(shop, copy)
    done = await rebuilt(shop)
    assert outcomes(done) == {"phone": "kept closed"}
    assert not done.ok
    assert "10 units more" in done.verdicts[0].note
    assert refused(await shop.hold(("phone", 1))).code == "rebuilding"
    assert refused(await shop.reservations.confirm(old, "pay", 0.0)).code == "rebuilding"
    assert refused(await shop.reservations.release(old)).code == "rebuilding"
    await shop.raw("HSET", keys.reservations(0), old[12:], await past_deadline(shop, old))
    assert outcomes(await rebuilt(shop)) == {"phone": "rebuilt"}
    assert counts(await shop.terms("phone")) == (0, 0, 0, 0, 0, 10)


async def past_deadline(sale: Sale, id_: str) -> str:
    text = (await sale.raw("HGET", keys.reservations(0), id_[12:])).decode()
    parts = text.split("|")
    parts[2] = parts[1]
    return "|".join(parts)


async def test_what_cannot_be_read_is_reported_and_left(shop: Sale) -> None:
    await busy(shop)
    await shop.raw("HSET", keys.reservations(0), "junk", "not a record")
    done = await rebuilt(shop)
    assert done.unreadable == ("junk",)
    assert not done.ok
    assert await shop.raw("HGET", keys.reservations(0), "junk") == b"not a record"


async def test_only_the_skus_that_were_asked_for(shop: Sale) -> None:
    await busy(shop)
    await shake(shop, "held", "phone", 1)
    await shake(shop, "held", "lamp", 1)
    done = await rebuilt(shop, "lamp")
    assert outcomes(done) == {"phone": "unsure", "lamp": "rebuilt"}
    assert not done.ok


async def test_a_sku_that_the_ledger_does_not_own_sells_nothing(shop: Sale) -> None:
    await shop.put("phone", 5)
    await shop.raw("COPY", keys.sku(0, "phone"), keys.sku(0, "ghost"))
    await shop.raw("ZADD", keys.skus(0), 0, "ghost")
    done = await rebuilt(shop)
    assert outcomes(done) == {"phone": "sound", "ghost": "kept closed"}
    assert refused(await shop.hold(("ghost", 1))).code == "rebuilding"


async def test_a_dry_run_tells_and_changes_nothing(shop: Sale) -> None:
    await busy(shop)
    await shake(shop, "held", "phone", 1)
    before = await copy_of(shop)
    plan = await plan_rebuild(shop.core, ())
    assert outcomes(plan) == {"phone": "would be rebuilt", "lamp": "sound"}
    assert plan.verdicts[1].after == ("96", "81", "5", "5", "5", "4")
    assert await copy_of(shop) == before
