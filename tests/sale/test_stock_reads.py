"""Stock reads cost no call to Redis but the first."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import pytest
from msgspec.structs import replace

from gateway.core.errors import StoreUnavailable
from gateway.core.model import SkuSettings
from gateway.sale import stock_reads
from gateway.sale.catalogue import Catalogue, Place
from gateway.sale.snapshot import STALE_S, Shown, Snapshot
from gateway.sale.stock_reads import UNKNOWN_MEMORY_S, StockReads
from gateway.workers.watchers import SnapshotPoller
from tests.sale.clocks import StillClock
from tests.sale.faults import Counting, unreachable
from tests.sale.steps import Sale


class Window:
    """The reads of one gateway, on a clock of their own, with their calls counted."""

    def __init__(self, sale: Sale, kind: type[Snapshot] = Snapshot) -> None:
        self.clock = StillClock()
        self.snapshot = kind(self.clock)
        self.commands = Counting(sale.commands(on_pulse=self.snapshot.on_pulse))
        place = Place(self.commands, sale.core.store.listing(0))  # type: ignore[arg-type]
        self.catalogue = Catalogue([place], sale.ledger, self.snapshot, sale.core.clock)
        self.reads = StockReads(self.snapshot, self.catalogue, self.clock)
        self.poller = SnapshotPoller(
            self.snapshot,
            self.commands,  # type: ignore[arg-type]
            sale.core.config.snapshot,
            self.clock,
        )

    @property
    def calls(self) -> int:
        return len(self.commands.calls)

    async def available(self, sku: str) -> int | None:
        shown = await self.reads.get(sku)
        return None if shown is None else shown.available


@pytest.fixture
async def window(sale: Sale) -> AsyncIterator[Window]:
    opened = Window(sale)
    opened.reads.start()
    yield opened
    await opened.reads.stop()


async def test_a_thousand_reads_of_a_known_sku_cost_no_call(sale: Sale, window: Window) -> None:
    await sale.put("phone", 10)
    assert await window.available("phone") == 10
    assert window.calls == 1
    for _ in range(1000):
        assert await window.available("phone") == 10
    assert window.calls == 1


async def test_first_reads_made_at_once_are_fetched_together(sale: Sale, window: Window) -> None:
    names = [f"sku-{n}" for n in range(50)]
    for n, name in enumerate(names):
        await sale.put(name, n)
    found = await asyncio.gather(*[window.available(name) for name in names * 3])
    assert found == [*range(50)] * 3
    assert window.calls == 1


async def test_what_nobody_told_of_for_a_while_is_fetched_again(sale: Sale, window: Window) -> None:
    await sale.put("phone", 10)
    assert await window.available("phone") == 10
    await sale.hold(("phone", 4))  # at another gateway
    window.clock.advance(STALE_S)
    assert await window.available("phone") == 10, "not older than it may be"
    window.clock.advance(0.01)
    assert await asyncio.gather(*[window.available("phone") for _ in range(20)]) == [6] * 20
    assert window.calls == 2
    for _ in range(100):
        assert await window.available("phone") == 6
    assert window.calls == 2


class NeverStale(Snapshot):
    """Takes whatever it has for news."""

    def is_stale(self, shown: Shown) -> bool:
        return False


async def test_shown_as_it_was_a_stale_read_would_be_wrong_for_good(sale: Sale) -> None:
    """Negative control: without the second look, the sales of others are never seen."""
    window = Window(sale, NeverStale)
    window.reads.start()
    await sale.put("phone", 10)
    assert await window.available("phone") == 10
    await sale.hold(("phone", 4))
    window.clock.advance(3600)
    assert await window.available("phone") == 10
    assert window.calls == 1
    await window.reads.stop()


async def test_what_is_polled_does_not_grow_stale(sale: Sale, window: Window) -> None:
    await sale.put("phone", 10)
    await window.available("phone")
    for _ in range(5):
        window.clock.advance(STALE_S * 0.9)
        await window.poller.step()
        calls = window.calls
        assert await window.available("phone") == 10
        assert window.calls == calls


async def test_a_stale_sku_that_is_gone_is_unknown(sale: Sale, window: Window) -> None:
    await sale.put("phone", 10)
    assert await window.available("phone") == 10
    await sale.raw("FLUSHALL")
    window.clock.advance(STALE_S + 1)
    assert await window.available("phone") is None
    assert window.snapshot.get("phone") is None


async def test_while_redis_is_gone_the_last_is_shown_with_its_age(
    sale: Sale, window: Window
) -> None:
    await sale.put("phone", 10)
    first = await window.reads.get("phone")
    assert first is not None
    as_of_ms = first.as_of_ms
    window.clock.advance(STALE_S + 1)
    window.catalogue._places = (
        Place(unreachable(window.commands, "snapshot"), sale.core.store.listing(0)),
    )
    shown = await window.reads.get("phone")
    assert shown is not None
    assert (shown.available, shown.as_of_ms) == (10, as_of_ms)
    await sale.hold(("phone", 4))
    assert await window.available("phone") == 6, "the next read looks again"


async def test_an_unknown_sku_is_asked_for_once_a_second(sale: Sale, window: Window) -> None:
    for _ in range(100):
        assert await window.available("nope") is None
    assert window.calls == 1
    window.clock.advance(UNKNOWN_MEMORY_S)
    assert await window.available("nope") is None
    assert window.calls == 2
    await sale.put("nope", 3)
    window.clock.advance(UNKNOWN_MEMORY_S)
    assert await window.available("nope") == 3


async def test_a_sku_put_here_is_known_at_once(sale: Sale, window: Window) -> None:
    assert await window.available("phone") is None
    await window.catalogue.adjust("phone", 1, "none", "t", None)
    await window.catalogue.put("phone", 4, 1, SkuSettings(), "t")
    assert await window.available("phone") == 3


async def test_unknown_skus_are_remembered_in_bounds(
    window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock_reads, "UNKNOWN_MAX", 5)
    for n in range(100):
        assert await window.available(f"nope-{n}") is None
        assert len(window.reads._unknown) <= 5
    assert window.snapshot.lately_asked(100) == [], "and take no room in the snapshot"


async def test_a_fetch_that_fails_is_told_and_tried_again(sale: Sale) -> None:
    await sale.put("phone", 10)
    snapshot = Snapshot(sale.core.clock)
    place = Place(unreachable(sale.commands(), "snapshot"), sale.core.store.listing(0))
    reads = StockReads(
        snapshot, Catalogue([place], sale.ledger, snapshot, sale.core.clock), sale.core.clock
    )
    reads.start()
    with pytest.raises(StoreUnavailable):
        await reads.get("phone")
    shown = await reads.get("phone")
    assert shown is not None
    await reads.stop()


async def test_reads_see_this_gateways_own_sales_without_a_call(sale: Sale) -> None:
    await sale.put("phone", 10)
    assert sale.core.snapshot.get("phone") is not None
    reads = StockReads(sale.core.snapshot, sale.core.catalogue, sale.core.clock)
    for left in (9, 8, 7):
        await sale.hold(("phone", 1))
        shown = await reads.get("phone")
        assert shown is not None
        assert (shown.available, shown.held) == (left, 10 - left)


async def test_a_poll_brings_the_sales_of_other_gateways(sale: Sale, window: Window) -> None:
    await sale.put("phone", 10)
    assert await window.available("phone") == 10
    await sale.hold(("phone", 4))
    assert await window.available("phone") == 10
    pause_s = await window.poller.step()
    assert pause_s == sale.core.config.snapshot.poll_ms / 1000
    assert await window.available("phone") == 6


async def test_a_poll_asks_for_nothing_when_nobody_asked(sale: Sale, window: Window) -> None:
    await sale.put("phone", 10)
    await window.poller.step()
    assert window.calls == 0


async def test_a_poll_forgets_what_is_gone(sale: Sale, window: Window) -> None:
    await sale.put("phone", 10)
    await window.available("phone")
    await sale.raw("FLUSHALL")
    await window.poller.step()
    assert await window.available("phone") is None


async def test_a_poll_goes_round_when_there_are_too_many(sale: Sale, window: Window) -> None:
    names = [f"sku-{n}" for n in range(7)]
    for name in names:
        await sale.put(name, 5)
        await window.available(name)
        await sale.hold((name, 1))
    config = replace(sale.core.config.snapshot, poll_skus_max=3)
    later_ms = count(await sale.redis_now_ms())  # each call a little later than the one before
    commands = Counting(sale.commands(clock_ms=lambda: next(later_ms)))
    poller = SnapshotPoller(window.snapshot, commands, config, window.clock)  # type: ignore[arg-type]
    for _ in range(3):
        await poller.step()
    assert [await window.available(name) for name in names] == [4] * 7
    assert len(commands.calls) == 3
