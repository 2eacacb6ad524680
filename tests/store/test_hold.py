"""hold: what is granted, what is refused and why, and what a key answers the second time."""

import pytest

from gateway.core.codes import Reply
from gateway.core.ids import make_id
from gateway.core.model import HeldLine, Reservation, State
from tests.store.shop import START_MS, TTL_MS, Shop, Terms, field_of, request


async def test_a_hold_takes_units_until_its_deadline(shop: Shop) -> None:
    await shop.put("phone", 10)
    answer = await shop.hold("a", ("phone", 3), buyer="ann", channel="web")
    assert answer == (Reply.HELD, START_MS + TTL_MS, 0, START_MS)
    assert await shop.terms() == Terms(10, 7, held=3)
    assert await shop.row("a") == Reservation(
        id=make_id(START_MS, 0, field_of("a")),
        state=State.HELD,
        buyer="ann",
        lines=(HeldLine("phone", 3),),
        created_ms=START_MS,
        deadline_ms=START_MS + TTL_MS,
        channel="web",
    )


async def test_the_last_unit_sells_and_no_more(shop: Shop) -> None:
    await shop.put("phone", 2, safety=1)
    await shop.held("a")
    assert await shop.hold("b") == (Reply.SOLD_OUT, 0, 0, START_MS)
    assert await shop.terms() == Terms(2, 0, held=1, safety_stock=1)


async def test_a_batch_is_served_in_order_across_skus(shop: Shop) -> None:
    await shop.put("phone", 3)
    await shop.put("case", 5)
    answers = await shop.hold_all(
        request("a", ("phone", 2)),
        request("b", ("phone", 2)),
        request("c", ("case", 4), ("phone", 1)),
        request("d", ("phone", 1)),
        request("e", ("case", 1)),
    )
    assert [answer.code for answer in answers] == [
        Reply.HELD,
        Reply.SOLD_OUT,
        Reply.HELD,
        Reply.SOLD_OUT,
        Reply.HELD,
    ]
    assert answers[1].a == 1
    assert answers[3].a == 0
    assert await shop.terms("phone") == Terms(3, 0, held=3)
    assert await shop.terms("case") == Terms(5, 0, held=5)


async def test_lines_of_one_sku_are_summed_before_they_are_checked(shop: Shop) -> None:
    await shop.put("phone", 3)
    await shop.put("case", 9)
    lines = (("case", 1), ("phone", 2), ("case", 2), ("phone", 2))
    assert await shop.hold("a", *lines) == (Reply.SOLD_OUT, 3, 1, START_MS)
    await shop.held("b", *lines[:3], ("phone", 1))
    assert (await shop.row("b")).lines == (HeldLine("case", 3), HeldLine("phone", 3))
    assert await shop.terms("phone") == Terms(3, 0, held=3)


async def test_summed_lines_count_together_against_the_limit(shop: Shop) -> None:
    await shop.put("phone", 9, buyer_limit=3)
    refused = await shop.hold("a", ("phone", 2), ("phone", 2))
    assert refused == (Reply.BUYER_LIMIT, 3, 0, START_MS)
    await shop.held("b", ("phone", 2), ("phone", 1))
    assert await shop.counts() == {"ann": 3}


@pytest.mark.parametrize(
    ("bad", "code", "a"),
    [
        (("ghost", 1), Reply.UNKNOWN_SKU, 0),
        (("scarce", 2), Reply.SOLD_OUT, 1),
        (("later", 1), Reply.SALE_NOT_OPEN, START_MS + 1),
        (("over", 1), Reply.SALE_NOT_OPEN, -START_MS),
        (("limited", 3), Reply.BUYER_LIMIT, 2),
    ],
)
async def test_one_refused_line_refuses_all_and_is_named(
    shop: Shop, bad: tuple[str, int], code: Reply, a: int
) -> None:
    await shop.put("phone", 10, buyer_limit=5)
    await shop.put("scarce", 1)
    await shop.put("later", 9, sale_starts_ms=START_MS + 1)
    await shop.put("over", 9, sale_ends_ms=START_MS)
    await shop.put("limited", 9, buyer_limit=2)
    before = await shop.dump()
    assert await shop.hold("a", ("phone", 1), bad) == (code, a, 1, START_MS)
    assert await shop.hold("b", bad) == (code, a, 0, START_MS)
    assert await shop.dump() == before


async def test_a_bad_request_leaves_its_neighbours_alone(shop: Shop) -> None:
    await shop.put("phone", 10)
    await shop.put("broken", 10)
    await shop.held("old")
    await shop.raw("HSET", "{sg:0}:sku:broken", "available", "11")
    shop.damaged = True
    answers = await shop.hold_all(
        request("a"),
        request("b", ("ghost", 1)),
        request("c", ("broken", 1)),
        request("old", ("phone", 2)),
        request("d", ("phone", 100)),
        request("e"),
        request("old"),
    )
    assert [answer.code for answer in answers] == [
        Reply.HELD,
        Reply.UNKNOWN_SKU,
        Reply.INVARIANT_BREACH,
        Reply.IDEMPOTENCY_MISMATCH,
        Reply.SOLD_OUT,
        Reply.HELD,
        Reply.REPLAYED,
    ]
    assert await shop.terms() == Terms(10, 7, held=3)


async def test_a_key_holds_once_and_answers_the_same_again(shop: Shop) -> None:
    await shop.put("phone", 10)
    await shop.held("a", ("phone", 2))
    shop.pass_ms(5000)
    again = await shop.hold("a", ("phone", 2))
    assert again == (Reply.REPLAYED, (await shop.record("a")).encode(), 0, START_MS + 5000)
    other = await shop.hold("a", ("phone", 3))
    assert other.code == Reply.IDEMPOTENCY_MISMATCH
    assert await shop.terms() == Terms(10, 8, held=2)


async def test_a_key_twice_in_one_batch_holds_once(shop: Shop) -> None:
    await shop.put("phone", 10)
    first, second, other = await shop.hold_all(
        request("a"), request("a"), request("a", ("phone", 5))
    )
    assert first.code == Reply.HELD
    assert (second.code, second.a.decode()) == (Reply.REPLAYED, await shop.record("a"))
    assert other.code == Reply.IDEMPOTENCY_MISMATCH
    assert await shop.terms() == Terms(10, 9, held=1)


async def test_a_refused_key_may_try_again(shop: Shop) -> None:
    await shop.put("phone", 1)
    refused, granted = await shop.hold_all(request("a", ("phone", 2)), request("a"))
    assert refused.code == Reply.SOLD_OUT
    assert granted.code == Reply.HELD


async def test_a_key_remembers_how_its_reservation_ended(shop: Shop) -> None:
    await shop.put("phone", 9)
    for key in ("released", "expired", "confirmed"):
        await shop.held(key)
    await shop.release("released")
    await shop.confirm("confirmed", "pay-7")
    shop.pass_ms(TTL_MS)
    await shop.expire()
    answers = await shop.hold_all(*map(request, ("released", "expired", "confirmed")))
    assert [answer.code for answer in answers] == [Reply.REPLAYED] * 3
    assert [answer.a.decode()[0] for answer in answers] == ["r", "x", "c"]
    assert await shop.terms() == Terms(9, 8, unsettled=1)


async def test_each_touched_sku_is_reported_as_it_is_after_the_batch(shop: Shop) -> None:
    await shop.put("phone", 5)
    await shop.put("case", 5, safety=1)
    await shop.hold_all(request("a", ("phone", 2)), request("b", ("case", 5)), request("c"))
    assert shop.pulses["phone"] == ("phone", 5, 2, 3, 0, 0, 0, 2)
    assert shop.pulses["case"] == ("case", 5, 4, 0, 0, 1, 0, 1)


async def test_a_large_batch_with_more_writes_than_lua_can_unpack(
    shop: Shop, store_url: str
) -> None:
    size = 2100 if store_url == "memory://" else 4096
    await shop.put("phone", 5000, buyer_limit=1)
    batch = [request(f"k{n}", buyer=f"b{n}") for n in range(size)]
    answers = await shop.hold_all(*batch)
    assert {answer.code for answer in answers} == {Reply.HELD}
    assert await shop.terms() == Terms(5000, 5000 - size, held=size)
