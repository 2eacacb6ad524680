"""Expiry: by the reaper's sweep, and inside hold, snapshot and confirm when it did not come."""

import pytest

from gateway.core.codes import Reply
from gateway.core.model import State
from gateway.store.commands import Sweep
from tests.store.shop import BUCKET_MS, TTL_MS, WINDOW_MS, Shop, Terms, field_of, request


async def test_a_hold_is_back_on_sale_at_its_deadline(shop: Shop) -> None:
    await shop.put("phone", 5, buyer_limit=3)
    await shop.put("case", 5)
    await shop.held("a", ("phone", 3), ("case", 1))
    shop.pass_ms(TTL_MS - 1)
    assert await shop.commands.expire_due(100) == Sweep(0, 0, 0)
    shop.pass_ms(1)
    assert await shop.commands.expire_due(100) == Sweep(1, 1, 0)
    assert await shop.state("a") is State.EXPIRED
    assert await shop.terms("phone") == Terms(5, 5)
    assert await shop.terms("case") == Terms(5, 5)
    assert shop.pulses["phone"].available == 5
    assert await shop.commands.expire_due(100) == Sweep(0, 0, 0)


@pytest.mark.parametrize("ttl_ms", [1, 50, 99, 100, 101, 12_345])
async def test_a_sweep_is_late_by_less_than_a_bucket(shop: Shop, ttl_ms: int) -> None:
    await shop.put("phone", 1)
    await shop.held("a", ttl_ms=ttl_ms)
    shop.pass_ms(ttl_ms - 1)
    assert await shop.expire() == 0, "never early"
    shop.pass_ms(BUCKET_MS)
    assert await shop.expire() == 1


async def test_what_ended_or_was_moved_is_skipped(shop: Shop) -> None:
    await shop.put("phone", 9)
    for key in ("released", "confirmed", "paying", "extended", "due"):
        await shop.held(key)
    await shop.release("released")
    await shop.confirm("confirmed")
    await shop.pay("paying")
    await shop.extend("extended", TTL_MS + BUCKET_MS)
    shop.pass_ms(TTL_MS)
    assert await shop.commands.expire_due(100) == Sweep(5, 1, 0)
    shop.pass_ms(BUCKET_MS)
    assert await shop.commands.expire_due(100) == Sweep(1, 1, 0)
    shop.pass_ms(WINDOW_MS)
    assert await shop.commands.expire_due(100) == Sweep(1, 1, 0)
    states = [await shop.state(key) for key in ("released", "confirmed", "paying", "extended")]
    assert states == [State.RELEASED, State.CONFIRMED, State.EXPIRED, State.EXPIRED]


async def test_a_sweep_is_bounded_and_goes_on_where_it_stopped(shop: Shop) -> None:
    await shop.put("phone", 10)
    await shop.hold_all(*(request(f"k{n}") for n in range(10)))
    shop.pass_ms(TTL_MS)
    swept = [await shop.commands.expire_due(4) for _ in range(4)]
    assert [sweep.expired for sweep in swept] == [4, 4, 2, 0]
    assert await shop.terms() == Terms(10, 10)


@pytest.mark.parametrize("limit", [1, 5])
async def test_a_sweep_that_ends_with_its_list_goes_on(shop: Shop, limit: int) -> None:
    await shop.put("phone", 10)
    await shop.hold_all(*(request(f"k{n}", ttl_ms=100 * (1 + n // 5)) for n in range(10)))
    shop.pass_ms(1000)
    total = 0
    for _ in range(2 * 10 // limit + 2):
        total += await shop.expire(limit)
    assert total == 10
    assert await shop.reminders("due") == {}


async def test_one_sweep_takes_all_that_is_due_up_to_its_bound(shop: Shop) -> None:
    await shop.put("phone", 100)
    await shop.hold_all(*(request(f"k{n}", ttl_ms=BUCKET_MS * (n + 1)) for n in range(100)))
    shop.pass_ms(BUCKET_MS * 100)
    assert await shop.commands.expire_due(60) == Sweep(60, 60, 0)
    assert await shop.commands.expire_due(60) == Sweep(40, 40, 0)


async def test_oldest_deadlines_are_swept_first(shop: Shop) -> None:
    await shop.put("phone", 3)
    await shop.hold_all(*(request(f"k{ttl}", ttl_ms=ttl) for ttl in (300, 100, 200)))
    shop.pass_ms(1000)
    assert await shop.expire(2) == 2
    assert await shop.state("k300") is State.HELD


async def test_a_shortage_sweeps_inside_hold(shop: Shop) -> None:
    await shop.put("phone", 3)
    await shop.hold_all(request("a"), request("b"), request("c", ttl_ms=2 * TTL_MS))
    shop.pass_ms(TTL_MS)
    answers = await shop.hold_all(*(request(key) for key in ("d", "e", "f")))
    assert [answer.code for answer in answers] == [Reply.HELD, Reply.HELD, Reply.SOLD_OUT]
    assert await shop.terms() == Terms(3, 0, held=3)
    assert await shop.state("a") is State.EXPIRED


async def test_a_shortage_of_one_line_sweeps_too(shop: Shop) -> None:
    await shop.put("phone", 2)
    await shop.put("case", 2)
    await shop.held("a", ("phone", 2), ("case", 2))
    shop.pass_ms(TTL_MS)
    await shop.held("b", ("case", 2), ("phone", 2))


async def test_a_shortage_sweeps_over_many_lists_of_other_skus(shop: Shop) -> None:
    await shop.put("case", 200)
    await shop.put("phone", 1)
    others = [request(f"k{n}", ("case", 1), ttl_ms=BUCKET_MS * (n + 1)) for n in range(200)]
    await shop.hold_all(*others, request("a", ttl_ms=BUCKET_MS * 201))
    shop.pass_ms(BUCKET_MS * 201)
    assert (await shop.hold("b")).code == Reply.HELD


async def test_a_sweep_inside_hold_is_bounded(shop: Shop) -> None:
    await shop.put("case", 300)
    await shop.put("phone", 1)
    others = [request(f"k{n}", ("case", 1), ttl_ms=BUCKET_MS) for n in range(300)]
    await shop.hold_all(*others, request("a", ttl_ms=2 * BUCKET_MS))
    shop.pass_ms(2 * BUCKET_MS)
    # Not sold out: what is still due may hold the unit, so the caller is asked to come again.
    assert (await shop.hold("b")).code == Reply.MORE_DUE
    assert await shop.terms("case") == Terms(300, 256, held=44)
    assert (await shop.hold("b")).code == Reply.HELD


async def test_a_late_payment_is_not_refused_while_more_is_due(shop: Shop) -> None:
    """A refusal of a late payment is final, so it must not come too early."""
    await shop.put("case", 300)
    await shop.put("phone", 1)
    await shop.held("late", ttl_ms=BUCKET_MS)
    shop.pass_ms(2 * BUCKET_MS)
    assert await shop.expire() == 1
    others = [request(f"k{n}", ("case", 1), ttl_ms=BUCKET_MS) for n in range(300)]
    await shop.hold_all(*others, request("a", ttl_ms=2 * BUCKET_MS))
    shop.pass_ms(3 * BUCKET_MS)
    assert await shop.confirm("late") is Reply.MORE_DUE
    assert await shop.confirm("late") is Reply.DONE


async def test_a_hold_in_a_list_read_half_by_hold_is_not_forgotten(shop: Shop) -> None:
    await shop.put("phone", 100)
    await shop.hold_all(*(request(f"k{n}") for n in range(100)))
    shop.pass_ms(TTL_MS)
    await shop.held("b")
    assert await shop.terms() == Terms(100, 63, held=37)
    assert await shop.expire() == 36


async def test_a_batch_can_expire_and_replay_the_same_key(shop: Shop) -> None:
    await shop.put("phone", 1)
    await shop.held("a")
    shop.pass_ms(TTL_MS)
    held, replayed = await shop.hold_all(request("b"), request("a"))
    assert held.code == Reply.HELD
    assert (replayed.code, replayed.a[:1]) == (Reply.REPLAYED, b"x")


async def test_a_snapshot_sweeps_first(shop: Shop) -> None:
    await shop.put("phone", 5)
    await shop.hold_all(*(request(f"k{n}") for n in range(3)))
    shop.pass_ms(TTL_MS)
    _, [terms] = await shop.commands.snapshot(["phone"], expire_max=2)
    assert (terms.available, terms.held) == (4, 1)
    _, [terms] = await shop.commands.snapshot(["phone"])
    assert (terms.available, terms.held) == (5, 0)
    assert await shop.reminders("due") == {}


async def test_a_hold_has_one_reminder_however_often_it_is_extended(shop: Shop) -> None:
    await shop.put("phone", 5)
    await shop.held("a")
    for ms in range(1, 50):
        await shop.extend("a", TTL_MS + ms * BUCKET_MS)
    assert sum(map(len, (await shop.reminders("due")).values())) == 1
    shop.pass_ms(TTL_MS)
    assert await shop.commands.expire_due(100) == Sweep(1, 0, 0)  # listed anew, later
    assert sum(map(len, (await shop.reminders("due")).values())) == 1
    shop.pass_ms(49 * BUCKET_MS)
    assert await shop.commands.expire_due(100) == Sweep(1, 1, 0)
    assert await shop.terms() == Terms(5, 5)


async def test_the_store_has_a_clock_of_its_own(shop: Shop) -> None:
    await shop.put("phone", 2)
    seconds, micros = await shop.raw("TIME")
    shop.now_ms = 0
    answer = await shop.hold("a", ttl_ms=1)
    earliest = int(seconds) * 1000 + int(micros) // 1000
    assert earliest <= answer.now_ms <= earliest + 60_000
    assert (await shop.row("a")).deadline_ms == answer.now_ms + 1 == answer.a
    shop.now_ms = answer.now_ms + BUCKET_MS
    assert await shop.expire() == 1
    assert field_of("a") in await shop.rows()


LARGE_CART = tuple((f"sku-{n:02d}", 1) for n in range(50))


async def large_carts_that_are_due(shop: Shop, carts: int) -> None:
    for sku, _ in LARGE_CART:
        await shop.put(sku, carts)
    await shop.hold_all(*(request(f"k{n}", *LARGE_CART) for n in range(carts)))
    shop.pass_ms(TTL_MS)


async def test_a_shortage_expires_some_hundred_lines_at_a_time(shop: Shop) -> None:
    await large_carts_that_are_due(shop, 30)
    await shop.put("phone", 1)
    await shop.held("paid", ttl_ms=BUCKET_MS)
    shop.pass_ms(BUCKET_MS)
    assert (await shop.hold("new")).code == Reply.MORE_DUE
    assert await shop.terms("sku-00") == Terms(30, 11, held=19)
    codes = [(await shop.hold("new")).code for _ in range(2)]
    assert codes == [Reply.MORE_DUE, Reply.HELD]
    assert await shop.state("paid") is State.EXPIRED


async def test_a_sweep_of_large_carts_takes_several_calls_and_is_whole(shop: Shop) -> None:
    await large_carts_that_are_due(shop, 30)
    assert await shop.commands.expire_due(20) == Sweep(20, 20, 0)
    assert await shop.commands.expire_due(100) == Sweep(10, 10, 0)
    assert await shop.commands.expire_due(100) == Sweep(0, 0, 0)
    assert await shop.terms("sku-49") == Terms(30, 30)
