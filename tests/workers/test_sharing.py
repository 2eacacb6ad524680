"""Several settlers on one outbox: whatever is delivered twice is deducted once."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway.core import metrics
from gateway.core.config import SettlerConfig
from gateway.core.model import State
from gateway.sale.outcomes import Granted
from gateway.store import keys
from gateway.store.outbox import START
from gateway.workers import outbox_watch
from gateway.workers import settler as settler_module
from gateway.workers.outbox_watch import OutboxWatch
from tests.sale import faults
from tests.sale.clocks import StillClock
from tests.sale.fixtures import PATIENT
from tests.sale.steps import Sale, config_for, counts, open_sale, outbox_of, settle_all, until
from tests.workers.letters import POISON, Refusing
from tests.workers.settling_child import Forgetful

DELIVERIES, ENTRIES, SETTLERS = 5, 60, 4


@pytest.fixture(autouse=True)
def _short_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settler_module, "BLOCK_S", 0.02)


@pytest.fixture
async def server_sale(store_url: str, tmp_path: Path) -> AsyncIterator[Sale]:
    """A sale on each kind of store: in memory, Redis, Valkey."""
    async with open_sale(config_for(store_url, tmp_path, **PATIENT)) as opened:
        yield opened


async def deliver_five_times(sale: Sale, seed: int) -> list[str]:
    """Confirmed reservations, each five times in the outbox, in any order."""
    await sale.put("phone", 1000, 10)
    ids = [await sale.confirmed(("phone", 2), buyer=f"b{n}") for n in range(ENTRIES)]
    rows = await sale.raw("XRANGE", keys.outbox(0), "-", "+")
    texts = [v[b"r"] if isinstance(v, dict) else v[1] for _, v in rows]
    again = texts * (DELIVERIES - 1)
    Random(seed).shuffle(again)
    for text in again:
        await sale.raw("XADD", keys.outbox(0), "*", "r", text)
    assert await sale.outbox_length() == DELIVERIES * ENTRIES
    return ids


async def settle_with_several(sale: Sale, ledgers: Sequence[Any] = (None,) * SETTLERS) -> None:
    for n, ledger in enumerate(ledgers):
        config = SettlerConfig(batch_max=7 + n)
        sale.run(sale.settler(consumer=f"s{n}", config=config, ledger=ledger).loop)
    await until(lambda: _is_empty(sale))
    await sale.stop_loops()


async def _is_empty(sale: Sale) -> bool:
    return await sale.outbox_length() == 0


@pytest.mark.parametrize("seed", range(3))
async def test_each_entry_delivered_five_times_is_deducted_once(
    server_sale: Sale, seed: int
) -> None:
    ids = await deliver_five_times(server_sale, seed)
    await settle_with_several(server_sale)
    [row] = await server_sale.ledger.stock(["phone"])
    assert row.sold == 2 * ENTRIES
    assert [await server_sale.state(id_) for id_ in ids] == [State.SETTLED] * ENTRIES
    assert counts(await server_sale.terms("phone")) == (880, 870, 0, 0, 10, 2 * ENTRIES)
    assert await server_sale.pending() == 0
    await server_sale.assert_sound()


async def test_a_ledger_without_memory_deducts_each_delivery(real_sale: Sale) -> None:
    """Negative control: the same deliveries, the protection taken away."""
    await deliver_five_times(real_sale, 1)
    await settle_with_several(real_sale, [Forgetful(real_sale.ledger) for _ in range(SETTLERS)])
    [row] = await real_sale.ledger.stock(["phone"])
    assert row.sold > 2 * ENTRIES


async def test_an_outage_in_a_running_sale_loses_nothing(real_sale: Sale) -> None:
    """Confirms answer 202 meanwhile, the outbox grows, and settling recovers by itself."""
    await real_sale.put("phone", 1000)
    clock = StillClock()
    ledger = faults.ledger_down(real_sale.ledger, "deduct", times=10_000)
    settlers = [real_sale.settler(consumer=f"s{n}", ledger=ledger, clock=clock) for n in (1, 2)]
    for settler in settlers:
        real_sale.run(settler.loop)
    ids = []
    for n in range(100):
        ids.append(await real_sale.held(("phone", 1), buyer=f"b{n}"))
        answer = await real_sale.reservations.confirm(ids[-1], f"pay-{n}", 0.01)
        assert isinstance(answer, Granted)
        assert answer.reservation.state is State.CONFIRMED
        clock.advance(0.5)
    assert await real_sale.outbox_length() == 100
    assert not any(settler.loop.healthy for settler in settlers)
    ledger._plan["deduct"] = 0  # it is back

    async def drained() -> bool:
        clock.advance(1.0)
        return await _is_empty(real_sale)

    await until(drained)
    await real_sale.stop_loops()
    assert [await real_sale.state(id_) for id_ in ids] == [State.SETTLED] * 100
    assert (await real_sale.terms("phone")).sold == 100
    assert await real_sale.core.letters.page() == []
    await real_sale.assert_sound()


async def left_behind(sale: Sale, consumer: str, number: int) -> Sequence[str]:
    """Reservations in the hands of a settler that is gone."""
    ids = [await sale.confirmed(("phone", 1)) for _ in range(number)]
    outbox = outbox_of(sale.core.store, consumer)
    await outbox.create()
    await outbox.read_new(number, 0.0)
    return ids


async def test_a_head_of_entries_in_hand_does_not_hide_the_rest(server_sale: Sale) -> None:
    """A walk that began at the start each time would look at the same head again and again."""
    await server_sale.put("phone", 100)
    ids = await left_behind(server_sale, "gone", 40)
    outbox = outbox_of(server_sale.core.store, "heir")
    taken, after = [], START
    for _ in range(100):
        delivery = await outbox.claim_idle(2, 0.0, after)
        taken += [entry.reservation.id for entry in delivery.entries]
        after = delivery.last
        if after == START:
            break
    assert taken == list(ids)


async def test_a_settler_walks_over_all_that_was_left(real_sale: Sale) -> None:
    await real_sale.put("phone", 100)
    ids = await left_behind(real_sale, "gone", 40)
    clock = StillClock()
    config = SettlerConfig(batch_max=3, idle_claim_s=0.5)
    settler = real_sale.settler(consumer="heir", clock=clock, config=config)
    await until(lambda: _all_idle(real_sale, 500))
    clock.advance(0.5)
    for _ in range(20):  # without the clock moving on: one walk
        await settler.step()
    assert [await real_sale.state(id_) for id_ in ids] == [State.SETTLED] * 40


async def _all_idle(sale: Sale, idle_ms: int) -> bool:
    asked = ("XPENDING", keys.outbox(0), keys.GROUP, "-", "+", 1000)
    rows = await sale.raw(*asked, parse_detail=True)
    return min(row["time_since_delivered"] for row in rows) >= idle_ms


async def consumers(sale: Sale) -> set[str]:
    rows = await sale.raw("XINFO", "CONSUMERS", keys.outbox(0), keys.GROUP)
    return {(row["name"] if isinstance(row, dict) else row[1]).decode() for row in rows}


async def test_consumers_that_are_gone_are_removed_unless_they_hold_entries(
    server_sale: Sale,
) -> None:
    await server_sale.put("phone", 100)
    ids = await left_behind(server_sale, "holds", 3)
    for name in ("gone-1", "gone-2", "gone-3"):
        await server_sale.raw("XGROUP", "CREATECONSUMER", keys.outbox(0), keys.GROUP, name)
    commands = server_sale.commands()
    assert await commands.tidy_outbox(3_600_000, 10) == (0, 0), "not silent for long enough"
    assert await commands.tidy_outbox(0, 2) == (2, 0), "bounded"
    assert await commands.tidy_outbox(0, 10) == (1, 0)
    assert await consumers(server_sale) == {"holds"}
    assert await server_sale.pending() == 3, "nothing in hand is lost"
    await settle_all(server_sale.settler(consumer="holds"))
    assert [await server_sale.state(id_) for id_ in ids] == [State.SETTLED] * 3


async def test_notes_about_entries_that_are_gone_are_removed(server_sale: Sale) -> None:
    await server_sale.put("phone", 100)
    await server_sale.confirmed(("phone", 1), buyer=POISON)
    await server_sale.settler(ledger=Refusing(server_sale.ledger)).step()
    await server_sale.raw("HSET", keys.faults(0), "1-1", "1|1|1|1|ledger-refused")
    assert await server_sale.commands().tidy_outbox(3_600_000, 10) == (0, 1)
    assert await server_sale.raw("HLEN", keys.faults(0)) == 1, "the note that counts is kept"


async def test_the_watch_tells_how_much_waits_and_tidies(
    real_sale: Sale, monkeypatch: pytest.MonkeyPatch
) -> None:
    await real_sale.put("phone", 100)
    await outbox_of(real_sale.core.store, "gone").create()
    await real_sale.raw("XGROUP", "CREATECONSUMER", keys.outbox(0), keys.GROUP, "gone")
    monkeypatch.setattr(outbox_watch, "SILENCE_MS", 0)
    clock = StillClock()
    outbox = outbox_of(real_sale.core.store, "watch")
    watch = OutboxWatch(outbox, real_sale.commands(), clock)
    length = metrics.OUTBOX_LENGTH.labels("0")._value
    lag_s = metrics.SETTLE_LAG_SECONDS.labels("0")._value
    await watch.step()
    assert (length.get(), lag_s.get()) == (0, 0)
    for _ in range(3):
        await real_sale.confirmed(("phone", 1))
    await asyncio.sleep(0.02)
    await watch.step()
    assert length.get() == 3
    assert 0.02 <= lag_s.get() < 60
    assert await consumers(real_sale) == {"gone"}
    clock.advance(outbox_watch.TIDY_S)
    await watch.step()
    assert await consumers(real_sale) == set()


async def test_two_settlers_that_try_the_same_entry_count_one_try(server_sale: Sale) -> None:
    await server_sale.put("phone", 100)
    await server_sale.confirmed(("phone", 1), buyer=POISON)
    ledger = Refusing(server_sale.ledger)
    one = server_sale.settler(ledger=ledger, consumer="one")
    await one.step()
    [suspect] = list(one._suspects._waiting.values())
    rivals = [server_sale.settler(ledger=ledger, consumer=name) for name in ("two", "three")]
    for rival in rivals:
        await rival._try_again(suspect)
    [note] = await server_sale.raw("HVALS", keys.faults(0))
    assert note.startswith(b"2|"), "both came after the first try, and tried the second"
