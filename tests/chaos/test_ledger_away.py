"""PostgreSQL away in the middle of a sale: confirms answer 202, and holds do not notice."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.book import Book, Told
from tests.chaos.conftest import MakeLedger
from tests.chaos.crowd import BUYERS, PLENTY, SCARCE, SHORT_S, Crowd
from tests.chaos.deployment import Deployment, all_terms, ask_again, sell_out
from tests.chaos.judge import judge
from tests.chaos.shop import Shop
from tests.chaos.test_kills import SEED, SOAK, progress
from tests.support.postgres import PostgresServer
from tests.support.servers import RedisServer

pytestmark = pytest.mark.timeout(180)

AWAY_CI_S, AWAY_SOAK_S = 3.0, 20.0
STOPS = ("stopped", "silent")
RUNS = [
    *[(how, AWAY_CI_S) for how in STOPS],
    *[pytest.param(how, AWAY_SOAK_S, marks=SOAK) for how in STOPS],
]
HOLDERS, HOLDERS_PAUSE_S = 4, 0.01
SAME_RATE = 0.6
"""Of the rate before: the machine is busy with other things, too."""

IMPATIENT: dict[str, Any] = {"confirm.wait_s": 0.2}
ASK_THE_LEDGER = ("restock",)
"""Steps that cannot do without it."""


class Holders:
    """Buyers who only hold, one unit after another; how often is what counts here."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._over = asyncio.Event()
        self._held = 0

    @asynccontextmanager
    async def holding(self) -> AsyncIterator[None]:
        """They hold while the block runs."""
        async with asyncio.TaskGroup() as group:
            for _ in range(HOLDERS):
                group.create_task(self._hold())
            yield
            self._over.set()

    async def rate(self, seconds: float) -> float:
        """Holds a second, counted for so long."""
        before, begun = self._held, time.monotonic()
        await asyncio.sleep(seconds)
        return (self._held - before) / (time.monotonic() - begun)

    async def _hold(self) -> None:
        while not self._over.is_set():
            purchase = self._shop.new_purchase({PLENTY: 1}, SHORT_S)
            await self._shop.reserve(purchase)
            self._held += Told.HELD in purchase.told
            await asyncio.sleep(HOLDERS_PAUSE_S)


@asynccontextmanager
async def away(server: PostgresServer, how: str) -> AsyncIterator[None]:
    """PostgreSQL is stopped at once, or answers nothing, while the block runs."""
    silent = how == "silent"
    await asyncio.to_thread(server.pause if silent else server.shut_down)
    try:
        yield
    finally:
        await asyncio.to_thread(server.resume if silent else server.restart)


def told(book: Book) -> tuple[int, int, int]:
    """Purchases that were told settled and confirmed; calls of buyers not answered at once."""
    repeated = sum(
        count
        for (step, code), count in book.answers.items()
        if step not in ASK_THE_LEDGER
        and code in ("no-answer", "outcome-unknown", "store-unavailable", "ledger-unavailable")
    )
    return book.count(Told.SETTLED), book.count(Told.CONFIRMED), repeated


@pytest.mark.parametrize(("how", "away_s"), RUNS)
async def test_confirms_are_kept_and_holds_go_on(
    start_server: Callable[..., RedisServer],
    durable_postgres: PostgresServer,
    make_ledger: MakeLedger,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    how: str,
    away_s: float,
) -> None:
    ledger = make_ledger("postgresql")
    with Deployment(tmp_path, start_server("valkey"), ledger, settler=False, **IMPATIENT) as site:
        shop = Shop(site.url, book := Book())
        holders = Holders(shop)
        await shop.put(PLENTY, 1_000_000, 50)
        await shop.put(SCARCE, 40, 5)
        async with Crowd(shop, SEED).buying(), holders.holding():
            await progress(book, 100)
            rate = await holders.rate(away_s)
            async with away(durable_postgres, how):
                before = told(book)
                rate_away = await holders.rate(away_s)
                settled, kept, repeated = (b - a for a, b in zip(before, told(book), strict=True))
                assert repeated == 0, book.answers
                backlog = await asyncio.to_thread(site.outbox_length)
        await sell_out(site, shop)
        await ask_again(shop)
        evidence = await asyncio.to_thread(site.evidence, await all_terms(shop))
        shop.close()
        assert judge(book, evidence) == []
        assert "nothing oversold" in await asyncio.to_thread(site.verified)
    assert settled <= BUYERS, "no more than were on their way when it went"
    assert backlog >= kept > 0
    assert rate_away > SAME_RATE * rate
    record_property("confirms kept meanwhile", kept)
    record_property("holds a second before, meanwhile", f"{rate:.0f}, {rate_away:.0f}")
