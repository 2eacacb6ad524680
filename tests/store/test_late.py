"""A reservation past its deadline: it counts as expired even before it is swept, and a late
payment is honoured from available units, then from the safety stock, else refused."""

import pytest

from gateway.core.codes import Reply
from gateway.core.model import HeldLine, State
from gateway.store.records import as_of, parse_record
from tests.store.shop import CAP_MS, TTL_MS, WINDOW_MS, Shop, Terms, field_of, request


async def overdue(shop: Shop, *, swept: bool, **settings: int) -> None:
    """A reservation 'a' of two units whose deadline has just come."""
    await shop.put("phone", 2, **settings)
    await shop.held("a", ("phone", 2))
    shop.pass_ms(TTL_MS)
    if swept:
        assert await shop.expire() == 1


@pytest.mark.parametrize("swept", [False, True])
@pytest.mark.parametrize("step", ["pay", "release", "extend"])
async def test_a_due_hold_counts_as_expired(shop: Shop, step: str, swept: bool) -> None:
    await overdue(shop, swept=swept)
    ask = {
        "pay": lambda: shop.pay("a"),
        "release": lambda: shop.release("a"),
        "extend": lambda: shop.extend("a", TTL_MS),
    }
    assert await ask[step]() is Reply.IS_EXPIRED
    assert await shop.state("a") is State.EXPIRED
    assert await shop.terms() == Terms(2, 2)
    assert await shop.expire() == 0


async def test_a_due_payment_counts_as_expired(shop: Shop) -> None:
    await shop.put("phone", 2)
    await shop.held("a")
    await shop.pay("a")
    shop.pass_ms(WINDOW_MS - 1)
    assert await shop.extend("a", 1) is Reply.UNCHANGED
    shop.pass_ms(1)
    assert await shop.extend("a", CAP_MS) is Reply.IS_EXPIRED
    assert await shop.terms() == Terms(2, 2)


async def test_a_due_hold_shows_as_expired_though_it_is_kept_as_held(shop: Shop) -> None:
    await overdue(shop, swept=False)
    now_ms, [record, nothing] = await shop.commands.show([field_of("a"), field_of("ghost")])
    row = parse_record(field_of("a"), 0, record)
    assert (row.state, as_of(row, now_ms).state) == (State.HELD, State.EXPIRED)
    assert as_of(row, now_ms - 1).state is State.HELD
    assert nothing == b""


@pytest.mark.parametrize("swept", [False, True])
async def test_a_late_payment_takes_available_units(shop: Shop, swept: bool) -> None:
    await overdue(shop, swept=swept, buyer_limit=2)
    assert await shop.confirm("a", "pay-9") is Reply.DONE
    row = await shop.row("a")
    assert (row.state, row.payment_ref) == (State.CONFIRMED, "pay-9")
    assert row.lines == (HeldLine("phone", 2, counted=True),)
    assert await shop.terms() == Terms(2, 0, unsettled=2)
    assert await shop.counts() == {"ann": 2}
    assert [entry.field for entry in await shop.take()] == [field_of("a")]


async def test_then_it_takes_the_safety_stock(shop: Shop) -> None:
    await shop.put("phone", 5, safety=2)
    await shop.held("a", ("phone", 3))
    shop.pass_ms(TTL_MS)
    await shop.held("b", ("phone", 2))
    assert await shop.confirm("a") is Reply.DONE
    assert (await shop.row("a")).lines == (HeldLine("phone", 3, from_safety=2),)
    assert await shop.terms() == Terms(5, 0, held=2, unsettled=3)


async def test_then_it_is_refused(shop: Shop) -> None:
    await shop.put("phone", 5, safety=1)
    await shop.held("a", ("phone", 4))
    shop.pass_ms(TTL_MS)
    await shop.held("b", ("phone", 3))
    terms = await shop.terms()
    assert await shop.confirm("a", "pay-1") is Reply.IS_EXPIRED
    assert await shop.terms() == terms
    assert await shop.confirm("a", "pay-1") is Reply.IS_EXPIRED


@pytest.mark.parametrize("ref", ["pay-1", "pay-2"])
async def test_a_refusal_is_final_though_units_come_back(shop: Shop, ref: str) -> None:
    """The shop was told to refund: the same goods must not be sold to the buyer after that."""
    await overdue(shop, swept=True)
    await shop.held("b", ("phone", 1))
    assert await shop.confirm("a", "pay-1") is Reply.IS_EXPIRED
    await shop.release("b")
    assert await shop.confirm("a", ref) is Reply.IS_EXPIRED
    assert await shop.terms() == Terms(2, 2)
    assert await shop.take() == []


@pytest.mark.parametrize("event", ["settle", "reject"])
async def test_units_of_the_safety_stock_settle_or_go_back_there(shop: Shop, event: str) -> None:
    await shop.put("phone", 5, safety=2)
    await shop.held("a", ("phone", 3))
    shop.pass_ms(TTL_MS)
    await shop.held("b", ("phone", 2))
    await shop.confirm("a")
    assert await shop.finish(event, "a") == [Reply.DONE]
    after = {
        "settle": Terms(2, 0, held=2, sold=3),
        "reject": Terms(5, 1, held=2, safety_stock=2),
    }
    assert await shop.terms() == after[event]


async def test_a_late_payment_is_honoured_in_full_or_not_at_all(shop: Shop) -> None:
    await shop.put("phone", 5, safety=5)
    await shop.move("phone", 4)
    await shop.put("case", 1)
    await shop.held("a", ("phone", 4), ("case", 1))
    shop.pass_ms(TTL_MS)
    await shop.held("b", ("case", 1))
    assert await shop.confirm("a") is Reply.IS_EXPIRED
    assert await shop.terms("phone") == Terms(9, 4, safety_stock=5)


async def test_late_payments_of_one_batch_share_what_there_is(shop: Shop) -> None:
    await shop.put("phone", 3, safety=1)
    await shop.hold_all(request("a"), request("b"))
    shop.pass_ms(TTL_MS)
    await shop.held("c")
    answers = await shop.act("confirm", ["a", "b", "a"], "")
    assert [answer.code for answer in answers] == [Reply.DONE, Reply.DONE, Reply.UNCHANGED]
    assert await shop.terms() == Terms(3, 0, held=1, unsettled=2)


async def test_a_late_payment_may_use_other_holds_that_are_due(shop: Shop) -> None:
    await shop.put("phone", 2)
    await shop.held("a")
    await shop.held("other", buyer="bob")
    shop.pass_ms(TTL_MS)
    await shop.expire(1)
    assert await shop.state("other") is State.HELD
    await shop.held("c")
    assert await shop.confirm("a") is Reply.DONE
    assert await shop.state("other") is State.EXPIRED
    assert await shop.terms() == Terms(2, 0, held=1, unsettled=1)
    assert list((await shop.reminders("due")).values()) == [[field_of("c")]]


async def test_a_confirm_in_the_last_millisecond_is_in_time(shop: Shop) -> None:
    await shop.put("phone", 1)
    await shop.held("a")
    shop.pass_ms(TTL_MS - 1)
    assert await shop.confirm("a") is Reply.DONE
    shop.pass_ms(TTL_MS)
    assert await shop.expire() == 0
    assert await shop.state("a") is State.CONFIRMED
