"""While a crowd buys: no false alarm, and every planted drift is found and repaired in time."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.core.config import AuditConfig, SettlerConfig
from gateway.core.errors import InvariantBreach
from gateway.core.events import Event, EventKind
from gateway.core.model import SkuTerms
from gateway.sale import comparing
from gateway.sale.comparing import Comparer
from gateway.sale.evidence import Book
from gateway.sale.outcomes import Granted
from gateway.workers.auditor import AuditWorker
from gateway.workers.reaper import Reaper
from tests.sale.audits import DRIFTS, QUICK, SKU, auditor_of, runs
from tests.sale.steps import Sale, until

BUYERS = ("ann", *(f"buyer-{n}" for n in range(7)))
PAUSE_S = 0.03
"""Of a buyer: some 200 steps a second in all, so that the shard may be recounted to the end."""

DETECTED_S, REPAIRED_S = 5.0, 30.0

_numbers = itertools.count()


class Crowd:
    """Buyers who hold, pay, confirm, release and forget, as fast as they are answered."""

    def __init__(self, sale: Sale) -> None:
        self.sale = sale
        self.steps = 0
        self.going = True

    async def buy(self, name: str) -> None:
        while self.going:
            try:
                await self._once(name)
            except InvariantBreach:
                await asyncio.sleep(0.005)  # a SKU that does not add up sells nothing
            self.steps += 1
            await asyncio.sleep(PAUSE_S)

    async def _once(self, name: str) -> None:
        lines = ((SKU, 1), ("case", 2))[: 1 + self.steps % 2]
        ttl_ms = 60 if self.steps % 5 == 0 else 0
        answer = await self.sale.hold(*lines, buyer=name, ttl_ms=ttl_ms)
        if not isinstance(answer, Granted) or ttl_ms:
            await asyncio.sleep(0.002)
            return
        id_ = answer.reservation.id
        if self.steps % 3 == 0:
            await self.sale.reservations.release(id_)
        else:
            await self.sale.reservations.confirm(id_, f"pay-{next(_numbers)}", 0.0)


@asynccontextmanager
async def a_crowd(sale: Sale) -> AsyncIterator[Crowd]:
    """A sale in full swing, its settler and reaper at work."""
    await sale.put(SKU, 1_000_000, 50, buyer_limit=500_000)
    await sale.put("case", 1_000_000)
    sale.run(sale.settler(config=SettlerConfig()).loop)
    config = sale.core.config
    sale.run(Reaper(sale.commands(), config.reaper, config.retention, sale.core.clock).loop)
    crowd = Crowd(sale)
    buyers = [asyncio.create_task(crowd.buy(name)) for name in BUYERS]
    try:
        await until(lambda: _has_made(crowd, 50))
        yield crowd
    finally:
        crowd.going = False
        await asyncio.gather(*buyers)


async def _has_made(crowd: Crowd, steps: int) -> bool:
    return crowd.steps >= steps


async def test_no_false_alarm_while_a_crowd_buys(real_sale: Sale) -> None:
    told: list[Event] = []
    auditor = auditor_of(real_sale, told)
    async with a_crowd(real_sale) as crowd:
        began = crowd.steps
        for _ in range(15):
            assert await auditor.watch() == []
            assert not any(s._first_s for s in auditor._sightings), "not even seen once"
        assert crowd.steps > began + 15, "nothing was being sold"
    assert told == []
    assert await runs(real_sale) == []


async def test_without_reservations_at_one_instant_there_are_false_sights(
    real_sale: Sale, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control of the method: what three reads say is believed as it is."""

    async def nothing(_self: Any, _corner: Any, _sku: str) -> None:
        return None

    async def as_read(_self: Any, _terms: SkuTerms, _ids: Any, row: Any) -> Book | None:
        return Book(row, {})

    monkeypatch.setattr(Comparer, "examine", nothing)
    monkeypatch.setattr(Comparer, "_book", as_read)
    monkeypatch.setattr(comparing, "is_quiet", lambda _before, _after: True)
    auditor = auditor_of(real_sale, repair=False)
    sights = 0
    async with a_crowd(real_sale):
        for _ in range(20):
            await auditor.watch()
            sights += sum(len(s._first_s) for s in auditor._sightings)
    assert sights > 0


async def test_a_shard_too_large_to_be_recounted_raises_no_false_alarm(real_sale: Sale) -> None:
    auditor = auditor_of(real_sale, recount_max=0)
    async with a_crowd(real_sale):
        for _ in range(8):
            assert await auditor.watch() == []
            assert not any(s._first_s for s in auditor._sightings)
        await DRIFTS["held+3"](real_sale)  # it comes to rest, and is compared after all
        await _until_repaired(auditor, real_sale)
    await real_sale.stop_loops()
    await real_sale.assert_sound()


async def _until_repaired(auditor: Any, sale: Sale) -> None:
    async with asyncio.timeout(REPAIRED_S):
        while not any(f.state == "repaired" for run in await runs(sale) for f in run.findings):
            await auditor.watch()
            await asyncio.sleep(0.1)


async def test_every_drift_is_found_and_repaired_in_time_while_a_crowd_buys(
    real_sale: Sale,
) -> None:
    told: list[Event] = []
    heard = asyncio.Event()

    def tell(event: Event) -> None:
        told.append(event)
        heard.set()

    auditor = auditor_of(real_sale)
    auditor._tell = tell
    config = AuditConfig(compare_s=QUICK.compare_s)
    worker = AuditWorker(auditor, config, real_sale.core.clock, never)
    async with a_crowd(real_sale):
        real_sale.run(worker.loop)
        for name, plant in DRIFTS.items():
            told.clear()
            await plant(real_sale)
            for kind, limit_s in (
                (EventKind.DRIFT_FOUND, DETECTED_S),
                (EventKind.DRIFT_REPAIRED, REPAIRED_S),
            ):
                await _told_within(told, heard, kind, limit_s, name)
    await real_sale.stop_loops()
    await real_sale.assert_sound()
    findings = [f for run in await runs(real_sale) for f in run.findings]
    assert sum(f.state == "repaired" for f in findings) >= len(DRIFTS)


async def never() -> bool:
    return False


async def _told_within(
    told: list[Event], heard: asyncio.Event, kind: EventKind, limit_s: float, name: str
) -> None:
    try:
        async with asyncio.timeout(limit_s):
            while not any(event.kind is kind for event in told):
                heard.clear()
                await heard.wait()
    except TimeoutError:
        pytest.fail(f"{name}: no {kind.value} within {limit_s} s; told {told}")
