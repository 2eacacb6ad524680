"""forget_ended: what ended long ago is forgotten with its key, and only that."""

import pytest

from gateway.core.codes import Reply
from gateway.core.model import State
from tests.store.shop import TTL_MS, Shop, Terms, field_of, request

DAY_MS = 86_400_000
MINUTE_MS = 60_000


async def forget(shop: Shop, limit: int = 100) -> tuple[int, int]:
    return await shop.commands.forget_ended(DAY_MS, limit)


async def ended(shop: Shop, key: str, ending: str) -> None:
    await shop.held(key, ttl_ms=100 if ending == "expire" else 0)
    if ending in ("settle", "reject"):
        await shop.confirm(key)
        await shop.finish(ending, key)
    elif ending == "release":
        await shop.release(key)
    else:
        shop.pass_ms(100)
        await shop.expire()


@pytest.mark.parametrize("ending", ["settle", "reject", "release", "expire"])
async def test_a_reservation_is_remembered_as_long_as_promised(shop: Shop, ending: str) -> None:
    await shop.put("phone", 5)
    await ended(shop, "a", ending)
    shop.pass_ms(DAY_MS - 1)
    assert await forget(shop) == (0, 0)
    assert (await shop.hold("a")).code in (Reply.REPLAYED, Reply.IDEMPOTENCY_MISMATCH)
    shop.pass_ms(MINUTE_MS)
    terms = await shop.terms()
    assert await forget(shop) == (1, 1)
    assert await forget(shop) == (0, 0)
    assert await shop.rows() == {}
    assert await shop.reminders("ended") == {}
    assert await shop.terms() == terms
    shop.damaged = terms.sold > 0  # a forgotten sale has no row to be recounted from
    if terms.available:
        await shop.held("a")


async def test_what_has_not_ended_is_never_forgotten(shop: Shop) -> None:
    await shop.put("phone", 5)
    await shop.hold_all(*(request(key, ttl_ms=3 * DAY_MS) for key in ("held", "paying")))
    await shop.pay("paying")
    await shop.held("confirmed")
    await shop.confirm("confirmed")
    await shop.held("released")
    await shop.release("released")
    shop.pass_ms(2 * DAY_MS)
    assert await forget(shop) == (1, 1)
    states = {row.state for row in (await shop.rows()).values()}
    assert states == {State.HELD, State.PAYING, State.CONFIRMED}


async def test_a_late_confirm_of_an_expired_reservation_is_kept(shop: Shop) -> None:
    await shop.put("phone", 5)
    await ended(shop, "a", "expire")
    shop.pass_ms(DAY_MS - MINUTE_MS)
    await shop.confirm("a")
    shop.pass_ms(3 * MINUTE_MS)
    assert await forget(shop) == (1, 0)
    await shop.settle("a")
    shop.pass_ms(DAY_MS - MINUTE_MS)
    assert await forget(shop) == (0, 0)
    assert await shop.state("a") is State.SETTLED
    shop.pass_ms(2 * MINUTE_MS)
    assert await forget(shop) == (1, 1)
    shop.damaged = True
    assert await shop.terms() == Terms(4, 4, sold=1)


async def test_a_late_payment_is_remembered_from_when_it_settled(shop: Shop) -> None:
    await shop.put("phone", 5)
    await ended(shop, "a", "expire")
    shop.pass_ms(DAY_MS - MINUTE_MS)
    await shop.confirm("a")
    await shop.settle("a")
    shop.pass_ms(3 * MINUTE_MS)
    assert await forget(shop) == (1, 0)  # its expiry is a day ago, its sale is not
    assert await shop.state("a") is State.SETTLED
    shop.pass_ms(DAY_MS)
    assert await forget(shop) == (1, 1)
    shop.damaged = True


async def test_a_call_is_bounded_and_the_next_goes_on(shop: Shop) -> None:
    await shop.put("phone", 10)
    keys = [f"k{n}" for n in range(10)]
    await shop.hold_all(*map(request, keys))
    await shop.act("release", keys, "")
    shop.pass_ms(DAY_MS + MINUTE_MS)
    calls = [await forget(shop, 4) for _ in range(4)]
    assert calls == [(4, 4), (4, 4), (2, 2), (0, 0)]
    assert await shop.rows() == {}


async def test_old_reminders_do_not_touch_a_key_that_is_used_again(shop: Shop) -> None:
    await shop.put("phone", 10)
    await shop.held("a", ttl_ms=5 * DAY_MS)
    await shop.release("a")
    shop.pass_ms(DAY_MS + MINUTE_MS)
    assert await forget(shop) == (1, 1)
    await shop.held("a", ttl_ms=5 * DAY_MS)
    shop.pass_ms(4 * DAY_MS)
    assert await shop.expire() == 0, "the old deadline is not the new one's"
    assert await shop.state("a") is State.HELD
    shop.pass_ms(DAY_MS)
    assert await shop.expire() == 1


async def test_an_id_of_a_forgotten_reservation_is_not_the_next_one_of_its_key(shop: Shop) -> None:
    await shop.put("phone", 10)
    await shop.held("a")
    old = shop.ask("a", "pay-1")
    await shop.release("a")
    shop.pass_ms(DAY_MS + MINUTE_MS)
    await forget(shop)
    await shop.held("a")
    [answer] = await shop.commands.confirm([old])
    assert answer.code == Reply.UNKNOWN_RESERVATION
    shop.pass_ms(TTL_MS)
    assert field_of("a") in await shop.rows()
