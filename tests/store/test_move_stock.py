"""move_stock: numbered movements of the ledger, each applied once; and what snapshot shows."""

import pytest

from gateway.core.codes import Reply
from gateway.core.model import SkuSettings, SkuTerms
from tests.store.shop import START_MS, Shop, Terms

SETTINGS = SkuSettings(
    buyer_limit=3,
    hold_ttl_ms=60_000,
    sale_starts_ms=START_MS,
    sale_ends_ms=START_MS + 3_600_000,
    fuse_rps=5000,
)


async def read(shop: Shop, sku: str = "phone") -> SkuTerms:
    now_ms, [terms] = await shop.commands.snapshot([sku])
    assert now_ms == shop.now_ms
    return terms


async def test_the_first_movement_creates_the_sku(shop: Shop) -> None:
    assert await shop.move("phone", 10, 2, SETTINGS) == (Reply.DONE, 0)
    assert await read(shop) == SkuTerms("phone", 10, 8, 0, 0, 2, 0, 1, 1, SETTINGS)
    assert shop.pulses["phone"] == ("phone", 10, 8, 0, 0, 2, 0, 1)
    assert await shop.listing.sku_names("", 10) == ["phone"]


async def test_only_the_first_movement_creates(shop: Shop) -> None:
    assert await shop.move("phone", 10, seq=2) == (Reply.UNKNOWN_SKU, 0)
    assert await shop.listing.sku_names("", 10) == []
    assert await shop.commands.snapshot(["phone"]) == (START_MS, [])
    assert shop.pulses == {}


async def test_a_first_movement_that_takes_more_than_it_brings_creates_nothing(shop: Shop) -> None:
    before = await shop.dump()
    assert await shop.move("phone", -1) == (Reply.TOO_FEW, 0)
    assert await shop.move("phone", 5, 6) == (Reply.TOO_FEW, 0)
    assert await shop.dump() == before


async def test_an_empty_sku_may_be_created(shop: Shop) -> None:
    await shop.put("phone", 0)
    assert await shop.terms() == Terms(0, 0)
    assert (await shop.hold("a")).code == Reply.SOLD_OUT


async def test_movements_add_up_and_settings_stay_unless_given(shop: Shop) -> None:
    await shop.move("phone", 10, 2, SETTINGS)
    await shop.move("phone", 5)
    await shop.move("phone", -1, 3)
    terms = await read(shop)
    assert terms == SkuTerms("phone", 14, 9, 0, 0, 5, 0, 3, 3, SETTINGS)
    await shop.move("phone", 0, -5, SkuSettings(buyer_limit=1))
    terms = await read(shop)
    assert terms == SkuTerms("phone", 14, 14, 0, 0, 0, 0, 4, 4, SkuSettings(buyer_limit=1))


async def test_a_movement_is_applied_once(shop: Shop) -> None:
    await shop.put("phone", 10)
    await shop.move("phone", 5)
    before = await shop.dump()
    assert await shop.move("phone", 5, seq=2) == (Reply.UNCHANGED, 0)
    assert await shop.move("phone", 10, seq=1) == (Reply.OUT_OF_ORDER, 2)
    assert await shop.dump() == before


async def test_numbers_of_refused_movements_are_passed_over(shop: Shop) -> None:
    await shop.put("phone", 1)
    assert await shop.move("phone", -2, seq=2) == (Reply.TOO_FEW, 1)
    assert await shop.move("phone", 2, seq=3) == (Reply.DONE, 0)
    assert await shop.move("phone", 2, seq=2) == (Reply.OUT_OF_ORDER, 3)
    assert await shop.terms() == Terms(3, 3)


@pytest.mark.parametrize(
    ("on_hand", "safety"), [(-5, 0), (0, 5), (-2, 3), (5, 10), (0, -4), (3, -4), (-10, 0)]
)
async def test_units_that_are_taken_cannot_be_taken_away(
    shop: Shop, on_hand: int, safety: int
) -> None:
    await shop.put("phone", 12, safety=3)
    await shop.held("a", ("phone", 2))
    await shop.held("b", ("phone", 3))
    await shop.confirm("b")
    terms = await shop.terms()
    assert await shop.move("phone", on_hand, safety) == (Reply.TOO_FEW, 4)
    assert await shop.terms() == terms


async def test_a_verdict_on_a_movement_stays(shop: Shop) -> None:
    """Whoever drives it next must hear what the first one heard, or ledger and store part."""
    await shop.put("phone", 5)
    await shop.held("a", ("phone", 3))
    assert await shop.move("phone", -4, seq=2) == (Reply.TOO_FEW, 2)
    await shop.release("a")
    assert await shop.move("phone", -4, seq=2) == (Reply.TOO_FEW, 5)
    assert await shop.move("phone", -4, seq=3) == (Reply.DONE, 0)
    assert await shop.move("phone", -4, seq=3) == (Reply.UNCHANGED, 0)
    assert await shop.terms() == Terms(1, 1)


async def test_safety_stock_and_units_move_together(shop: Shop) -> None:
    await shop.put("phone", 10, safety=4)
    assert await shop.move("phone", -10, -4) == (Reply.DONE, 0)
    assert await shop.terms() == Terms(0, 0)


async def test_a_snapshot_leaves_out_what_does_not_exist(shop: Shop) -> None:
    await shop.put("phone", 1)
    await shop.put("case", 2)
    _, terms = await shop.commands.snapshot(["case", "ghost", "phone"])
    assert [(t.sku, t.on_hand) for t in terms] == [("case", 2), ("phone", 1)]


async def test_versions_rise_with_every_change_and_only_then(shop: Shop) -> None:
    await shop.put("phone", 1)
    await shop.held("a")
    await shop.hold("b")
    await shop.release("a")
    await shop.release("a")
    assert (await read(shop)).version == 3
