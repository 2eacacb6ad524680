"""pay, extend, release and confirm: the steps of a reservation that is in time."""

import pytest

from gateway.core.codes import Reply
from gateway.core.model import State
from gateway.core.transitions import Event
from gateway.store.commands import ActRequest
from tests.store.shop import (
    BUCKET_MS,
    CAP_MS,
    START_MS,
    TTL_MS,
    WINDOW_MS,
    Shop,
    Terms,
    field_of,
    request,
)

STEPS: dict[Event, str | int] = {
    Event.PAY: WINDOW_MS,
    Event.CONFIRM: "",
    Event.RELEASE: "",
    Event.EXTEND: f"{TTL_MS * 2}:{CAP_MS}",
}


async def test_payment_moves_the_deadline_once(shop: Shop) -> None:
    await shop.put("phone", 5)
    await shop.held("a")
    shop.pass_ms(1000)
    assert await shop.pay("a") is Reply.DONE
    row = await shop.row("a")
    assert (row.state, row.deadline_ms) == (State.PAYING, START_MS + 1000 + WINDOW_MS)
    shop.pass_ms(1000)
    assert await shop.pay("a") is Reply.UNCHANGED
    assert await shop.row("a") == row
    assert await shop.terms() == Terms(5, 4, held=1)


async def test_payment_never_shortens_a_hold(shop: Shop) -> None:
    await shop.put("phone", 5)
    await shop.held("a")
    await shop.pay("a", window_ms=1)
    assert (await shop.row("a")).deadline_ms == START_MS + TTL_MS


async def test_a_payment_has_its_whole_window(shop: Shop) -> None:
    await shop.put("phone", 1)
    await shop.held("a")
    shop.pass_ms(TTL_MS - BUCKET_MS)
    await shop.pay("a")
    shop.pass_ms(WINDOW_MS - 1)
    assert await shop.expire() == 0
    assert (await shop.hold("b")).code == Reply.SOLD_OUT
    shop.pass_ms(1)
    assert (await shop.hold("b")).code == Reply.HELD
    assert await shop.state("a") is State.EXPIRED


async def test_extending_moves_the_deadline_from_now(shop: Shop) -> None:
    await shop.put("phone", 5)
    await shop.held("a")
    shop.pass_ms(1000)
    assert await shop.extend("a", TTL_MS) is Reply.DONE
    assert (await shop.row("a")).deadline_ms == START_MS + 1000 + TTL_MS
    assert await shop.state("a") is State.HELD


async def test_extending_never_shortens(shop: Shop) -> None:
    await shop.put("phone", 5)
    await shop.held("a")
    record = await shop.record("a")
    for ttl_ms in (1, TTL_MS - 1, TTL_MS):
        assert await shop.extend("a", ttl_ms) is Reply.UNCHANGED
    assert await shop.record("a") == record


async def test_extending_is_capped_in_total(shop: Shop) -> None:
    await shop.put("phone", 5)
    await shop.held("a")
    await shop.extend("a", CAP_MS - 1)
    shop.pass_ms(CAP_MS // 2)
    assert await shop.extend("a", CAP_MS) is Reply.DONE
    assert (await shop.row("a")).deadline_ms == START_MS + CAP_MS
    assert await shop.extend("a", CAP_MS) is Reply.UNCHANGED


async def test_a_payment_may_be_extended(shop: Shop) -> None:
    await shop.put("phone", 5)
    await shop.held("a")
    await shop.pay("a")
    shop.pass_ms(1000)
    assert await shop.extend("a", WINDOW_MS) is Reply.DONE
    row = await shop.row("a")
    assert (row.state, row.deadline_ms) == (State.PAYING, START_MS + 1000 + WINDOW_MS)


@pytest.mark.parametrize("paying", [False, True])
async def test_releasing_gives_the_units_back(shop: Shop, paying: bool) -> None:
    await shop.put("phone", 5)
    await shop.put("case", 5)
    await shop.held("a", ("phone", 2), ("case", 3))
    if paying:
        await shop.pay("a")
    assert await shop.release("a") is Reply.DONE
    assert await shop.state("a") is State.RELEASED
    assert await shop.terms("phone") == Terms(5, 5)
    assert await shop.terms("case") == Terms(5, 5)
    assert await shop.release("a") is Reply.UNCHANGED
    assert await shop.confirm("a") is Reply.IS_RELEASED
    assert await shop.terms("phone") == Terms(5, 5)


@pytest.mark.parametrize("paying", [False, True])
async def test_confirming_moves_units_to_unsettled_and_tells_the_outbox(
    shop: Shop, paying: bool
) -> None:
    await shop.put("phone", 5, safety=1)
    await shop.put("case", 5)
    await shop.held("a", ("phone", 2), ("case", 1))
    if paying:
        await shop.pay("a")
    assert await shop.confirm("a", "pay-7") is Reply.DONE
    assert await shop.terms("phone") == Terms(5, 2, unsettled=2, safety_stock=1)
    assert await shop.terms("case") == Terms(5, 4, unsettled=1)
    row = await shop.row("a")
    assert (row.state, row.payment_ref) == (State.CONFIRMED, "pay-7")
    [entry] = await shop.take()
    assert (entry.field, entry.reservation) == (field_of("a"), row)


async def test_confirming_again_is_the_same_only_with_the_same_payment(shop: Shop) -> None:
    await shop.put("phone", 5)
    await shop.held("a")
    await shop.confirm("a", "pay-1")
    assert await shop.confirm("a", "pay-1") is Reply.UNCHANGED
    assert await shop.confirm("a", "pay-2") is Reply.PAYMENT_REF_CONFLICT
    await shop.settle("a")
    assert await shop.confirm("a", "pay-1") is Reply.UNCHANGED
    assert await shop.confirm("a", "pay-2") is Reply.PAYMENT_REF_CONFLICT
    assert await shop.terms() == Terms(4, 4, sold=1)
    assert await shop.take() == []


async def test_the_same_step_twice_in_a_batch_is_done_once(shop: Shop) -> None:
    await shop.put("phone", 9)
    for event, argument in STEPS.items():
        key = event.value
        await shop.held(key)
        first, second = await shop.act(event, [key, key], argument)
        assert (first.code, second.code) == (Reply.DONE, Reply.UNCHANGED), event
        assert first.record == second.record == (await shop.record(key)).encode()


async def test_two_payments_for_one_reservation_in_a_batch(shop: Shop) -> None:
    await shop.put("phone", 9)
    await shop.held("a")
    first, second = await shop.commands.confirm([shop.ask("a", "pay-1"), shop.ask("a", "pay-2")])
    assert (first.code, second.code) == (Reply.DONE, Reply.PAYMENT_REF_CONFLICT)
    assert (await shop.row("a")).payment_ref == "pay-1"


@pytest.mark.parametrize("event", STEPS)
async def test_bad_items_leave_their_neighbours_alone(shop: Shop, event: Event) -> None:
    await shop.put("phone", 9)
    await shop.put("broken", 9)
    await shop.hold_all(request("a"), request("b"), request("c", ("broken", 1)), request("d"))
    await shop.release("b")
    await shop.raw("HSET", "{sg:0}:sku:broken", "held", "7")
    shop.damaged = True
    own = event is Event.CONFIRM
    items = [
        shop.ask(key, f"pay-{key}" if own else STEPS[event])
        for key in ("a", "ghost", "b", "c", "d")
    ]
    items.append(ActRequest(field_of("d"), START_MS + 1, STEPS[event]))
    answers = await getattr(shop.commands, event.value)(items)
    codes = [answer.code for answer in answers]
    ended = Reply.UNCHANGED if event is Event.RELEASE else Reply.IS_RELEASED
    # Paying and extending move no units: the state of the SKU's counters is no reason to refuse.
    moves = event in (Event.CONFIRM, Event.RELEASE)
    breach = Reply.INVARIANT_BREACH if moves else Reply.DONE
    unknown = Reply.UNKNOWN_RESERVATION
    assert codes == [Reply.DONE, unknown, ended, breach, Reply.DONE, unknown]
    assert [answers[i].record for i in (1, 5)] == [None, None]
    assert answers[4].record == (await shop.record("d")).encode()


@pytest.mark.parametrize("event", STEPS)
async def test_an_id_with_another_creation_time_is_another_reservation(
    shop: Shop, event: Event
) -> None:
    await shop.put("phone", 9)
    await shop.held("a")
    before = await shop.dump()
    item = ActRequest(field_of("a"), START_MS - 1, STEPS[event])
    [answer] = await getattr(shop.commands, event.value)([item])
    assert (answer.code, answer.record) == (Reply.UNKNOWN_RESERVATION, None)
    assert await shop.dump() == before


async def test_a_large_batch_of_steps(shop: Shop, store_url: str) -> None:
    size = 1100 if store_url == "memory://" else 4096
    await shop.put("phone", size, buyer_limit=1)
    keys = [f"k{n}" for n in range(size)]
    await shop.hold_all(*(request(key, buyer=key) for key in keys))
    for event in (Event.EXTEND, Event.PAY):
        answers = await shop.act(event, keys, STEPS[event])
        assert {answer.code for answer in answers} == {Reply.DONE}
    for begin in range(0, size, 512):
        answers = await shop.act(Event.CONFIRM, keys[begin : begin + 512], STEPS[Event.CONFIRM])
        assert {answer.code for answer in answers} == {Reply.DONE}
    assert await shop.terms() == Terms(size, 0, unsettled=size)
    given = (await shop.outbox.read_new(4096, 0.0)).entries
    entries = [(entry.entry_id, entry.field) for entry in given]
    assert set(await shop.commands.settle(entries)) == {Reply.DONE}
    assert await shop.terms() == Terms(0, 0, sold=size)


LARGE_CART = tuple((f"sku-{n:02d}", 1) for n in range(50))


@pytest.mark.parametrize("event", [Event.CONFIRM, Event.RELEASE])
async def test_a_script_moves_some_hundred_lines_and_leaves_the_rest(
    shop: Shop, event: Event
) -> None:
    for sku, _ in LARGE_CART:
        await shop.put(sku, 30)
    keys = [f"k{n}" for n in range(30)]
    await shop.hold_all(*(request(key, *LARGE_CART) for key in keys))
    rounds = []
    while keys:
        answers = await shop.act(event, keys, STEPS[event])
        assert {answer.code for answer in answers} <= {Reply.DONE, Reply.MORE_DUE}
        left = [key for key, a in zip(keys, answers, strict=True) if a.code == Reply.MORE_DUE]
        assert left == keys[len(keys) - len(left) :], "they are served in order"
        rounds.append(len(keys) - len(left))
        keys = left
    assert rounds == [11, 11, 8]
    sold = event is Event.CONFIRM
    assert await shop.terms("sku-49") == (Terms(30, 0, unsettled=30) if sold else Terms(30, 30))
