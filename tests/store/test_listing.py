"""Listings: pages of SKUs and reservations, and what buyers have."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.core.errors import StoreUnavailable
from gateway.core.model import Reservation, State
from gateway.store import feed, keys
from tests.store.fake_server import FakeServer
from tests.store.shop import Shop, request
from tests.support.servers import RedisServer

OpenShop = Callable[[str], Awaitable[Shop]]


async def test_skus_come_by_name_a_page_at_a_time(shop: Shop) -> None:
    names = sorted(["b", "a", "A", "a-1", "a.b", "a:b", "a_b", "z", "10", "9"])
    for name in names:
        await shop.put(name, 1)
    found: list[str] = []
    while page := await shop.listing.sku_names(found[-1] if found else "", 3):
        assert len(page) <= 3
        found += page
    assert found == names
    assert await shop.listing.sku_names("a", 1) == ["a-1"]
    assert await shop.listing.sku_names("zz", 5) == []


async def test_every_reservation_is_seen_over_all_pages(shop: Shop) -> None:
    await shop.put("phone", 2000)
    wanted = [f"k{n}" for n in range(1500)]
    await shop.hold_all(*map(request, wanted))
    await shop.confirm("k7", "pay-7")
    seen: dict[str, Reservation] = {}
    cursor, pages = 0, 0
    while pages == 0 or cursor:
        page = await shop.listing.reservations(cursor, 100)
        seen.update((row.id, row) for row in page.items)
        cursor, pages = page.cursor, pages + 1
    assert pages > 1
    assert seen == {row.id: row for row in (await shop.rows()).values()}
    assert len(seen) == 1500
    assert [row.payment_ref for row in seen.values() if row.state is State.CONFIRMED] == ["pay-7"]


async def test_a_page_tells_the_stores_own_time(shop: Shop) -> None:
    before = await shop.listing.now_ms()
    page = await shop.listing.reservations(0, 10)
    assert before <= page.now_ms <= await shop.listing.now_ms()
    assert page.items == []
    assert page.cursor == 0


async def test_what_buyers_have_is_listed(shop: Shop) -> None:
    await shop.put("phone", 10, buyer_limit=5)
    await shop.hold_all(
        request("a", ("phone", 2)),
        request("b", ("phone", 1)),
        request("c", ("phone", 4), buyer="bob"),
    )
    assert await shop.listing.buyers("phone") == {"ann": 3, "bob": 4}
    assert await shop.listing.buyers("ghost") == {}


async def test_names_of_keys_share_the_shards_tag() -> None:
    names = [keys.reservations(3), keys.outbox(3), keys.sku(3, "a"), keys.buyers(3, "a")]
    assert all(name.startswith("{sg:3}:") for name in [*names, keys.skus(3)])
    assert len(set(names)) == 4


def test_a_sku_stays_on_its_shard() -> None:
    assert {keys.shard_of(f"sku-{n}", 1) for n in range(50)} == {0}
    spread = [keys.shard_of(f"sku-{n}", 8) for n in range(800)]
    assert set(spread) == set(range(8))
    # Fixed for the life of a deployment: these may never change.
    assert [keys.shard_of(sku, 1024) for sku in ("phone", "case", "a:b")] == [989, 260, 520]


async def test_a_feed_ends_with_its_server(
    start_server: Callable[..., RedisServer], open_shop: OpenShop
) -> None:
    server = start_server("redis", appendfsync="no")
    shop = await open_shop(server.url)
    heard = feed.finished(shop.client, 0, shop.clock, call_timeout_s=5.0)
    assert await anext(heard) == ("", [])
    server.kill()
    with pytest.raises(StoreUnavailable):
        await anext(heard)


async def test_a_silent_feed_beats(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "POLL_S", 0.02)
    heard = feed.finished(shop.client, 0, shop.clock, call_timeout_s=5.0)
    assert [await anext(heard) for _ in range(3)] == [("", [])] * 3
    await heard.aclose()


async def test_reads_have_a_deadline(open_shop: OpenShop, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_create(_outbox: object) -> None:
        return None

    monkeypatch.setattr("gateway.store.outbox.Outbox.create", no_create)
    async with FakeServer(mute=True) as server:
        shop = await open_shop(server.url)
        shop.listing._call_timeout_s = 0.1
        calls = (shop.listing.sku_names("", 1), shop.listing.reservations(0, 1))
        for call in calls:
            with pytest.raises(StoreUnavailable):
                await asyncio.wait_for(call, 10.0)
