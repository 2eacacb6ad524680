"""Reserve, pay, confirm, release, extend: what each answers, and what it does to the stock."""

import asyncio

import pytest

from gateway.core.ids import make_id, split_id
from gateway.core.model import Line, State
from gateway.sale.outcomes import Granted, Refused
from gateway.store import keys
from tests.sale.steps import PAST_MS, Sale, counts, granted, refused, until


async def test_a_hold_sets_units_aside(any_sale: Sale) -> None:
    await any_sale.put("phone", 5, 1)
    answer = granted(await any_sale.hold(("phone", 3), buyer="bo", ttl_ms=60_000))
    reservation = answer.reservation
    assert not answer.replayed
    assert reservation.state is State.HELD
    assert reservation.buyer == "bo"
    assert reservation.lines == (Line("phone", 3),)
    assert reservation.deadline_ms == reservation.created_ms + 60_000
    assert counts(await any_sale.terms("phone")) == (5, 1, 3, 0, 1, 0)
    shown = granted(await any_sale.reservations.show(reservation.id)).reservation
    assert (shown.id, shown.state, shown.deadline_ms) == (
        reservation.id,
        State.HELD,
        reservation.deadline_ms,
    )


async def test_the_same_key_is_the_same_reservation(sale: Sale) -> None:
    await sale.put("phone", 5)
    first = granted(await sale.hold(("phone", 2), key="k"))
    again = granted(await sale.hold(("phone", 2), key="k"))
    assert again.replayed
    assert again.reservation.id == first.reservation.id
    assert counts(await sale.terms("phone")) == (5, 3, 2, 0, 0, 0)


async def test_the_same_key_of_another_caller_is_another_reservation(sale: Sale) -> None:
    await sale.put("phone", 5)
    mine = await sale.held(("phone", 2), key="k")
    theirs = await sale.held(("phone", 2), key="k", caller="other")
    assert mine != theirs


@pytest.mark.parametrize(
    ("lines", "buyer"), [([("phone", 3)], "ann"), ([("case", 2)], "ann"), ([("phone", 2)], "bo")]
)
async def test_the_same_key_with_another_meaning_is_a_mismatch(
    sale: Sale, lines: list[tuple[str, int]], buyer: str
) -> None:
    await sale.put("phone", 5)
    await sale.put("case", 5)
    await sale.held(("phone", 2), key="k")
    answer = refused(await sale.hold(*lines, key="k", buyer=buyer))
    assert answer == Refused("idempotency-mismatch")
    assert (await sale.terms("phone")).held == 2
    assert (await sale.terms("case")).held == 0


async def test_a_replay_says_what_has_become_of_it(sale: Sale) -> None:
    await sale.put("phone", 5)
    id_ = await sale.held(("phone", 2), key="k")
    await sale.reservations.release(id_)
    again = granted(await sale.hold(("phone", 2), key="k"))
    assert again.replayed
    assert again.reservation.state is State.RELEASED


async def test_a_reservation_is_all_or_nothing(sale: Sale) -> None:
    await sale.put("phone", 5)
    await sale.put("case", 1)
    answer = refused(await sale.hold(("phone", 2), ("case", 2)))
    assert answer == Refused("sold-out", {"sku": "case", "available": 1})
    assert (await sale.terms("phone")).available == 5


async def test_lines_of_one_sku_are_one_line(sale: Sale) -> None:
    await sale.put("phone", 5)
    answer = granted(await sale.hold(("phone", 2), ("phone", 1)))
    assert answer.reservation.lines == (Line("phone", 3),)
    shown = granted(await sale.reservations.show(answer.reservation.id)).reservation
    assert [(line.sku, line.quantity) for line in shown.lines] == [("phone", 3)]


async def test_refusals_of_a_hold_say_why(sale: Sale) -> None:
    now_ms = await sale.redis_now_ms()
    await sale.put("few", 1)
    await sale.put("limited", 9, buyer_limit=2)
    await sale.put("soon", 9, sale_starts_ms=now_ms + 60_000)
    await sale.put("over", 9, sale_starts_ms=1, sale_ends_ms=now_ms - 1000)
    await sale.held(("limited", 2))
    assert await sale.hold(("few", 2)) == Refused("sold-out", {"sku": "few", "available": 1})
    assert await sale.hold(("nope", 1)) == Refused("unknown-sku", {"sku": "nope"})
    assert await sale.hold(("limited", 1)) == Refused("buyer-limit", {"sku": "limited", "limit": 2})
    assert await sale.hold(("over", 1)) == Refused(
        "sale-not-open", {"sku": "over", "closed_at_ms": now_ms - 1000}
    )
    soon = refused(await sale.hold(("soon", 1)))
    assert (soon.code, soon.params["opens_at_ms"]) == ("sale-not-open", now_ms + 60_000)
    assert soon.retry_after_s is not None
    assert 0 < soon.retry_after_s <= 60


async def test_a_refused_key_may_be_used_again(sale: Sale) -> None:
    await sale.put("phone", 1)
    other = await sale.held(("phone", 1))
    assert refused(await sale.hold(("phone", 1), key="k")).code == "sold-out"
    await sale.reservations.release(other)
    assert not granted(await sale.hold(("phone", 1), key="k")).replayed


async def test_counters_that_do_not_add_up_sell_nothing(sale: Sale) -> None:
    await sale.put("phone", 5)
    id_ = await sale.held(("phone", 1))
    await sale.raw("HSET", keys.sku(0, "phone"), "available", 9)
    wrong = Refused("stock-inconsistent", {"sku": "phone"})
    assert await sale.hold(("phone", 1)) == wrong
    assert await sale.reservations.confirm(id_, "p", 0.0) == wrong
    assert await sale.reservations.release(id_) == wrong
    assert await sale.state(id_) is State.HELD


async def test_payment_moves_the_deadline_once(sale: Sale) -> None:
    await sale.put("phone", 5)
    id_ = await sale.held(("phone", 1), ttl_ms=60_000)
    first = granted(await sale.reservations.pay(id_))
    again = granted(await sale.reservations.pay(id_))
    assert (first.replayed, again.replayed) == (False, True)
    assert first.reservation.state is State.PAYING
    window_ms = sale.core.config.hold.payment_window_s * 1000
    assert first.reservation.deadline_ms == first.now_ms + window_ms
    assert again.reservation.deadline_ms == first.reservation.deadline_ms


async def test_extend_never_shortens_and_is_capped_in_total(sale: Sale) -> None:
    await sale.put("phone", 5)
    start = granted(await sale.hold(("phone", 1), ttl_ms=60_000)).reservation
    shorter = granted(await sale.reservations.extend(start.id, 10))
    assert shorter.reservation.deadline_ms == start.deadline_ms
    longer = granted(await sale.reservations.extend(start.id, 600))
    assert longer.reservation.deadline_ms == longer.now_ms + 600_000
    capped = granted(await sale.reservations.extend(start.id, 14_400))
    cap_ms = sale.core.config.hold.extend_total_max_s * 1000
    assert capped.reservation.deadline_ms == start.created_ms + cap_ms


async def test_release_gives_the_units_back_once(sale: Sale) -> None:
    await sale.put("phone", 5, buyer_limit=2)
    id_ = await sale.held(("phone", 2))
    assert granted(await sale.reservations.release(id_)).reservation.state is State.RELEASED
    assert granted(await sale.reservations.release(id_)).replayed
    assert counts(await sale.terms("phone")) == (5, 5, 0, 0, 0, 0)
    assert isinstance(await sale.hold(("phone", 2)), Granted), "the limit is free again"


async def test_a_hold_past_its_deadline_counts_as_expired_before_it_is_swept(sale: Sale) -> None:
    await sale.put("phone", 1)
    id_ = await sale.held(("phone", 1), ttl_ms=PAST_MS)
    await until(lambda: sale.is_in(id_, State.EXPIRED))
    record = await sale.raw("HGET", keys.reservations(0), split_id(id_)[2])  # type: ignore[index]
    assert record.startswith(b"h|"), "nobody has swept it"
    for step in (sale.reservations.pay(id_), sale.reservations.extend(id_, 60)):
        assert await step == Refused("reservation-expired")
    assert refused(await sale.reservations.release(id_)).code == "reservation-expired"
    assert isinstance(await sale.hold(("phone", 1)), Granted), "its unit is on sale again"


async def test_what_can_be_done_after_each_end(sale: Sale) -> None:
    await sale.put("phone", 9)
    released = await sale.held(("phone", 1))
    await sale.reservations.release(released)
    bought = await sale.confirmed(("phone", 1))
    calls = sale.reservations
    assert await calls.pay(released) == Refused("reservation-released")
    assert await calls.confirm(released, "p", 0.0) == Refused(
        "reservation-released", {"refund_required": True}
    )
    taken = Refused("reservation-confirmed", {"state": "confirmed"})
    assert await calls.release(bought) == taken
    assert await calls.pay(bought) == taken
    assert await calls.extend(bought, 60) == taken


@pytest.mark.parametrize(
    "id_",
    ["", "nope", "é" * 26, "0" * 25, "I" * 26, "8" + "0" * 25, make_id(1, 1, "0" * 14)],
)
async def test_ids_that_are_not_ours_are_unknown(sale: Sale, id_: str) -> None:
    await sale.put("phone", 1)
    calls = sale.reservations
    for step in (
        calls.show(id_),
        calls.pay(id_),
        calls.release(id_),
        calls.extend(id_, 60),
        calls.confirm(id_, "p", 0.0),
    ):
        assert await step == Refused("unknown-reservation")


async def test_an_id_with_another_creation_time_is_unknown(sale: Sale) -> None:
    await sale.put("phone", 1)
    id_ = await sale.held(("phone", 1))
    parts = split_id(id_)
    assert parts is not None
    near = make_id(parts[0] + 1, 0, parts[2])
    calls = sale.reservations
    for step in (
        calls.show(near),
        calls.pay(near),
        calls.release(near),
        calls.confirm(near, "p", 0.0),
    ):
        assert await step == Refused("unknown-reservation")
    assert await sale.state(id_) is State.HELD


async def test_many_requests_at_once_each_get_their_own_answer(any_sale: Sale) -> None:
    await any_sale.put("phone", 1000)
    buyers = [f"b{n}" for n in range(200)]
    answers = await asyncio.gather(*[any_sale.hold(("phone", 1), buyer=b) for b in buyers])
    assert [granted(a).reservation.buyer for a in answers] == buyers
    ids = [granted(a).reservation.id for a in answers]
    shown = await asyncio.gather(*[any_sale.reservations.show(id_) for id_ in ids])
    assert [granted(s).reservation.buyer for s in shown] == buyers
