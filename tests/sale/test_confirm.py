"""Confirm: waits for the ledger, survives lost announcements, honours late payments."""

import asyncio
from typing import Any

import pytest

from gateway.core.errors import LedgerUnavailable, StoreUnavailable
from gateway.core.ids import split_id
from gateway.core.model import HeldLine, State
from gateway.ledger import MoveRequest, Outcome
from gateway.sale.finished import Finished
from gateway.sale.outcomes import Refused
from gateway.sale.reservations import Reservations
from gateway.store import keys
from tests.ledger.steps import begun
from tests.sale.clocks import StillClock
from tests.sale.steps import Sale, counts, granted, refused, settle_all, until

LONG_S = 15.0
"""A wait that no test sits through: something wakes it."""


async def forget(sale: Sale, id_: str) -> None:
    """What retention does in the end."""
    parts = split_id(id_)
    assert parts is not None
    assert await sale.raw("HDEL", keys.reservations(0), parts[2]) == 1


def on_clock(sale: Sale, clock: StillClock) -> Reservations:
    """Reservations whose confirms wait on a clock that stands still."""
    config = sale.core.config.hold
    return Reservations([sale.shard], Finished(clock), sale.ledger, config)


async def test_a_confirm_waits_until_the_ledger_has_decided(any_sale: Sale) -> None:
    await any_sale.put("phone", 5)
    await any_sale.listen()
    any_sale.run(any_sale.settler().loop)
    id_ = await any_sale.held(("phone", 2))
    answer = granted(await any_sale.reservations.confirm(id_, "p1", LONG_S))
    assert answer.reservation.state is State.SETTLED
    assert answer.reservation.payment_ref == "p1"
    recorded = await any_sale.ledger.deduction(id_)
    assert recorded is not None
    assert (recorded.settled, recorded.payment_ref) == (True, "p1")
    assert counts(await any_sale.terms("phone")) == (3, 3, 0, 0, 0, 2)
    await any_sale.assert_sound()


async def test_without_a_wait_a_confirm_answers_at_once(sale: Sale) -> None:
    await sale.put("phone", 5)
    id_ = await sale.held(("phone", 2))
    answer = granted(await sale.reservations.confirm(id_, "p1", 0.0))
    assert answer.reservation.state is State.CONFIRMED
    assert counts(await sale.terms("phone")) == (5, 3, 0, 2, 0, 0)
    assert await sale.ledger.deduction(id_) is None


async def test_when_the_ledger_is_slow_a_confirm_answers_that_it_is_confirmed(sale: Sale) -> None:
    await sale.put("phone", 5)
    id_ = await sale.held(("phone", 2))
    answer = granted(await sale.reservations.confirm(id_, "p1", 0.05))
    assert answer.reservation.state is State.CONFIRMED


async def test_a_lost_announcement_is_made_up_for_by_looking_again(sale: Sale) -> None:
    await sale.put("phone", 5)
    clock = StillClock()
    id_ = await sale.held(("phone", 2))
    confirming = asyncio.ensure_future(on_clock(sale, clock).confirm(id_, "p1", 2.0))
    await until(lambda: sale.is_in(id_, State.CONFIRMED))
    await settle_all(sale.settler())  # and nobody listens
    assert not confirming.done()
    assert await clock.next_pause() == pytest.approx(2.0)
    assert granted(await confirming).reservation.state is State.SETTLED


async def test_a_lost_announcement_of_a_refusal_too(sale: Sale) -> None:
    await sale.put("phone", 5)
    id_ = await sale.held(("phone", 2))
    clock = StillClock()
    confirming = asyncio.ensure_future(on_clock(sale, clock).confirm(id_, "p1", 2.0))
    await until(lambda: sale.is_in(id_, State.CONFIRMED))
    await settle_all(sale.settler(ledger=Refusing(sale.ledger)))
    await clock.next_pause()
    assert await confirming == Refused("deduction-rejected", {"refund_required": True})


class Refusing:
    """A ledger that is short of everything."""

    def __init__(self, ledger: Any) -> None:
        self._ledger = ledger

    async def deduct(self, batch: Any) -> Any:
        return [Outcome(d.reservation_id, False, "shortfall") for d in batch]


async def test_the_same_payment_again_is_the_same_answer(sale: Sale) -> None:
    await sale.put("phone", 5)
    await sale.listen()
    id_ = await sale.held(("phone", 2))
    calls = sale.reservations
    first = granted(await calls.confirm(id_, "p1", 0.0))
    again = granted(await calls.confirm(id_, "p1", 0.0))
    assert (first.replayed, again.replayed) == (False, True)
    assert again.reservation.state is State.CONFIRMED
    assert await sale.outbox_length() == 1

    waiting = asyncio.ensure_future(calls.confirm(id_, "p1", LONG_S))
    await until(lambda: _is_waiting(sale.finished, id_))
    await settle_all(sale.settler())
    assert granted(await waiting).reservation.state is State.SETTLED
    later = granted(await calls.confirm(id_, "p1", LONG_S))
    assert (later.replayed, later.reservation.state) == (True, State.SETTLED)
    assert (await sale.terms("phone")).sold == 2


async def _is_waiting(finished: Finished, id_: str) -> bool:
    return id_[12:] in finished._waiting


async def test_another_payment_is_a_conflict(sale: Sale) -> None:
    await sale.put("phone", 5)
    id_ = await sale.confirmed(("phone", 2))
    conflict = Refused("payment-ref-conflict", {"refund_required": True, "payment_ref": "other"})
    assert await sale.reservations.confirm(id_, "other", 0.0) == conflict
    await settle_all(sale.settler())
    assert await sale.reservations.confirm(id_, "other", 0.0) == conflict


async def test_two_confirms_at_once_make_one_deduction(any_sale: Sale) -> None:
    await any_sale.put("phone", 5)
    await any_sale.listen()
    any_sale.run(any_sale.settler().loop)
    id_ = await any_sale.held(("phone", 2))
    confirm = any_sale.reservations.confirm
    answers = await asyncio.gather(*[confirm(id_, "p1", LONG_S) for _ in range(20)])
    assert {granted(a).reservation.state for a in answers} == {State.SETTLED}
    assert sum(not granted(a).replayed for a in answers) == 1
    assert (await any_sale.terms("phone")).sold == 2
    await any_sale.assert_sound()


async def test_a_forgotten_reservation_is_found_in_the_ledger(sale: Sale) -> None:
    await sale.put("phone", 5)
    id_ = await sale.confirmed(("phone", 2), buyer="bo")
    await settle_all(sale.settler())
    await forget(sale, id_)
    calls = sale.reservations
    shown = granted(await calls.show(id_)).reservation
    assert (shown.id, shown.state, shown.buyer) == (id_, State.SETTLED, "bo")
    assert shown.lines == (HeldLine("phone", 2),)
    again = granted(await calls.confirm(id_, f"pay-{id_}", LONG_S))
    assert (again.replayed, again.reservation.state) == (True, State.SETTLED)
    refund = {"refund_required": True, "payment_ref": "other"}
    assert await calls.confirm(id_, "other", 0.0) == Refused("payment-ref-conflict", refund)
    for step in (calls.release(id_), calls.pay(id_), calls.extend(id_, 60)):
        assert await step == Refused("reservation-confirmed", {"state": "settled"})


async def test_a_forgotten_refusal_is_found_in_the_ledger(sale: Sale) -> None:
    await sale.put("phone", 5)
    id_ = await sale.confirmed(("phone", 2))
    await take_from_ledger(sale, "phone", 4)
    await settle_all(sale.settler())
    assert await sale.state(id_) is State.REJECTED
    await forget(sale, id_)
    rejected = Refused("deduction-rejected", {"refund_required": True})
    assert granted(await sale.reservations.show(id_)).reservation.state is State.REJECTED
    assert await sale.reservations.confirm(id_, f"pay-{id_}", 0.0) == rejected
    assert await sale.reservations.release(id_) == rejected


async def take_from_ledger(sale: Sale, sku: str, units: int) -> None:
    """Units that are found missing in the warehouse, behind Redis's back."""
    move = await begun(sale.ledger, MoveRequest(sku=sku, kind="adjust", delta=-units))
    await sale.ledger.finish_move(sku, move.seq, True)


async def test_a_forgotten_reservation_needs_the_ledger(sale: Sale) -> None:
    await sale.put("phone", 5)
    id_ = await sale.held(("phone", 2))
    await forget(sale, id_)
    assert await sale.reservations.show(id_) == Refused("unknown-reservation")
    await sale.ledger.close()
    with pytest.raises(LedgerUnavailable):
        await sale.reservations.show(id_)


async def test_a_late_payment_is_honoured_from_available(any_sale: Sale) -> None:
    await any_sale.put("phone", 5, 1, buyer_limit=2)
    await any_sale.listen()
    any_sale.run(any_sale.settler().loop)
    id_ = await any_sale.expired(("phone", 2))
    answer = granted(await any_sale.reservations.confirm(id_, "p1", LONG_S))
    assert answer.reservation.state is State.SETTLED
    assert counts(await any_sale.terms("phone")) == (3, 2, 0, 0, 1, 2)
    assert refused(await any_sale.hold(("phone", 1))).code == "buyer-limit"
    await any_sale.assert_sound()


async def test_a_late_payment_is_honoured_from_safety_stock(any_sale: Sale) -> None:
    await any_sale.put("phone", 3, 2)
    id_ = await any_sale.expired(("phone", 1))
    await any_sale.held(("phone", 1), buyer="quicker")
    answer = granted(await any_sale.reservations.confirm(id_, "p1", 0.0))
    assert answer.reservation.lines == (HeldLine("phone", 1, False, 1),)
    assert counts(await any_sale.terms("phone")) == (3, 0, 1, 1, 1, 0)
    await settle_all(any_sale.settler())
    assert counts(await any_sale.terms("phone")) == (2, 0, 1, 0, 1, 1)
    recorded = await any_sale.ledger.deduction(id_)
    assert recorded is not None
    assert recorded.lines[0].from_safety == 1
    await any_sale.assert_sound()


async def test_a_late_payment_that_cannot_be_honoured_asks_for_a_refund(sale: Sale) -> None:
    await sale.put("phone", 3, 1)
    id_ = await sale.expired(("phone", 2))
    other = await sale.held(("phone", 2), buyer="quicker")
    gone = Refused("reservation-expired", {"refund_required": True})
    assert await sale.reservations.confirm(id_, "p1", 0.0) == gone
    assert counts(await sale.terms("phone")) == (3, 0, 2, 0, 1, 0)
    await sale.reservations.release(other)
    assert await sale.reservations.confirm(id_, "p1", 0.0) == gone, "the shop has refunded"


async def test_nothing_is_left_behind_by_those_who_waited(sale: Sale) -> None:
    await sale.put("phone", 5)
    ids = [await sale.held(("phone", 1)) for _ in range(3)]
    await sale.reservations.confirm(ids[0], "p", 0.01)
    await sale.reservations.confirm("0" * 26, "p", 0.01)
    gone = asyncio.ensure_future(sale.reservations.confirm(ids[1], "q", LONG_S))
    await until(lambda: _is_waiting(sale.finished, ids[1]))
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert not sale.finished._waiting


async def test_once_confirmed_a_failed_second_look_is_no_failure(
    sale: Sale, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unreachable(_batch: Any) -> Any:
        raise StoreUnavailable("gone")

    await sale.put("phone", 5)
    id_ = await sale.held(("phone", 1))
    monkeypatch.setattr(sale.shard.show, "_send", unreachable)
    answer = granted(await sale.reservations.confirm(id_, "p", 0.01))
    assert answer.reservation.state is State.CONFIRMED


async def test_a_gateway_that_stops_keeps_no_confirm_waiting(sale: Sale) -> None:
    await sale.put("phone", 5)
    ids = [await sale.held(("phone", 1)) for _ in range(3)]
    confirm = sale.reservations.confirm
    waiting = asyncio.gather(*[confirm(id_, f"pay-{id_}", LONG_S) for id_ in ids[:2]])
    await until(lambda: sale.is_in(ids[0], State.CONFIRMED))
    await until(lambda: sale.is_in(ids[1], State.CONFIRMED))
    assert not waiting.done()
    sale.finished.stop_waiting()
    answers = [*await waiting, await confirm(ids[2], "p", LONG_S)]
    assert [granted(a).reservation.state for a in answers] == [State.CONFIRMED] * 3
    assert not sale.finished._waiting


# ── Finished on its own ──────────────────────────────────────────────────────


async def test_an_announcement_wakes_all_who_watch_and_nobody_else() -> None:
    finished = Finished(StillClock())
    one, two, other = (finished.watch(field) for field in ("a", "a", "b"))
    finished.announce(State.REJECTED, ["nobody", "a"])
    assert (one.result(), two.result()) == (State.REJECTED, State.REJECTED)
    assert not other.done()
    finished.announce(State.SETTLED, ["a", "b"])
    assert other.result() is State.SETTLED
    for field, future in (("a", one), ("a", two), ("b", other)):
        finished.forget(field, future)
    assert not finished._waiting


async def test_a_wait_ends_when_its_time_is_up() -> None:
    clock = StillClock()
    finished = Finished(clock)
    future = finished.watch("a")
    waiting = asyncio.ensure_future(finished.wait(future, 2.0))
    assert await clock.next_pause() == pytest.approx(2.0)
    assert await waiting is None
    finished.announce(State.SETTLED, ["a"])
    finished.forget("a", future)
    assert not finished._waiting


async def test_an_announcement_before_the_wait_is_not_lost() -> None:
    finished = Finished(StillClock())
    future = finished.watch("a")
    finished.announce(State.SETTLED, ["a"])
    assert await finished.wait(future, 2.0) is State.SETTLED
    finished.forget("a", future)


async def test_the_ledger_refuses_a_payment_that_the_store_forgot(any_sale: Sale) -> None:
    """As it is when two shards confirm with one reference: the second gets its units back."""
    await any_sale.put("phone", 5)
    await any_sale.listen()
    first, second = [await any_sale.held(("phone", 1), buyer=b) for b in ("ann", "bo")]
    calls = any_sale.reservations
    granted(await calls.confirm(first, "p", 0.0))
    await any_sale.raw("DEL", keys.refs(0))
    any_sale.run(any_sale.settler().loop)
    no_refund = Refused("payment-ref-conflict", {"refund_required": False})
    assert await calls.confirm(second, "p", LONG_S) == no_refund
    assert await any_sale.state(second) is State.REJECTED
    assert await calls.confirm(second, "p", LONG_S) == no_refund, "said the same way again"
    assert await any_sale.state(first) is State.SETTLED
    assert counts(await any_sale.terms("phone")) == (4, 4, 0, 0, 0, 1)
    await any_sale.assert_sound()
