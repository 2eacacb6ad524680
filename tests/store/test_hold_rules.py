"""hold: how long it lasts, when it is open, and how many units one buyer may have."""

import pytest

from gateway.core.codes import Reply
from tests.store.shop import START_MS, TTL_MS, Shop, Terms, request


async def deadline(shop: Shop, key: str, *lines: tuple[str, int], ttl_ms: int = 0) -> int:
    answer = await shop.hold(key, *lines, ttl_ms=ttl_ms)
    assert answer.code == Reply.HELD
    assert (await shop.row(key)).deadline_ms == answer.a
    return answer.a - START_MS


async def test_the_ttl_is_the_requests_or_the_skus_or_the_default(shop: Shop) -> None:
    await shop.put("phone", 10)
    await shop.put("short", 10, hold_ttl_ms=60_000)
    assert await deadline(shop, "a", ("phone", 1)) == TTL_MS
    assert await deadline(shop, "b", ("short", 1)) == 60_000
    assert await deadline(shop, "c", ("short", 1), ttl_ms=90_001) == 90_001
    assert await deadline(shop, "d", ("phone", 1), ttl_ms=1) == 1


async def test_the_shortest_sku_ttl_among_the_lines_counts(shop: Shop) -> None:
    await shop.put("phone", 10)
    await shop.put("short", 10, hold_ttl_ms=60_000)
    await shop.put("shorter", 10, hold_ttl_ms=30_000)
    await shop.put("long", 10, hold_ttl_ms=2 * TTL_MS)
    three = (("short", 1), ("phone", 1), ("shorter", 1))
    assert await deadline(shop, "a", *three) == 30_000
    assert await deadline(shop, "b", *three[::-1]) == 30_000
    assert await deadline(shop, "c", ("phone", 1), ("long", 1)) == 2 * TTL_MS
    assert await deadline(shop, "d", *three, ttl_ms=TTL_MS) == TTL_MS


async def test_each_request_of_a_batch_has_its_own_ttl(shop: Shop) -> None:
    await shop.put("phone", 10)
    answers = await shop.hold_all(*(request(f"k{ttl}", ttl_ms=ttl) for ttl in (1, 250, 1, 99_999)))
    assert [answer.code for answer in answers] == [*[Reply.HELD] * 2, Reply.REPLAYED, Reply.HELD]
    shop.pass_ms(100)
    assert await shop.expire() == 1
    shop.pass_ms(200)
    assert await shop.expire() == 1


@pytest.mark.parametrize(
    ("starts", "ends", "at", "answer"),
    [
        (0, 0, 0, None),
        (100, 0, 99, 100),
        (100, 0, 100, None),
        (0, 100, 99, None),
        (0, 100, 100, -100),
        (0, 100, 101, -100),
        (100, 200, 99, 100),
        (100, 200, 199, None),
        (100, 200, 200, -200),
    ],
)
async def test_the_sale_starts_inclusive_and_ends_exclusive(
    shop: Shop, starts: int, ends: int, at: int, answer: int | None
) -> None:
    def moment(ms: int) -> int:
        return START_MS + ms if ms else 0

    await shop.put("phone", 5, sale_starts_ms=moment(starts), sale_ends_ms=moment(ends))
    shop.pass_ms(at)
    code, a, _, _ = await shop.hold("a")
    if answer is None:
        assert code == Reply.HELD
    else:
        expected = START_MS + answer if answer > 0 else -START_MS + answer
        assert (code, a) == (Reply.SALE_NOT_OPEN, expected)


async def test_what_was_held_in_time_is_confirmed_after_the_sale(shop: Shop) -> None:
    await shop.put("phone", 5, sale_ends_ms=START_MS + 100)
    await shop.held("a")
    shop.pass_ms(100)
    assert await shop.confirm("a") is Reply.DONE


async def test_a_buyer_may_have_as_many_as_the_limit(shop: Shop) -> None:
    await shop.put("phone", 10, buyer_limit=3)
    answers = await shop.hold_all(
        request("a", ("phone", 2)),
        request("b", ("phone", 2)),
        request("c", ("phone", 1)),
        request("d", ("phone", 1)),
        request("e", ("phone", 3), buyer="bob"),
    )
    assert [answer.code for answer in answers] == [
        Reply.HELD,
        Reply.BUYER_LIMIT,
        Reply.HELD,
        Reply.BUYER_LIMIT,
        Reply.HELD,
    ]
    assert answers[1].a == 3
    assert await shop.counts() == {"ann": 3, "bob": 3}


async def test_without_a_limit_nobody_is_counted(shop: Shop) -> None:
    await shop.put("phone", 10)
    await shop.held("a", ("phone", 9))
    assert await shop.counts() == {}
    assert not (await shop.row("a")).lines[0].counted  # type: ignore[attr-defined]


async def test_a_limit_set_later_counts_from_then_on(shop: Shop) -> None:
    await shop.put("phone", 10)
    await shop.held("before", ("phone", 2))
    await shop.put("phone", 0, buyer_limit=2)
    await shop.held("after", ("phone", 2))
    assert (await shop.hold("more")).code == Reply.BUYER_LIMIT
    await shop.release("before")
    assert await shop.counts() == {"ann": 2}, "what was not counted is not subtracted"
    await shop.put("phone", 0)
    await shop.held("unlimited", ("phone", 5))
    await shop.release("after")
    assert await shop.counts() == {}


@pytest.mark.parametrize("ending", ["release", "expire", "reject", "release-paying"])
async def test_units_that_come_back_no_longer_count(shop: Shop, ending: str) -> None:
    await shop.put("phone", 10, buyer_limit=2)
    await shop.held("a", ("phone", 2))
    if ending == "release-paying":
        await shop.pay("a")
    if ending.startswith("release"):
        await shop.release("a")
    elif ending == "expire":
        shop.pass_ms(TTL_MS)
        await shop.expire()
    else:
        await shop.confirm("a")
        assert await shop.reject("a") == [Reply.DONE]
    assert await shop.counts() == {}
    await shop.held("b", ("phone", 2))


async def test_units_that_were_bought_count_on(shop: Shop) -> None:
    await shop.put("phone", 10, buyer_limit=2)
    await shop.held("a", ("phone", 2))
    await shop.confirm("a")
    assert (await shop.hold("b")).code == Reply.BUYER_LIMIT
    await shop.settle("a")
    assert (await shop.hold("b")).code == Reply.BUYER_LIMIT
    assert await shop.counts() == {"ann": 2}


async def test_an_expired_hold_of_ones_own_gives_room_at_once(shop: Shop) -> None:
    await shop.put("phone", 10, buyer_limit=2)
    await shop.held("a", ("phone", 2))
    shop.pass_ms(TTL_MS - 1)
    assert (await shop.hold("b", ("phone", 2))).code == Reply.BUYER_LIMIT
    shop.pass_ms(1)
    assert (await shop.hold("b", ("phone", 2))).code == Reply.HELD
    assert await shop.counts() == {"ann": 2}


async def test_an_expired_hold_gives_room_to_one_request_of_a_batch(shop: Shop) -> None:
    await shop.put("phone", 10, buyer_limit=1)
    await shop.held("a")
    shop.pass_ms(TTL_MS)
    codes = [answer.code for answer in await shop.hold_all(request("b"), request("c"))]
    assert codes == [Reply.HELD, Reply.BUYER_LIMIT]
    assert await shop.counts() == {"ann": 1}
    assert await shop.terms() == Terms(10, 9, held=1)


async def test_a_count_that_cannot_be_read_counts_as_none(shop: Shop) -> None:
    await shop.put("phone", 10, buyer_limit=2)
    await shop.held("a")
    await shop.raw("HSET", "{sg:0}:buyers:phone", "ann", "many")
    shop.damaged = True
    codes = [a.code for a in await shop.hold_all(request("b", buyer="bob"), request("c"))]
    assert codes == [Reply.HELD, Reply.HELD]
    shop.pass_ms(TTL_MS)
    assert await shop.expire() == 3
