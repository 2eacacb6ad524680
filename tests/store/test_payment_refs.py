"""A payment reference buys one reservation: what the store refuses early, and when it does not."""

import pytest

from gateway.core.codes import Reply
from gateway.core.model import State
from gateway.store import keys
from tests.store.shop import TTL_MS, Shop, field_of, request

REFS = keys.refs(0)


@pytest.fixture
async def stocked(shop: Shop) -> Shop:
    await shop.put("phone", 10, safety=2)
    await shop.hold_all(*map(request, "abc"))
    return shop


async def test_a_second_reservation_is_refused_and_stays_as_it_is(stocked: Shop) -> None:
    assert await stocked.confirm("a", "p") is Reply.DONE
    before = await stocked.record("b")
    assert await stocked.confirm("b", "p") is Reply.PAYMENT_REF_USED
    assert await stocked.record("b") == before
    assert await stocked.confirm("b", "q") is Reply.DONE
    await stocked.settle("a")
    assert await stocked.confirm("c", "p") is Reply.PAYMENT_REF_USED


async def test_within_one_batch_the_first_has_it(stocked: Shop) -> None:
    answers = await stocked.act("confirm", "abc", "p")
    used = Reply.PAYMENT_REF_USED
    assert [answer.code for answer in answers] == [Reply.DONE, used, used]


async def test_a_replay_stays_a_replay(stocked: Shop) -> None:
    for _ in range(3):
        code = await stocked.confirm("a", "p")
        assert code in (Reply.DONE, Reply.UNCHANGED)
    await stocked.settle("a")
    assert await stocked.confirm("a", "p") is Reply.UNCHANGED
    assert await stocked.confirm("a", "q") is Reply.PAYMENT_REF_CONFLICT
    assert await stocked.confirm("b", "q") is Reply.DONE, "the refused one has bought nothing"
    assert await stocked.confirm("a", "q") is Reply.PAYMENT_REF_USED, "now it has: no refund"


async def test_a_late_payment_with_a_used_reference_takes_no_units(stocked: Shop) -> None:
    assert await stocked.confirm("a", "p") is Reply.DONE
    stocked.pass_ms(TTL_MS)
    before = await stocked.terms()
    assert await stocked.confirm("b", "p") is Reply.PAYMENT_REF_USED
    assert await stocked.confirm("b", "late") is Reply.DONE, "and it may still be paid in time"
    assert (await stocked.row("b")).state is State.CONFIRMED
    assert (await stocked.terms()).unsettled == before.unsettled + 1
    assert await stocked.confirm("c", "late") is Reply.PAYMENT_REF_USED


async def test_a_late_replay_is_still_a_replay(stocked: Shop) -> None:
    stocked.pass_ms(TTL_MS)
    assert await stocked.confirm("a", "p") is Reply.DONE
    assert await stocked.confirm("a", "p") is Reply.UNCHANGED


async def test_what_the_ledger_refused_has_bought_nothing(stocked: Shop) -> None:
    await stocked.confirm("a", "p")
    await stocked.reject("a")
    assert await stocked.confirm("b", "p") is Reply.DONE
    assert await stocked.confirm("a", "p") is Reply.PAYMENT_REF_USED


async def test_a_refused_late_payment_has_bought_nothing(shop: Shop) -> None:
    await shop.put("phone", 1)
    await shop.held("a")
    shop.pass_ms(TTL_MS)
    await shop.expire()
    await shop.held("b")
    assert await shop.confirm("a", "p") is Reply.IS_EXPIRED
    assert await shop.confirm("b", "p") is Reply.DONE


async def test_references_are_forgotten_with_their_reservations(stocked: Shop) -> None:
    await stocked.confirm("a", "p")
    await stocked.confirm("b", "q")
    await stocked.settle("a")
    assert await stocked.hash(REFS) == {"p": field_of("a"), "q": field_of("b")}
    stocked.damaged = True  # what is forgotten is not recounted
    stocked.pass_ms(3 * 60_000)
    await stocked.expire()
    for _ in range(5):
        await stocked.commands.forget_ended(60_000, 100)
    assert await stocked.hash(REFS) == {"q": field_of("b")}, "one that is not settled is kept"


async def test_a_reference_that_was_taken_over_is_kept(stocked: Shop) -> None:
    await stocked.confirm("a", "p")
    await stocked.reject("a")
    await stocked.confirm("b", "p")
    stocked.pass_ms(3 * 60_000)
    for _ in range(5):
        await stocked.commands.forget_ended(60_000, 100)
    assert await stocked.hash(REFS) == {"p": field_of("b")}


async def test_without_the_record_of_references_both_are_confirmed(stocked: Shop) -> None:
    """Negative control; the ledger would refuse the second."""
    await stocked.confirm("a", "p")
    await stocked.raw("DEL", REFS)
    assert await stocked.confirm("b", "p") is Reply.DONE
