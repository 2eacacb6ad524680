"""What Redis forgot and a receipt remembers: honoured while units are left, once, for its buyer."""

import asyncio
from typing import Any

import pytest

from gateway.core.errors import LedgerUnavailable, OutcomeUnknown
from gateway.core.ids import make_id
from gateway.core.model import Line, SkuSettings, State
from gateway.runtime.receipts import SETTING, open_receipts
from gateway.sale.outcomes import Answer, Refused
from gateway.sale.receipts import Receipt, Receipts
from gateway.store import keys
from gateway.store.commands import HoldRequest, StockMove
from tests.sale.steps import Sale, counts, granted, refused, request_for, settle_all

SIGNER = Receipts([b"s" * 32])
GONE = Refused("reservation-expired", {"refund_required": True})


class Bought:
    """A hold, and the receipt its buyer was given."""

    def __init__(self, request: HoldRequest, answer: Answer) -> None:
        r = granted(answer).reservation
        token = SIGNER.sign(r.id, r.deadline_ms, request.middle, r.lines)
        receipt = SIGNER.read(token)
        assert receipt is not None
        self.request, self.id, self.receipt = request, r.id, receipt


async def buy(sale: Sale, *lines: tuple[str, int], **words: Any) -> Bought:
    request = request_for(*lines, **words)
    return Bought(request, await sale.reservations.reserve(request))


async def confirm(sale: Sale, bought: Bought, ref: str = "", wait_s: float = 0.0) -> Answer:
    """`ref`: one of its own, the same for all reservations under its key, unless given."""
    ref = ref or f"pay-{bought.receipt.field}"
    return await sale.reservations.confirm(bought.id, ref, wait_s, bought.receipt)


async def lose_everything(sale: Sale, **skus: int) -> None:
    """FLUSHALL; then the SKUs are set up again with what the ledger owns of them, and the mark."""
    mark = await sale.core.guards[0].marks.read()
    await sale.raw("FLUSHALL")
    await sale.core.guards[0].marks.replace(mark)
    for place in sale.core.places:
        for sku, on_hand in skus.items():
            await place.commands.move_stock(StockMove(sku, 1, on_hand, 0, SkuSettings()))
    await sale.core.store.outbox(0).create()


async def lose(sale: Sale, *bought: Bought) -> None:
    """A failover that lost the last writes: the holds, and what they took."""
    for one in bought:
        await sale.reservations.release(one.id)
        await sale.raw("HDEL", keys.reservations(0), one.receipt.field)


async def test_holds_that_were_lost_are_honoured_while_units_are_left(any_sale: Sale) -> None:
    """Ten buyers hold all; Redis loses everything; four others are quicker than six of them."""
    sale = any_sale
    await sale.put("phone", 10)
    await sale.listen()
    sale.run(sale.settler().loop)
    bought = [await buy(sale, ("phone", 1), buyer=f"b{n}") for n in range(10)]
    assert refused(await sale.hold(("phone", 1))).code == "sold-out"
    await sale.stop_loops()
    await lose_everything(sale, phone=10)
    for _ in range(4):
        await sale.held(("phone", 1), buyer="quicker")
    await sale.listen()
    sale.run(sale.settler().loop)
    answers = await asyncio.gather(*[confirm(sale, it, wait_s=15.0) for it in bought])
    good = [it for it in answers if not isinstance(it, Refused)]
    assert len(good) == 6
    assert {it.reservation.state for it in good} == {State.SETTLED}
    assert [it for it in answers if isinstance(it, Refused)] == [GONE] * 4
    assert counts(await sale.terms("phone")) == (4, 0, 4, 0, 0, 6)
    [row] = await sale.ledger.stock(["phone"])
    assert (row.received, row.on_hand, row.sold) == (10, 4, 6)


async def test_without_its_receipt_a_lost_hold_is_unknown(sale: Sale) -> None:
    await sale.put("phone", 5)
    bought = await buy(sale, ("phone", 1))
    await lose(sale, bought)
    unknown = Refused("unknown-reservation")
    assert await sale.reservations.confirm(bought.id, "p1", 0.0) == unknown
    assert await sale.raw("HLEN", keys.reservations(0)) == 0
    assert granted(await confirm(sale, bought)).reservation.state is State.CONFIRMED


async def test_what_is_restored_is_what_was_held(any_sale: Sale) -> None:
    sale = any_sale
    await sale.put("phone", 5, buyer_limit=3)
    await sale.put("case", 9)
    bought = await buy(sale, ("phone", 2), ("case", 1), ("case", 3), buyer="ann")
    await lose(sale, bought)
    r = granted(await confirm(sale, bought)).reservation
    assert (r.id, r.buyer, r.channel, r.payment_ref) == (
        bought.id,
        "ann",
        "web",
        f"pay-{bought.receipt.field}",
    )
    assert [(it.sku, it.quantity) for it in r.lines] == [("phone", 2), ("case", 4)]
    assert counts(await sale.terms("phone")) == (5, 3, 0, 2, 0, 0)
    assert refused(await sale.hold(("phone", 2), buyer="ann")).code == "buyer-limit"
    await settle_all(sale.settler())
    assert await sale.state(bought.id) is State.SETTLED
    await sale.assert_sound()


async def test_a_cart_is_honoured_whole_or_not_at_all(sale: Sale) -> None:
    await sale.put("phone", 5)
    await sale.put("case", 1)
    bought = await buy(sale, ("phone", 2), ("case", 1))
    await lose(sale, bought)
    await sale.held(("case", 1), buyer="quicker")
    assert await confirm(sale, bought) == GONE
    assert counts(await sale.terms("phone")) == (5, 5, 0, 0, 0, 0)
    await sale.assert_sound()


async def test_safety_stock_covers_it(sale: Sale) -> None:
    await sale.put("phone", 2, 1)
    bought = await buy(sale, ("phone", 1))
    await lose(sale, bought)
    await sale.held(("phone", 1), buyer="quicker")
    assert granted(await confirm(sale, bought)).reservation.state is State.CONFIRMED
    assert counts(await sale.terms("phone")) == (2, 0, 1, 1, 0, 0)


async def test_repeated_it_is_one_deduction(any_sale: Sale) -> None:
    sale = any_sale
    await sale.put("phone", 5)
    bought = await buy(sale, ("phone", 2))
    await lose(sale, bought)
    answers = await asyncio.gather(*[confirm(sale, bought) for _ in range(20)])
    assert sum(not granted(it).replayed for it in answers) == 1
    assert {granted(it).reservation.id for it in answers} == {bought.id}
    await settle_all(sale.settler())
    assert granted(await confirm(sale, bought)).replayed
    await sale.raw("HDEL", keys.reservations(0), bought.receipt.field)
    assert granted(await confirm(sale, bought)).reservation.state is State.SETTLED
    assert counts(await sale.terms("phone")) == (3, 3, 0, 0, 0, 2)
    [row] = await sale.ledger.stock(["phone"])
    assert (row.on_hand, row.sold) == (3, 2)


async def test_two_payments_at_once_buy_it_once(any_sale: Sale) -> None:
    sale = any_sale
    await sale.put("phone", 5)
    bought = await buy(sale, ("phone", 1))
    await lose(sale, bought)
    answers = await asyncio.gather(*[confirm(sale, bought, f"p{n}") for n in range(10)])
    paid = [it for it in answers if not isinstance(it, Refused)]
    assert len(paid) == 1
    assert {it.code for it in answers if isinstance(it, Refused)} == {"payment-ref-conflict"}
    await settle_all(sale.settler())
    recorded = await sale.ledger.deduction(bought.id)
    assert recorded is not None
    assert recorded.payment_ref == paid[0].reservation.payment_ref
    assert (await sale.terms("phone")).sold == 1


async def test_sent_again_after_the_loss_the_new_hold_is_what_is_confirmed(any_sale: Sale) -> None:
    """Both ids were given out under one key: either buys it, and only once."""
    sale = any_sale
    await sale.put("phone", 1)
    bought = await buy(sale, ("phone", 1))
    await lose(sale, bought)
    await sale.core.clock.sleep(0.002)
    again = Bought(bought.request, await sale.reservations.reserve(bought.request))
    assert again.id != bought.id
    first = granted(await confirm(sale, bought)).reservation
    assert (first.id, first.state) == (again.id, State.CONFIRMED)
    assert granted(await confirm(sale, again)).replayed
    assert granted(await confirm(sale, bought)).replayed
    for one in (bought, again):
        assert refused(await confirm(sale, one, "p2")).code == "payment-ref-conflict"
    assert counts(await sale.terms("phone")) == (1, 0, 0, 1, 0, 0)
    await settle_all(sale.settler())
    assert granted(await confirm(sale, bought, wait_s=1.0)).reservation.state is State.SETTLED
    assert (await sale.terms("phone")).sold == 1
    await sale.assert_sound()


async def test_confirmed_first_the_request_sent_again_finds_it(sale: Sale) -> None:
    await sale.put("phone", 5)
    bought = await buy(sale, ("phone", 1))
    await lose(sale, bought)
    await confirm(sale, bought)
    again = granted(await sale.reservations.reserve(bought.request))
    assert again.replayed
    assert (again.reservation.id, again.reservation.state) == (bought.id, State.CONFIRMED)


async def test_confirm_and_request_sent_again_at_once_sell_one(any_sale: Sale) -> None:
    sale = any_sale
    await sale.put("phone", 50)
    bought = [await buy(sale, ("phone", 1)) for _ in range(20)]
    await lose(sale, *bought)
    calls: list[Any] = []
    for number, one in enumerate(bought):
        pair = [confirm(sale, one), sale.reservations.reserve(one.request)]
        calls += pair if number % 2 else pair[::-1]
    answers = await asyncio.gather(*calls)
    assert not [it for it in answers if isinstance(it, Refused)]
    await settle_all(sale.settler())
    terms = await sale.terms("phone")
    assert (terms.sold, terms.held) == (20, 0)
    await sale.assert_sound()


async def test_another_cart_under_the_same_key_is_not_what_was_paid_for(sale: Sale) -> None:
    await sale.put("phone", 5)
    await sale.put("case", 5)
    bought = await buy(sale, ("phone", 1), key="mine")
    await lose(sale, bought)
    other = await buy(sale, ("case", 1), key="mine")
    assert await confirm(sale, bought) == GONE
    assert await sale.state(other.id) is State.HELD


async def test_a_new_hold_that_was_released_stays_released(sale: Sale) -> None:
    await sale.put("phone", 5)
    bought = await buy(sale, ("phone", 1))
    await lose(sale, bought)
    again = Bought(bought.request, await sale.reservations.reserve(bought.request))
    await sale.reservations.release(again.id)
    answer = await confirm(sale, bought)
    assert answer == Refused("reservation-released", {"refund_required": True})


async def test_what_redis_knows_a_receipt_does_not_change(sale: Sale) -> None:
    await sale.put("phone", 5)
    bought = await buy(sale, ("phone", 1))
    await sale.reservations.release(bought.id)
    answer = await confirm(sale, bought)
    assert answer == Refused("reservation-released", {"refund_required": True})
    assert counts(await sale.terms("phone")) == (5, 5, 0, 0, 0, 0)


async def test_a_refused_late_payment_stays_refused(sale: Sale) -> None:
    await sale.put("phone", 1)
    bought = await buy(sale, ("phone", 1))
    await lose(sale, bought)
    other = await sale.held(("phone", 1), buyer="quicker")
    assert await confirm(sale, bought) == GONE
    await sale.reservations.release(other)
    assert await confirm(sale, bought) == GONE, "the shop has refunded"


async def test_a_record_may_have_been_forgotten_on_purpose_after_the_retention(sale: Sale) -> None:
    await sale.put("phone", 5)
    bought = await buy(sale, ("phone", 1))
    await lose(sale, bought)
    window_ms = sale.core.config.retention.ended_s * 1000
    for age_ms, honoured in ((window_ms + 60_000, False), (window_ms - 60_000, True)):
        created_ms = await sale.redis_now_ms() - age_ms
        old = aged(bought.receipt, created_ms)
        answer = await sale.reservations.confirm(old.reservation_id, f"pay-{age_ms}", 0.0, old)
        assert (answer != GONE) is honoured
        assert await sale.raw("HLEN", keys.reservations(0)) == int(honoured)


def aged(receipt: Receipt, created_ms: int) -> Receipt:
    made = make_id(created_ms, 0, receipt.field)
    return receipt._replace(reservation_id=made, created_ms=created_ms)


async def test_what_is_restored_is_forgotten_again(sale: Sale) -> None:
    await sale.put("phone", 1)
    bought = await buy(sale, ("phone", 1))
    await lose(sale, bought)
    await sale.raw("DEL", *await sale.raw("KEYS", "*ended*"))
    await sale.held(("phone", 1), buyer="quicker")
    await confirm(sale, bought)
    now_ms = await sale.redis_now_ms()
    commands = sale.commands(clock_ms=lambda: now_ms + 100_000_000)
    assert (await commands.forget_ended(86_400_000, 100))[1] == 1
    assert await sale.reservations.show(bought.id) == Refused("unknown-reservation")


async def test_a_sku_that_is_lost_too_is_named_and_nothing_written(sale: Sale) -> None:
    await sale.put("phone", 5)
    await sale.put("case", 5)
    bought = await buy(sale, ("phone", 1), ("case", 1))
    await lose_everything(sale, phone=5)
    assert await confirm(sale, bought) == Refused("stock-inconsistent", {"sku": "case"})
    assert await sale.raw("HLEN", keys.reservations(0)) == 0
    await lose_everything(sale, phone=5, case=5)
    assert granted(await confirm(sale, bought)).reservation.state is State.CONFIRMED


async def test_without_the_ledger_nothing_is_restored(sale: Sale) -> None:
    """Only the ledger knows whether it was sold before."""
    await sale.put("phone", 5)
    bought = await buy(sale, ("phone", 1))
    await lose(sale, bought)
    await sale.ledger.close()
    with pytest.raises(LedgerUnavailable):
        await confirm(sale, bought)
    assert await sale.raw("HLEN", keys.reservations(0)) == 0


async def test_lost_between_two_steps_the_outcome_is_unknown(
    sale: Sale, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sale.put("phone", 5)
    bought = await buy(sale, ("phone", 1))
    await lose(sale, bought)
    restore = sale.shard.restore._send

    async def then_lose(batch: Any) -> Any:
        answers = await restore(batch)
        await sale.raw("DEL", keys.reservations(0))
        return answers

    monkeypatch.setattr(sale.shard.restore, "_send", then_lose)
    with pytest.raises(OutcomeUnknown):
        await confirm(sale, bought)
    monkeypatch.undo()
    assert granted(await confirm(sale, bought)).reservation.state is State.CONFIRMED


async def test_a_settled_one_is_found_in_the_ledger_not_sold_again(sale: Sale) -> None:
    await sale.put("phone", 5)
    bought = await buy(sale, ("phone", 1))
    await confirm(sale, bought)
    await settle_all(sale.settler())
    await lose_everything(sale, phone=4)
    answer = granted(await confirm(sale, bought))
    assert (answer.replayed, answer.reservation.state) == (True, State.SETTLED)
    assert await sale.raw("HLEN", keys.reservations(0)) == 0


# ── the secret ───────────────────────────────────────────────────────────────


async def test_one_secret_is_made_and_kept_for_all_gateways(real_sale: Sale) -> None:
    config, ledger = real_sale.core.config.receipts, real_sale.ledger
    opened = await asyncio.gather(*[open_receipts(config, ledger) for _ in range(8)])
    tokens = {it.sign("0" * 26, 1, "f|b|c||", (Line("a", 1),)) for it in opened}
    assert len(tokens) == 1
    kept = await ledger.keep_setting(SETTING, "another")
    assert len(kept) == 64
    assert await ledger.keep_setting("other", "word") == "word"
