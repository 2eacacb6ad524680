"""Entries that fail by themselves: three tries, then a letter; retried or dismissed, once."""

import asyncio
from typing import Any

import pytest

from gateway.core import metrics
from gateway.core.model import State
from gateway.ledger import Letter
from gateway.sale.outcomes import Refused
from gateway.store import keys
from gateway.workers import settler as settler_module
from gateway.workers.suspects import TRIED_AT_ONCE_MAX, TRIES_MAX
from tests.sale import faults
from tests.sale.clocks import StillClock
from tests.sale.steps import Sale, counts, settle_all
from tests.sale.test_confirm import take_from_ledger
from tests.workers.letters import POISON, Refusing, a_letter, give_up
from tests.workers.test_settler import Dies, assert_settled


@pytest.fixture(autouse=True)
def _short_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settler_module, "BLOCK_S", 0.02)


async def only_letter(sale: Sale) -> Letter:
    [letter] = await sale.core.letters.page()
    return letter


async def test_three_tries_then_a_letter_that_says_why(any_sale: Sale) -> None:
    before = metrics.DEAD_LETTERS.labels("ledger-refused")._value.get()
    id_, letter, ledger = await a_letter(any_sale)
    assert ledger.batches == [1] * TRIES_MAX
    assert (letter.kind, letter.reservation_id, letter.state) == ("settle", id_, "waiting")
    assert (letter.reason, letter.tries, letter.outcome) == ("ledger-refused", TRIES_MAX, "")
    assert "a constraint refuses it" in letter.detail
    assert letter.record.split("|")[5] == POISON
    assert 0 < letter.first_ms <= letter.last_ms
    assert (await any_sale.outbox_length(), await any_sale.pending()) == (0, 0)
    assert await any_sale.raw("EXISTS", keys.faults(0)) == 0
    assert metrics.DEAD_LETTERS.labels("ledger-refused")._value.get() == before + 1
    assert await any_sale.state(id_) is State.CONFIRMED, "nobody has decided yet"
    assert counts(await any_sale.terms("phone")) == (10, 7, 0, 3, 0, 0)
    report = await any_sale.verify()
    assert report.ok
    assert report.dead_letters == 1


async def test_the_pauses_between_tries_double_and_are_spread(sale: Sale) -> None:
    await sale.put("phone", 10)
    await sale.confirmed(("phone", 1), buyer=POISON)
    for jitter, first_s, second_s in ((1.0, 1.0, 2.0), (0.0, 0.5, 1.0)):
        clock = StillClock(jitter=jitter)
        settler = sale.settler(ledger=Refusing(sale.ledger), clock=clock)
        await settler.step()
        await sale.raw("DEL", keys.faults(0))
        settler = sale.settler(ledger=Refusing(sale.ledger), clock=clock)
        await settler.step()
        assert settler._suspects.next_due_s(60.0) == pytest.approx(first_s)
        clock.advance(first_s)
        await settler.step()
        assert settler._suspects.next_due_s(60.0) == pytest.approx(second_s)
        await sale.raw("DEL", keys.faults(0))


async def test_tries_survive_the_settler(any_sale: Sale) -> None:
    await any_sale.put("phone", 10)
    await any_sale.confirmed(("phone", 1), buyer=POISON)
    ledger = Refusing(any_sale.ledger)
    for _ in range(TRIES_MAX):
        clock = StillClock()
        settler = any_sale.settler(ledger=ledger, clock=clock)  # a new one, as after a restart
        await settler.step()
        clock.advance(30.0)
        await settler.step()
        if await any_sale.core.letters.page():
            break
    assert (await only_letter(any_sale)).tries == TRIES_MAX
    assert ledger.batches == [1] * TRIES_MAX


async def test_an_outage_is_no_try(any_sale: Sale) -> None:
    await any_sale.put("phone", 10)
    id_ = await any_sale.confirmed(("phone", 1))
    ledger = faults.ledger_down(any_sale.ledger, "deduct", times=25)
    clock = StillClock(jitter=1.0)
    settler = any_sale.settler(ledger=ledger, clock=clock)
    any_sale.run(settler.loop)
    pauses = [await clock.next_pause() for _ in range(25)]
    assert max(pauses) <= 5.001, "the pause is bounded"
    await any_sale.stop_loops()
    await settle_all(any_sale.settler())
    await assert_settled(any_sale, [id_])
    assert await any_sale.core.letters.page() == []


async def test_poison_does_not_delay_the_good(any_sale: Sale) -> None:
    """40 poisoned of 200: the first round settles every other, and later ones need not wait."""
    await any_sale.put("phone", 1000)
    ids: list[str] = []
    bad: list[str] = []
    for n in range(200):
        poisoned = n % 5 == 0
        buyer = POISON if poisoned else f"b{n}"
        (bad if poisoned else ids).append(await any_sale.confirmed(("phone", 1), buyer=buyer))
    ledger, clock = Refusing(any_sale.ledger), StillClock()
    settler = any_sale.settler(ledger=ledger, clock=clock)
    await settler.step()
    assert [await any_sale.state(id_) for id_ in ids] == [State.SETTLED] * len(ids)
    clock.advance(30.0)
    late = await any_sale.confirmed(("phone", 1))
    ledger.batches.clear()
    await settler.step()
    assert await any_sale.state(late) is State.SETTLED
    assert ledger.batches == [1] * (1 + TRIED_AT_ONCE_MAX), "the good one first, then some poison"
    await give_up(settler, clock)
    letters = await any_sale.core.letters.page()
    assert sorted(letter.reservation_id for letter in letters) == sorted(bad)
    assert counts(await any_sale.terms("phone")) == (839, 799, 0, 40, 0, 161)
    await any_sale.assert_sound()


async def test_one_culprit_costs_few_transactions(sale: Sale) -> None:
    await sale.put("phone", 1000)
    for n in range(200):
        await sale.confirmed(("phone", 1), buyer=POISON if n == 77 else "ann")
    ledger = Refusing(sale.ledger)
    await sale.settler(ledger=ledger).step()
    assert (await sale.terms("phone")).sold == 199
    assert len(ledger.batches) <= 17


async def test_what_cannot_be_read_becomes_a_letter(any_sale: Sale) -> None:
    await any_sale.put("phone", 10)
    await any_sale.raw("XADD", keys.outbox(0), "*", "r", b"garbage\x00|\xff")
    clock = StillClock()
    await give_up(any_sale.settler(clock=clock), clock)
    letter = await only_letter(any_sale)
    assert (letter.reason, letter.reservation_id) == ("unreadable", "")
    assert letter.record == "garbage\ufffd|\ufffd"
    assert await any_sale.outbox_length() == 0
    retried = await any_sale.core.letters.retry(letter.id, "ops")
    assert retried == Refused("dead-letter-not-retryable")
    dismissed = await any_sale.core.letters.dismiss(letter.id, "ops", "noise")
    assert isinstance(dismissed, Letter)
    assert (dismissed.state, dismissed.outcome, dismissed.unfinished) == ("dismissed", "", False)


async def test_a_garbled_entry_of_a_sound_reservation_is_healed_by_a_retry(sale: Sale) -> None:
    await sale.put("phone", 10)
    id_ = await sale.confirmed(("phone", 1))
    [[entry_id, values]] = await sale.raw("XRANGE", keys.outbox(0), "-", "+")
    text = values[b"r"] if isinstance(values, dict) else values[1]
    await sale.raw("XDEL", keys.outbox(0), entry_id)
    await sale.raw("XADD", keys.outbox(0), "*", "r", text[:-3] + b"?*x")
    clock = StillClock()
    await give_up(sale.settler(clock=clock), clock)
    letter = await only_letter(sale)
    assert (letter.reason, letter.reservation_id) == ("unreadable", id_)
    await sale.core.letters.retry(letter.id, "ops")
    await settle_all(sale.settler())
    await assert_settled(sale, [id_])


async def test_a_crash_between_letter_and_acknowledgement_leaves_one_letter(
    any_sale: Sale,
) -> None:
    await any_sale.put("phone", 10)
    await any_sale.confirmed(("phone", 3), buyer=POISON)
    ledger, clock = Refusing(any_sale.ledger), StillClock()
    dying = any_sale.settler(ledger=ledger, clock=clock, on_step=Dies("bury"))
    with pytest.raises(InterruptedError):
        await give_up(dying, clock)
    assert await any_sale.pending() == 1, "not acknowledged"
    first = await only_letter(any_sale)
    clock = StillClock()
    await give_up(any_sale.settler(ledger=ledger, clock=clock), clock)
    assert await only_letter(any_sale) == first
    assert await any_sale.outbox_length() == 0


async def test_without_the_check_for_a_filed_entry_there_are_two(
    sale: Sale, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control of the test above: what makes filing repeatable is what is taken away."""
    from sqlalchemy import text

    from gateway.ledger import dead_letters

    monkeypatch.setattr(dead_letters, "_is_filed", lambda *_: False)
    monkeypatch.setattr(dead_letters, "_reopened", lambda *_: False)

    def drop_indexes(connection: Any) -> None:
        for index in ("dead_letters_entry", "dead_letters_one_open"):
            connection.execute(text(f"DROP INDEX {index}"))

    await sale.ledger._database.write(drop_indexes)
    await sale.put("phone", 10)
    await sale.confirmed(("phone", 3), buyer=POISON)
    ledger, clock = Refusing(sale.ledger), StillClock()
    with pytest.raises(InterruptedError):
        await give_up(sale.settler(ledger=ledger, clock=clock, on_step=Dies("bury")), clock)
    clock = StillClock()
    await give_up(sale.settler(ledger=ledger, clock=clock), clock)
    assert len(await sale.core.letters.page()) == 2


async def test_a_retry_settles_what_can_be_settled_now(any_sale: Sale) -> None:
    id_, letter, _ = await a_letter(any_sale)
    retried = await any_sale.core.letters.retry(letter.id, "ops")
    assert isinstance(retried, Letter)
    assert (retried.state, retried.actor, retried.unfinished) == ("retrying", "ops", True)
    await settle_all(any_sale.settler())
    await assert_settled(any_sale, [id_])
    await any_sale.core.letters.drive()
    letter = await only_letter(any_sale)
    assert (letter.state, letter.outcome, letter.unfinished) == ("resolved", "settled", False)
    assert await any_sale.raw("EXISTS", keys.prefix(0) + "redriven") == 0
    again = await any_sale.core.letters.retry(letter.id, "ops")
    assert again == Refused("dead-letter-not-waiting", {"letter_state": "resolved"})


async def test_however_often_it_is_retried_it_is_on_its_way_once(any_sale: Sale) -> None:
    _, letter, _ = await a_letter(any_sale)
    letters = any_sale.core.letters
    await asyncio.gather(*[letters.retry(letter.id, f"ops{n}") for n in range(8)])
    await letters.drive()
    assert await any_sale.outbox_length() == 1


async def test_a_retry_that_crashed_half_way_is_driven_on(any_sale: Sale) -> None:
    id_, letter, _ = await a_letter(any_sale)
    await any_sale.ledger.letters.begin_retry(letter.id, "ops")  # and then the process was gone
    assert await any_sale.outbox_length() == 0
    await any_sale.core.letters.drive()
    await any_sale.core.letters.drive()
    assert await any_sale.outbox_length() == 1
    await settle_all(any_sale.settler())
    await assert_settled(any_sale, [id_])


async def test_a_retry_that_fails_again_waits_again(any_sale: Sale) -> None:
    _, letter, ledger = await a_letter(any_sale)
    for tries in (2 * TRIES_MAX, 3 * TRIES_MAX):
        await any_sale.core.letters.retry(letter.id, "ops")
        clock = StillClock()
        await give_up(any_sale.settler(ledger=ledger, clock=clock), clock)
        letter = await only_letter(any_sale)
        assert (letter.state, letter.tries) == ("waiting", tries)
    assert await any_sale.outbox_length() == 0


async def test_a_letter_about_what_is_settled_already_is_resolved_by_a_retry(sale: Sale) -> None:
    id_, letter, _ = await a_letter(sale)
    await sale.ledger.letters.begin_retry(letter.id, "ops")
    await sale.core.letters.drive()
    await settle_all(sale.settler())
    resolved = await sale.core.letters.retry(letter.id, "ops")
    assert isinstance(resolved, Letter | Refused)
    await sale.core.letters.drive()
    assert (await only_letter(sale)).state == "resolved"
    await assert_settled(sale, [id_])


async def test_a_dismissal_gives_the_units_back_for_good(any_sale: Sale) -> None:
    id_, letter, _ = await a_letter(any_sale)
    dismissed = await any_sale.core.letters.dismiss(letter.id, "ops", "cancelled by phone")
    assert isinstance(dismissed, Letter)
    assert (dismissed.state, dismissed.outcome) == ("dismissed", "rejected")
    assert (dismissed.actor, dismissed.note) == ("ops", "cancelled by phone")
    assert not dismissed.unfinished
    assert await any_sale.state(id_) is State.REJECTED
    assert counts(await any_sale.terms("phone")) == (10, 10, 0, 0, 0, 0)
    recorded = await any_sale.ledger.deduction(id_)
    assert recorded is not None
    assert (recorded.settled, recorded.reason) == (False, "dismissed")
    assert [(line.sku, line.quantity) for line in recorded.lines] == [("phone", 3)]
    assert await journal_words(any_sale, "phone") == [
        ("ops", f"reservation {id_} dismissed: cancelled by phone", 0)
    ]
    refusal = await any_sale.reservations.confirm(id_, f"pay-{id_}", 0.0)
    assert refusal == Refused("deduction-rejected", {"refund_required": True})
    await any_sale.assert_sound()


async def journal_words(sale: Sale, sku: str) -> list[Any]:
    """Who, why and how many units, of the journal's rows that mention a dismissal."""

    def read(connection: Any) -> list[Any]:
        query = "SELECT actor, reason, delta FROM journal WHERE reason LIKE '%dismissed%'"
        return [tuple(row) for row in connection.exec_driver_sql(f"{query} AND sku = '{sku}'")]

    return await sale.ledger._database.read(read)


async def test_a_dismissal_that_crashed_half_way_is_driven_on(any_sale: Sale) -> None:
    from gateway.ledger import Dismissal

    id_, letter, _ = await a_letter(any_sale)
    await any_sale.ledger.letters.dismiss(letter.id, Dismissal("ops", "gone"))
    assert await any_sale.state(id_) is State.CONFIRMED, "the store has not followed yet"
    await any_sale.core.letters.drive()
    assert await any_sale.state(id_) is State.REJECTED
    assert counts(await any_sale.terms("phone")) == (10, 10, 0, 0, 0, 0)
    assert await any_sale.ledger.letters.unfinished(10) == []
    await any_sale.assert_sound()


async def test_a_decision_is_made_once(any_sale: Sale) -> None:
    """Retry and dismissal at once: one of them wins, and the units are in one place."""
    id_, letter, _ = await a_letter(any_sale)
    letters = any_sale.core.letters
    answers = await asyncio.gather(
        letters.retry(letter.id, "a"), letters.dismiss(letter.id, "b", "no")
    )
    assert [isinstance(answer, Letter) for answer in answers].count(True) == 1
    await settle_all(any_sale.settler())
    await letters.drive()
    state = await any_sale.state(id_)
    assert state in (State.SETTLED, State.REJECTED)
    assert (await only_letter(any_sale)).state == (
        "resolved" if state is State.SETTLED else "dismissed"
    )
    await any_sale.assert_sound()


async def test_what_the_ledger_has_sold_stays_sold(sale: Sale) -> None:
    """A letter whose mirror failed: the ledger's word is mirrored, whatever the operator wishes."""
    await sale.put("phone", 10)
    id_ = await sale.confirmed(("phone", 3))
    broken = MirrorRefuses(sale.commands())
    clock = StillClock()
    await give_up(sale.settler(commands=broken, clock=clock), clock)
    letter = await only_letter(sale)
    assert (letter.reason, letter.outcome) == ("mirror-refused", "settled")
    dismissed = await sale.core.letters.dismiss(letter.id, "ops", "close it")
    assert isinstance(dismissed, Letter)
    assert dismissed.outcome == "settled"
    await assert_settled(sale, [id_])
    assert (await sale.terms("phone")).sold == 3


class MirrorRefuses:
    """Commands that find no way from the record's state to settled."""

    def __init__(self, commands: Any) -> None:
        self._commands = commands

    def __getattr__(self, name: str) -> Any:
        return getattr(self._commands, name)

    async def settle(self, entries: Any) -> Any:
        from gateway.core.codes import Reply

        return [Reply.ILLEGAL for _ in entries]


async def test_an_inconsistent_sku_makes_no_letters(sale: Sale) -> None:
    """Its counters are repaired for all at once; until then its reservations wait."""
    await sale.put("phone", 50)
    await sale.put("case", 50)
    ids = [await sale.confirmed(("phone", 1)) for _ in range(5)]
    await sale.raw("HINCRBY", keys.sku(0, "phone"), "available", 1)
    clock = StillClock()
    settler = sale.settler(clock=clock)
    for _ in range(8):
        await settler.step()
        clock.advance(30.0)
    assert await sale.core.letters.page() == []
    case = await sale.confirmed(("case", 1))
    await settler.step()
    assert await sale.state(case) is State.SETTLED
    await sale.raw("HINCRBY", keys.sku(0, "phone"), "available", -1)
    clock.advance(30.0)
    await give_up(settler, clock)
    await assert_settled(sale, [*ids, case])
    assert await sale.raw("EXISTS", keys.faults(0)) == 0


async def test_a_shortfall_is_no_fault(sale: Sale) -> None:
    await sale.put("phone", 5)
    id_ = await sale.confirmed(("phone", 3))
    await take_from_ledger(sale, "phone", 4)
    await settle_all(sale.settler())
    assert await sale.state(id_) is State.REJECTED
    assert await sale.core.letters.page() == []


async def test_unknown_letters(sale: Sale) -> None:
    letters, unknown = sale.core.letters, Refused("unknown-dead-letter")
    assert await letters.get(7) == unknown
    assert await letters.retry(7, "ops") == unknown
    assert await letters.dismiss(7, "ops", "x") == unknown
