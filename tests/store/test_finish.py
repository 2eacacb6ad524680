"""settle and reject: the ledger's word mirrored back, and the outbox acknowledged."""

import pytest

from gateway.core.codes import Reply
from gateway.core.model import State
from gateway.store import feed, keys
from gateway.store.commands import ActRequest
from tests.store.shop import TTL_MS, Shop, Terms, field_of, request


async def confirmed(shop: Shop, *keys: str, sku: str = "phone") -> None:
    await shop.hold_all(*(request(key, (sku, 1)) for key in keys))
    answers = await shop.act("confirm", keys, "")
    assert {answer.code for answer in answers} <= {Reply.DONE}


async def pending(shop: Shop) -> list[str]:
    return [entry.field for entry in (await shop.outbox.read_own(100)).entries]


async def test_settled_units_leave_for_good(shop: Shop) -> None:
    await shop.put("phone", 5, safety=1)
    await confirmed(shop, "a", "b")
    assert await shop.settle("a", "b") == [Reply.DONE, Reply.DONE]
    assert await shop.terms() == Terms(3, 2, safety_stock=1, sold=2)
    assert await shop.state("a") is State.SETTLED
    assert await shop.outbox.length() == 0
    assert await pending(shop) == []
    assert shop.pulses["phone"].sold == 2


async def test_rejected_units_are_on_sale_again(shop: Shop) -> None:
    await shop.put("phone", 5)
    await confirmed(shop, "a")
    assert await shop.reject("a") == [Reply.DONE]
    assert await shop.terms() == Terms(5, 5)
    assert await shop.state("a") is State.REJECTED
    assert await shop.confirm("a") is Reply.IS_REJECTED
    assert await pending(shop) == []


@pytest.mark.parametrize("event", ["settle", "reject"])
async def test_mirroring_again_changes_nothing(shop: Shop, event: str) -> None:
    await shop.put("phone", 5)
    await confirmed(shop, "a")
    codes = await shop.finish(event, "a", "a")
    assert codes == [Reply.DONE, Reply.UNCHANGED]
    before = await shop.dump()
    assert await shop.finish(event, "a") == [Reply.UNCHANGED]
    assert await shop.dump() == before


@pytest.mark.parametrize("event", ["settle", "reject"])
async def test_a_second_entry_of_a_finished_reservation_is_acknowledged(
    shop: Shop, event: str
) -> None:
    await shop.put("phone", 5)
    await confirmed(shop, "a")
    [entry] = await shop.take()
    again = f"{entry.field}|{await shop.record('a')}"
    await shop.raw("XADD", keys.outbox(0), "*", "r", again)
    [second] = await shop.take()
    command = shop.commands.settle if event == "settle" else shop.commands.reject
    codes = [await command([(e.entry_id, e.field)]) for e in (entry, second)]
    assert codes == [[Reply.DONE], [Reply.UNCHANGED]]
    assert await pending(shop) == []
    assert await shop.outbox.length() == 0


async def test_the_ledger_cannot_say_both(shop: Shop) -> None:
    await shop.put("phone", 5)
    await confirmed(shop, "settled", "rejected")
    await shop.settle("settled")
    await shop.reject("rejected")
    before = await shop.dump()
    assert await shop.reject("settled") == [Reply.ILLEGAL]
    assert await shop.settle("rejected") == [Reply.ILLEGAL]
    assert await shop.dump() == before


async def test_what_is_not_confirmed_is_not_finished(shop: Shop) -> None:
    await shop.put("phone", 5)
    keys = ("held", "paying", "released", "expired")
    await shop.hold_all(*(request(key, ttl_ms=100 * (key == "expired")) for key in keys))
    await shop.pay("paying")
    await shop.release("released")
    shop.pass_ms(100)
    await shop.expire()
    before = await shop.dump()
    entries = [("0-1", field_of(key)) for key in keys]
    assert await shop.commands.settle(entries) == [Reply.ILLEGAL] * 4
    assert await shop.commands.reject(entries) == [Reply.ILLEGAL] * 4
    assert await shop.dump() == before


async def test_an_entry_nobody_can_finish_stays_and_its_neighbours_go(shop: Shop) -> None:
    await shop.put("phone", 5)
    await shop.put("broken", 5)
    await confirmed(shop, "a", "b")
    await confirmed(shop, "c", sku="broken")
    await shop.raw("HINCRBY", "{sg:0}:sku:broken", "held", 1)
    shop.damaged = True
    assert await shop.settle("a", "c", "b") == [Reply.DONE, Reply.INVARIANT_BREACH, Reply.DONE]
    assert await pending(shop) == [field_of("c")]
    assert await shop.outbox.length() == 1


async def test_an_entry_of_a_forgotten_reservation_is_acknowledged(shop: Shop) -> None:
    await shop.put("phone", 5)
    await confirmed(shop, "a")
    await shop.take()
    await shop.raw("HDEL", "{sg:0}:reservations", field_of("a"))
    shop.damaged = True
    assert await shop.settle("a") == [Reply.UNKNOWN_RESERVATION]
    assert await pending(shop) == []


async def test_what_is_finished_is_announced(shop: Shop) -> None:
    await shop.put("phone", 5)
    await confirmed(shop, "a", "b", "c")
    heard = feed.finished(shop.client, 0, shop.clock, call_timeout_s=10.0)
    assert await anext(heard) == ("", []), "subscribed"
    await shop.settle("a", "c")
    await shop.settle("a")
    await shop.reject("b")
    assert await anext(heard) == ("settle", [field_of("a"), field_of("c")])
    assert await anext(heard) == ("reject", [field_of("b")])
    await heard.aclose()


async def test_a_due_hold_is_confirmed_in_the_same_batch_as_others(shop: Shop) -> None:
    await shop.put("phone", 2)
    await shop.hold_all(request("a"), request("b", ttl_ms=2 * TTL_MS))
    shop.pass_ms(TTL_MS)
    late, in_time, ghost = await shop.commands.confirm(
        [shop.ask("a", "p1"), shop.ask("b", "p2"), ActRequest(field_of("x"), 1, "p3")]
    )
    codes = (late.code, in_time.code, ghost.code)
    assert codes == (Reply.DONE, Reply.DONE, Reply.UNKNOWN_RESERVATION)
    assert await shop.settle("a", "b") == [Reply.DONE] * 2
    assert await shop.terms() == Terms(0, 0, sold=2)
