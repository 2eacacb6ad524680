"""Large numbers and odd names go through Redis and Lua without losing a digit."""

import pytest

from gateway.core.codes import Reply
from gateway.core.model import HeldLine, SkuSettings, State
from tests.store.shop import START_MS, Shop, Terms, request

TRILLION = 10**12
NAMES = ("a-b._:c", "A:1", "0", "x" * 64, "a.b.c--__::", "nan", "1e3", "0x10", "sku:sku", "inf")


@pytest.mark.parametrize("extra", [0, 1, 2**20 - 1])
async def test_every_term_keeps_all_digits(shop: Shop, extra: int) -> None:
    size = TRILLION + extra
    settings = SkuSettings(size, 999_999_999, 0, START_MS + 999_999_999, 123_456_789)
    assert (await shop.move("phone", 7 * size, size, settings))[0] is Reply.DONE
    for key in ("held", "confirmed", "settled"):
        await shop.held(key, ("phone", size), buyer=key)
    await shop.confirm("settled")
    await shop.settle("settled")
    await shop.confirm("confirmed")
    wanted = Terms(6 * size, 3 * size, size, size, size, size)
    assert await shop.terms() == wanted
    _, [terms] = await shop.commands.snapshot(["phone"])
    assert (terms.on_hand, terms.available, terms.sold) == (6 * size, 3 * size, size)
    assert terms.settings == settings
    assert shop.pulses["phone"][1:7] == wanted
    assert await shop.counts() == dict.fromkeys(("held", "confirmed", "settled"), size)
    assert (await shop.row("settled")).lines == (HeldLine("phone", size, counted=True),)
    refused = await shop.hold("more", ("phone", 3 * size + 1), buyer="zoe")
    assert (refused.code, refused.a) == (Reply.BUYER_LIMIT, size)


async def test_a_refusal_names_all_units(shop: Shop) -> None:
    await shop.put("phone", TRILLION - 1)
    refused = await shop.hold("a", ("phone", TRILLION))
    assert (refused.code, refused.a) == (Reply.SOLD_OUT, TRILLION - 1)
    assert await shop.move("phone", -TRILLION) == (Reply.TOO_FEW, TRILLION - 1)


async def test_safety_units_keep_all_digits(shop: Shop) -> None:
    await shop.put("phone", 2 * TRILLION + 1, safety=TRILLION)
    await shop.held("a", ("phone", TRILLION + 1), ttl_ms=100)
    shop.pass_ms(100)
    await shop.held("b", ("phone", TRILLION))
    assert await shop.confirm("a") is Reply.DONE
    [line] = (await shop.row("a")).lines
    assert line == HeldLine("phone", TRILLION + 1, from_safety=TRILLION)
    [entry] = await shop.take()
    assert entry.reservation.lines == (line,)
    assert await shop.reject("a") == [Reply.DONE]
    assert await shop.terms() == Terms(2 * TRILLION + 1, 1, held=TRILLION, safety_stock=TRILLION)


async def test_times_keep_all_digits(shop: Shop) -> None:
    shop.now_ms = 2**47 + 1_234_567
    await shop.put("phone", 5, sale_starts_ms=shop.now_ms, sale_ends_ms=shop.now_ms + 2)
    await shop.held("a", ttl_ms=999_999_999_999)
    row = await shop.row("a")
    assert (row.created_ms, row.deadline_ms) == (shop.now_ms, shop.now_ms + 999_999_999_999)
    assert await shop.extend("a", 10**12 + 7, 10**13) is Reply.DONE
    assert (await shop.row("a")).deadline_ms == shop.now_ms + 10**12 + 7
    shop.pass_ms(2)
    assert (await shop.hold("b")).a == -shop.now_ms


@pytest.mark.parametrize("sku", NAMES)
async def test_odd_names_are_names_like_any_other(shop: Shop, sku: str) -> None:
    await shop.put(sku, 5, safety=1, buyer_limit=3)
    await shop.put("other", 5)
    await shop.hold_all(
        request("a", (sku, 2), ("other", 1), buyer="b-._:1"),
        request("b", (sku, 1), buyer="0x10", channel="c:1"),
    )
    await shop.pay("a")
    await shop.confirm("a", "ref:*,1e3*2")
    row = await shop.row("a")
    assert row.state is State.CONFIRMED
    assert row.lines == (HeldLine(sku, 2, counted=True), HeldLine("other", 1))
    assert (row.buyer, row.payment_ref) == ("b-._:1", "ref:*,1e3*2")
    assert await shop.settle("a") == [Reply.DONE]
    assert await shop.terms(sku) == Terms(3, 1, held=1, safety_stock=1, sold=2)
    assert await shop.counts(sku) == {"b-._:1": 2, "0x10": 1}
