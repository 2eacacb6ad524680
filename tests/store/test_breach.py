"""A SKU whose counters contradict each other is left alone: nothing on it changes, nothing else
is held up, and its holds are looked at again."""

import pytest

from gateway.core.codes import Reply
from gateway.core.model import State
from gateway.store import keys
from gateway.store.commands import Sweep
from tests.store.shop import TTL_MS, Shop, Terms, field_of, request

SKU = keys.sku(0, "phone")
TERMS = ("on_hand", "available", "held", "unsettled", "safety_stock")

WRECKS = {
    **{f"{term}-more": ("HINCRBY", SKU, term, 1) for term in TERMS},
    **{f"{term}-less": ("HINCRBY", SKU, term, -1) for term in TERMS},
    **{f"{term}-negative": ("HSET", SKU, term, -7) for term in (*TERMS, "sold")},
    **{f"{term}-missing": ("HDEL", SKU, term) for term in (*TERMS, "sold")},
    **{f"{term}-word": ("HSET", SKU, term, "many") for term in (*TERMS, "sold")},
    "held-nan": ("HSET", SKU, "held", "nan"),
    "held-half": ("HSET", SKU, "held", "3.5", "available", "10.5"),
    "all-infinite": ("HSET", SKU, "available", "inf", "on_hand", "inf"),
    # These add up, but contradict the reservations.
    "held-moved": ("HSET", SKU, "held", 0, "available", 14),
    "unsettled-moved": ("HSET", SKU, "unsettled", 0, "available", 11),
}

BALANCED = ("held-moved", "unsettled-moved")
SAMPLE = ("on_hand-more", "held-less", "safety_stock-missing", "available-word", "held-moved")


@pytest.fixture
async def stocked(shop: Shop) -> Shop:
    """phone: held by 'held', 'paying' and 'due', unsettled by 'confirmed', late by 'expired'."""
    shop.damaged = True
    await shop.put("phone", 20, safety=5)
    await shop.put("case", 20)
    await shop.held("expired", ttl_ms=100)
    shop.pass_ms(100)
    await shop.expire()
    for key in ("held", "paying", "confirmed"):
        await shop.held(key)
    await shop.held("due", ("phone", 2), ("case", 1), ttl_ms=100)
    await shop.pay("paying")
    await shop.confirm("confirmed")
    await shop.take()
    assert await shop.terms() == Terms(20, 10, held=4, unsettled=1, safety_stock=5)
    return shop


async def break_it(shop: Shop, wreck: str) -> dict[str, bytes]:
    await shop.raw(*WRECKS[wreck])
    return await shop.dump()


async def restore(shop: Shop, good: dict[str, str]) -> None:
    await shop.raw("DEL", SKU)
    await shop.raw("HSET", SKU, *(part for pair in good.items() for part in pair))


async def refuse_all(shop: Shop) -> None:
    """Every command that moves units answers INVARIANT_BREACH."""
    breach = Reply.INVARIANT_BREACH
    assert (await shop.hold("new")).code == breach
    assert (await shop.hold("new", ("case", 1), ("phone", 1))).code == breach
    for key in ("held", "paying", "expired"):
        assert await shop.confirm(key) is breach
    for key in ("held", "paying"):
        assert await shop.release(key) is breach
    assert await shop.settle("confirmed") == [breach]
    assert await shop.reject("confirmed") == [breach]
    assert await shop.move("phone", 5) == (breach, 0)
    shop.pass_ms(100)
    for step in (shop.release, shop.confirm, shop.pay):
        assert await step("due") is breach
    assert await shop.extend("due", TTL_MS) is breach


async def test_no_command_moves_units_of_a_broken_sku(stocked: Shop) -> None:
    shop = stocked
    good, now_ms = await shop.hash(SKU), shop.now_ms
    for wreck in WRECKS:
        if wreck in BALANCED:
            continue
        before = await break_it(shop, wreck)
        try:
            await refuse_all(shop)
        except AssertionError as error:
            error.add_note(f"after {wreck}")
            raise
        assert await shop.dump() == before, wreck
        await restore(shop, good)
        shop.now_ms = now_ms


@pytest.mark.parametrize("wreck", [*SAMPLE, "unsettled-moved"])
async def test_other_skus_of_the_same_batch_go_on(stocked: Shop, wreck: str) -> None:
    shop = stocked
    await shop.held("case", ("case", 1))
    await shop.held("case-due", ("case", 2), ttl_ms=100)
    kept = (await break_it(shop, wreck))[SKU]
    shop.pass_ms(100)
    answers = await shop.act("release", ["held", "case", "due"], "")
    codes = [answer.code for answer in answers]
    if wreck != "unsettled-moved":
        assert codes == [Reply.INVARIANT_BREACH, Reply.DONE, Reply.INVARIANT_BREACH]
        assert await shop.commands.expire_due(100) == Sweep(2, 1, 1)
        assert (await shop.dump())[SKU] == kept
    else:
        # Nothing unsettled is touched here, and held is right.
        assert codes == [Reply.DONE, Reply.DONE, Reply.IS_EXPIRED]
    answers_held = await shop.hold_all(request("x", ("case", 1)), request("y", ("case", 17)))
    assert answers_held[0].code == Reply.HELD


@pytest.mark.parametrize("wreck", SAMPLE)
async def test_the_sweep_looks_again_in_a_minute(stocked: Shop, wreck: str) -> None:
    shop = stocked
    good = await shop.hash(SKU)
    await break_it(shop, wreck)
    shop.pass_ms(100)
    for _ in range(3):
        assert await shop.commands.expire_due(100) == Sweep(1, 0, 1)
        assert await shop.commands.expire_due(100) == Sweep(0, 0, 0)
        assert await shop.state("due") is State.HELD
        shop.pass_ms(60_000)
    await restore(shop, good)
    assert await shop.commands.expire_due(100) == Sweep(1, 1, 0)
    assert await shop.state("due") is State.EXPIRED
    assert await shop.terms() == Terms(20, 12, held=2, unsettled=1, safety_stock=5)
    shop.damaged = False


@pytest.mark.parametrize("event", ["settle", "reject"])
async def test_unsettled_units_that_are_not_there_are_not_taken(stocked: Shop, event: str) -> None:
    shop = stocked
    await shop.held("case", ("case", 1))
    await shop.confirm("case")
    await break_it(shop, "unsettled-moved")
    terms = await shop.terms()
    assert await shop.finish(event, "confirmed", "case") == [Reply.INVARIANT_BREACH, Reply.DONE]
    assert await shop.terms() == terms
    assert await shop.state("confirmed") is State.CONFIRMED
    assert await shop.outbox.length() == 1


async def test_held_units_that_are_not_there_are_not_taken(stocked: Shop) -> None:
    shop = stocked
    before = await break_it(shop, "held-moved")
    answers = await shop.act("confirm", ["held", "paying"], "")
    assert {answer.code for answer in answers} == {Reply.INVARIANT_BREACH}
    answers = await shop.act("release", ["held", "paying"], "")
    assert {answer.code for answer in answers} == {Reply.INVARIANT_BREACH}
    assert await shop.dump() == before


async def test_two_reservations_cannot_share_the_last_held_unit(stocked: Shop) -> None:
    shop = stocked
    await shop.raw("HSET", SKU, "held", 1, "available", 13)
    answers = await shop.act("release", ["held", "paying"], "")
    assert [answer.code for answer in answers] == [Reply.DONE, Reply.INVARIANT_BREACH]
    assert await shop.terms() == Terms(20, 14, unsettled=1, safety_stock=5)


async def test_a_shortage_passes_over_the_holds_of_a_broken_sku(shop: Shop) -> None:
    shop.damaged = True
    await shop.put("phone", 1)
    await shop.put("case", 1)
    await shop.hold_all(request("a", ("case", 1), ttl_ms=100), request("b", ttl_ms=100))
    await shop.raw("HINCRBY", keys.sku(0, "case"), "held", 5)
    shop.pass_ms(100)
    await shop.held("c")
    assert await shop.state("a") is State.HELD
    shop.pass_ms(60_000)
    assert await shop.commands.expire_due(10) == Sweep(1, 0, 1)


async def test_a_snapshot_shows_a_broken_sku_as_it_is(stocked: Shop) -> None:
    await break_it(stocked, "held-more")
    _, terms = await stocked.commands.snapshot(["phone", "case", "ghost"])
    assert [(t.sku, t.balanced, t.held) for t in terms] == [("phone", False, 5), ("case", True, 1)]


async def test_paying_and_extending_in_time_need_no_sound_counters(stocked: Shop) -> None:
    await break_it(stocked, "held-more")
    assert await stocked.pay("held") is Reply.DONE
    assert await stocked.extend("paying", 10 * TTL_MS) is Reply.DONE


@pytest.mark.parametrize("garbled", ["", "2", "2|0|0|0", "2|0|0|0|0|0", "-1|0|0|0|0", "x|0|0|0|0"])
async def test_settings_that_cannot_be_read_are_not_taken_for_none(
    stocked: Shop, garbled: str
) -> None:
    await stocked.raw("HSET", SKU, "settings", garbled)
    before = await stocked.dump()
    assert (await stocked.hold("new")).code == Reply.INVARIANT_BREACH
    assert await stocked.dump() == before
    assert await stocked.release("held") is Reply.DONE, "what is held can still go back"


GARBLED = {
    "empty": "",
    "cut": "h|1800000000000|18",
    "no lines": "h|1800000000000|1800000000100|f|ann|app||",
    "odd line": "h|1800000000000|1800000000100|f|ann|app||case*1,phone",
    "unknown state": "q|1800000000000|1800000000100|f|ann|app||phone*1",
    "no number": "h|1800000000000|soon|f|ann|app||phone*1",
}


@pytest.mark.parametrize("garbled", GARBLED)
async def test_a_record_that_cannot_be_read_is_left_alone(stocked: Shop, garbled: str) -> None:
    shop = stocked
    await shop.held("good", ttl_ms=100)
    await shop.raw("HSET", keys.reservations(0), field_of("due"), GARBLED[garbled])
    for command, argument in (("confirm", "p"), ("release", ""), ("pay", 1), ("extend", "1:1")):
        [answer] = await shop.act(command, ["due"], argument)
        assert answer.code == Reply.INVARIANT_BREACH
        assert answer.record == (GARBLED[garbled].encode() or None)
    assert (await shop.hold("due")).code == Reply.IDEMPOTENCY_MISMATCH
    shop.pass_ms(100)
    assert await shop.commands.expire_due(100) == Sweep(2, 1, 1)
    assert await shop.state("good") is State.EXPIRED
    shop.pass_ms(60_000)
    assert await shop.commands.expire_due(100) == Sweep(1, 0, 1)
    assert await shop.record("due") == GARBLED[garbled]


async def test_a_garbled_record_is_not_settled_and_its_neighbours_are(stocked: Shop) -> None:
    shop = stocked
    await shop.confirm("held")
    await shop.take()
    await shop.raw("HSET", keys.reservations(0), field_of("held"), GARBLED["cut"])
    codes = await shop.settle("held", "confirmed")
    assert codes == [Reply.INVARIANT_BREACH, Reply.DONE]
    assert await shop.outbox.length() == 1
