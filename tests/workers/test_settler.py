"""The settler: exactly one deduction a confirmed reservation, whatever fails on the way."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.core import metrics
from gateway.core.config import RedisConfig, SettlerConfig
from gateway.core.errors import InvariantBreach, OutcomeUnknown
from gateway.core.model import State
from gateway.ledger import Deduction, MoveRequest, Outcome
from gateway.sale.outcomes import Granted, Refused
from gateway.store import keys
from gateway.store.commands import StockMove
from gateway.workers import settler as settler_module
from gateway.workers.loop import BACKOFF_FIRST_S
from tests.ledger.steps import begun
from tests.sale import faults
from tests.sale.clocks import StillClock
from tests.sale.steps import Sale, config_for, counts, open_sale, settle_all, step_on, until
from tests.sale.test_confirm import LONG_S, take_from_ledger
from tests.support.servers import RedisServer

QUICK_CLAIM = SettlerConfig(idle_claim_s=0.5)


@pytest.fixture(autouse=True)
def _short_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read of an empty outbox need not wait long for a test to go on."""
    monkeypatch.setattr(settler_module, "BLOCK_S", 0.02)


class Watched:
    """A ledger that keeps account of what it is asked for."""

    def __init__(self, ledger: Any, refuse: Callable[[Deduction], bool] = lambda _: False) -> None:
        self._ledger = ledger
        self._refuse = refuse
        self.asked: list[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def deduct(self, batch: Sequence[Deduction]) -> list[Outcome]:
        self.asked.append([d.reservation_id for d in batch])
        if any(map(self._refuse, batch)):
            raise InvariantBreach("refused by a constraint")
        outcomes: list[Outcome] = await self._ledger.deduct(batch)
        return outcomes

    @property
    def times(self) -> Counter[str]:
        return Counter(id_ for batch in self.asked for id_ in batch)


async def assert_settled(sale: Sale, ids: Sequence[str]) -> None:
    for id_ in ids:
        assert await sale.state(id_) is State.SETTLED
        recorded = await sale.ledger.deduction(id_)
        assert recorded is not None
        assert recorded.settled
    assert await sale.outbox_length() == 0
    assert await sale.pending() == 0
    await sale.assert_sound()


async def test_what_was_confirmed_is_deducted_and_mirrored(any_sale: Sale) -> None:
    await any_sale.put("phone", 50, 5)
    await any_sale.put("case", 50)
    ids = [await any_sale.confirmed(("phone", 2), ("case", 1)) for _ in range(7)]
    before = metrics.SETTLED.labels("settled")._value.get()
    await settle_all(any_sale.settler())
    await assert_settled(any_sale, ids)
    assert counts(await any_sale.terms("phone")) == (36, 31, 0, 0, 5, 14)
    assert counts(await any_sale.terms("case")) == (43, 43, 0, 0, 0, 7)
    assert metrics.SETTLED.labels("settled")._value.get() == before + 7


async def test_a_batch_is_one_transaction_and_bounded(sale: Sale) -> None:
    await sale.put("phone", 50)
    ids = [await sale.confirmed(("phone", 1)) for _ in range(7)]
    ledger = Watched(sale.ledger)
    await settle_all(sale.settler(ledger=ledger, config=SettlerConfig(batch_max=3)))
    assert ledger.asked == [ids[:3], ids[3:6], ids[6:]]
    await assert_settled(sale, ids)


async def test_two_settlers_share_one_outbox(any_sale: Sale) -> None:
    await any_sale.put("phone", 1000)
    ledgers = [Watched(any_sale.ledger), Watched(any_sale.ledger)]
    for n, ledger in enumerate(ledgers):
        config = SettlerConfig(batch_max=5)
        settler = any_sale.settler(consumer=f"s{n}", ledger=ledger, config=config)
        any_sale.run(settler.loop)
    ids = list(await asyncio.gather(*[any_sale.confirmed(("phone", 1)) for _ in range(120)]))
    await until(lambda: _is_empty(any_sale))
    assert ledgers[0].times + ledgers[1].times == Counter(ids), "each was handed to one of them"
    await any_sale.stop_loops()
    await assert_settled(any_sale, ids)
    assert (await any_sale.terms("phone")).sold == 120


async def _is_empty(sale: Sale) -> bool:
    return await sale.outbox_length() == 0


class Dies:
    """Stands for a crash of a settler before a step."""

    def __init__(self, at: str) -> None:
        self._at = at

    def __call__(self, step: str) -> None:
        if step == self._at:
            raise InterruptedError(step)


async def settle_until_dead(sale: Sale, at: str, consumer: str = "dead") -> None:
    settler = sale.settler(consumer=consumer, on_step=Dies(at))
    with pytest.raises(InterruptedError):
        await step_on(settler)


@pytest.mark.parametrize("at", ["deduct", "mirror", "done"])
async def test_its_successor_under_the_same_name_goes_on_at_once(any_sale: Sale, at: str) -> None:
    await any_sale.put("phone", 50)
    ids = [await any_sale.confirmed(("phone", 1)) for _ in range(5)]
    await settle_until_dead(any_sale, at, consumer="one")
    assert await any_sale.pending() == (0 if at == "done" else 5)
    await settle_all(any_sale.settler(consumer="one"))
    await assert_settled(any_sale, ids)
    assert (await any_sale.terms("phone")).sold == 5


@pytest.mark.parametrize("at", ["deduct", "mirror"])
async def test_a_dead_settlers_work_is_taken_over(any_sale: Sale, at: str) -> None:
    await any_sale.put("phone", 50)
    ids = [await any_sale.confirmed(("phone", 1)) for _ in range(5)]
    await settle_until_dead(any_sale, at)
    clock, ledger = StillClock(), Watched(any_sale.ledger)
    heir = any_sale.settler(consumer="heir", ledger=ledger, config=QUICK_CLAIM, clock=clock)
    await until(lambda: _all_idle_for(any_sale, 500))
    await heir.step()
    assert ledger.asked == [], "it looks for work left behind only so often"
    clock.advance(0.5)
    await heir.step()
    assert ledger.asked == [ids]
    await assert_settled(any_sale, ids)


async def _all_idle_for(sale: Sale, idle_ms: int) -> bool:
    asked = ("XPENDING", keys.outbox(0), keys.GROUP, "-", "+", 1000)
    rows = await sale.raw(*asked, parse_detail=True)
    return min(row["time_since_delivered"] for row in rows) >= idle_ms


async def test_work_that_is_in_hand_is_not_taken_over(any_sale: Sale) -> None:
    await any_sale.put("phone", 50)
    await any_sale.confirmed(("phone", 1))
    await settle_until_dead(any_sale, "deduct", consumer="busy")
    clock, ledger = StillClock(), Watched(any_sale.ledger)
    config = SettlerConfig(idle_claim_s=600)
    other = any_sale.settler(consumer="other", ledger=ledger, config=config, clock=clock)
    for _ in range(3):
        clock.advance(600)
        await other.step()
    assert ledger.asked == []
    assert await any_sale.pending() == 1


async def test_while_the_ledger_is_down_nothing_is_lost(any_sale: Sale) -> None:
    await any_sale.put("phone", 50)
    first = [await any_sale.confirmed(("phone", 1)) for _ in range(3)]
    clock = StillClock(jitter=1.0)
    failures = metrics.SETTLER_FAILURES._value.get()
    ledger = faults.ledger_down(any_sale.ledger, "deduct", times=3)
    settler = any_sale.settler(ledger=ledger, clock=clock)
    any_sale.run(settler.loop)
    pauses = [round(await clock.next_pause(), 6) for _ in range(2)]
    assert pauses == [BACKOFF_FIRST_S, 2 * BACKOFF_FIRST_S]
    assert not settler.loop.healthy
    assert counts(await any_sale.terms("phone")) == (50, 47, 0, 3, 0, 0)
    later = [await any_sale.confirmed(("phone", 1)) for _ in range(2)]
    assert round(await clock.next_pause(), 6) == 4 * BACKOFF_FIRST_S
    await until(lambda: _settles(any_sale, clock))
    assert settler.loop.healthy
    assert metrics.SETTLER_FAILURES._value.get() == failures + 3
    await any_sale.stop_loops()
    await assert_settled(any_sale, first + later)


async def _settles(sale: Sale, clock: StillClock) -> bool:
    clock.advance(0.1)
    return await _is_empty(sale)


async def test_a_ledger_that_committed_and_did_not_say_so(sale: Sale) -> None:
    await sale.put("phone", 50)
    ids = [await sale.confirmed(("phone", 1)) for _ in range(3)]
    clock = StillClock()
    ledger = faults.ledger_unanswered(sale.ledger, "deduct")
    sale.run(sale.settler(ledger=ledger, clock=clock).loop)
    await until(lambda: _settles(sale, clock))
    await sale.stop_loops()
    await assert_settled(sale, ids)
    assert (await sale.terms("phone")).sold == 3


@pytest.mark.parametrize("method", ["settle", "reject"])
@pytest.mark.parametrize("fault", [faults.unreachable, faults.unanswered])
async def test_a_mirror_that_failed_is_repeated_harmlessly(
    sale: Sale, method: str, fault: Callable[..., Any]
) -> None:
    await sale.put("phone", 50)
    await sale.put("lamp", 2)
    ids = [await sale.confirmed(("phone", 1)) for _ in range(3)]
    lamps = [await sale.confirmed(("lamp", 1)) for _ in range(2)]
    await take_from_ledger(sale, "lamp", 1)
    clock = StillClock()
    commands = fault(sale.commands(), method)
    sale.run(sale.settler(commands=commands, clock=clock).loop)
    await until(lambda: _settles(sale, clock))
    await sale.stop_loops()
    await take_from_ledger(sale, "lamp", -1)
    await assert_settled(sale, [*ids, lamps[0]])
    assert await sale.state(lamps[1]) is State.REJECTED
    assert counts(await sale.terms("lamp")) == (1, 1, 0, 0, 0, 1)


async def test_a_mirror_that_nobody_answers(
    start_server: Callable[..., RedisServer], tmp_path: Path
) -> None:
    """Redis stops between ledger and mirror: whether it was mirrored, nobody can tell."""
    server = start_server("valkey")
    config = replace(config_for(server.url, tmp_path), redis=RedisConfig(call_timeout_ms=200))
    async with open_sale(config) as sale:
        await sale.put("phone", 50)
        ids = [await sale.confirmed(("phone", 1)) for _ in range(3)]
        stops = ["mirror"]

        def pause_once(step: str) -> None:
            if step in stops:
                stops.remove(step)
                server.pause()

        unknown: list[BaseException] = []
        commands = _Noting(sale.commands(), unknown)
        await commands.expire_due(1)  # connects: what is not sent is not unknown
        settler = sale.settler(commands=commands, on_step=pause_once)
        sale.run(settler.loop)
        async with asyncio.timeout(20):
            while not unknown:
                await asyncio.sleep(0.005)
        server.resume()
        assert isinstance(unknown[0], OutcomeUnknown)
        await until(lambda: _is_empty(sale))
        await sale.stop_loops()
        await assert_settled(sale, ids)
        assert (await sale.terms("phone")).sold == 3


class _Noting:
    """Commands whose settle notes what it raised."""

    def __init__(self, commands: Any, raised: list[BaseException]) -> None:
        self._commands = commands
        self._raised = raised

    def __getattr__(self, name: str) -> Any:
        return getattr(self._commands, name)

    async def settle(self, entries: Any) -> Any:
        try:
            return await self._commands.settle(entries)
        except BaseException as error:
            self._raised.append(error)
            raise


async def test_a_refused_deduction_gives_the_units_back_and_tells_the_buyer(
    any_sale: Sale,
) -> None:
    await any_sale.put("phone", 5, buyer_limit=3)
    await any_sale.put("case", 5)
    await any_sale.listen()
    await take_from_ledger(any_sale, "phone", 4)
    any_sale.run(any_sale.settler().loop)
    id_ = await any_sale.held(("case", 1), ("phone", 3))
    answer = await any_sale.reservations.confirm(id_, "p", LONG_S)
    assert answer == Refused("deduction-rejected", {"refund_required": True})
    assert counts(await any_sale.terms("phone")) == (5, 5, 0, 0, 0, 0)
    assert counts(await any_sale.terms("case")) == (5, 5, 0, 0, 0, 0)
    recorded = await any_sale.ledger.deduction(id_)
    assert recorded is not None
    assert (recorded.settled, recorded.reason) == (False, "shortfall")
    assert isinstance(await any_sale.hold(("phone", 3)), Granted), "the limit is free again"
    again = await any_sale.reservations.confirm(id_, "p", LONG_S)
    assert again == Refused("deduction-rejected", {"refund_required": True})


async def test_a_refused_late_payment_goes_back_where_it_came_from(sale: Sale) -> None:
    await sale.put("phone", 3, 2)
    id_ = await sale.expired(("phone", 1))
    await sale.held(("phone", 1), buyer="quicker")
    assert isinstance(await sale.reservations.confirm(id_, "p", 0.0), Granted)
    assert counts(await sale.terms("phone")) == (3, 0, 1, 1, 1, 0)
    nothing_left = MoveRequest(sku="phone", kind="put", on_hand=0, safety_stock=0)
    move = await begun(sale.ledger, nothing_left)
    await sale.ledger.finish_move("phone", move.seq, True)
    await settle_all(sale.settler())
    assert await sale.state(id_) is State.REJECTED
    assert counts(await sale.terms("phone")) == (3, 0, 1, 0, 2, 0)


async def test_a_sku_that_the_ledger_does_not_know_is_refused(sale: Sale) -> None:
    code, _ = await sale.commands().move_stock(StockMove("ghost", 1, 5, 0))
    assert code.name == "DONE"
    id_ = await sale.confirmed(("ghost", 2))
    await settle_all(sale.settler())
    assert await sale.state(id_) is State.REJECTED
    recorded = await sale.ledger.deduction(id_)
    assert recorded is not None
    assert recorded.reason == "unknown-sku"
    assert counts(await sale.terms("ghost")) == (5, 5, 0, 0, 0, 0)


async def test_one_that_breaks_the_ledgers_rules_leaves_the_others_alone(
    any_sale: Sale, caplog: pytest.LogCaptureFixture
) -> None:
    await any_sale.put("phone", 50)
    ids = [await any_sale.confirmed(("phone", 1), buyer=f"b{n}") for n in range(4)]
    breaches = metrics.INVARIANT_BREACHES._value.get()
    ledger = Watched(any_sale.ledger, refuse=lambda d: d.buyer == "b2")
    clock = StillClock()
    settler = any_sale.settler(ledger=ledger, config=QUICK_CLAIM, clock=clock)
    await settler.step()
    assert [await any_sale.state(id_) for id_ in ids] == [
        State.SETTLED,
        State.SETTLED,
        State.CONFIRMED,
        State.SETTLED,
    ]
    assert metrics.INVARIANT_BREACHES._value.get() == breaches + 1
    assert f"ledger refuses reservation {ids[2]}" in caplog.text
    assert await any_sale.pending() == await any_sale.outbox_length() == 1

    ledger._refuse = lambda _: False  # it was a passing cause
    await settler.step()
    assert await any_sale.pending() == 1, "its second try is not due yet"
    clock.advance(1.0)
    await settler.step()
    await assert_settled(any_sale, ids)
