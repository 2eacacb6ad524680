"""PostgreSQL away in the middle of a sale: confirms answer 202, and holds do not notice."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.chaos.book import Book, Told
from tests.chaos.conftest import MakeLedger
from tests.chaos.crowd import BUYERS, PLENTY, SCARCE, SHORT_S, Crowd
from tests.chaos.deployment import Deployment, all_terms, ask_again, sell_out
from tests.chaos.judge import judge
from tests.chaos.shop import Shop
from tests.chaos.test_kills import SEED, SOAK, progress, until
from tests.support.postgres import PostgresServer
from tests.support.servers import RedisServer

pytestmark = [
    pytest.mark.timeout(180),
    # A buyer whose server was killed while it connected leaves its socket to the collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

AWAY_CI_S, AWAY_SOAK_S = 3.0, 20.0
STOPS = ("stopped", "silent")
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


async def settles_again(book: Book) -> None:
    """Wait until more was settled than may have been on its way before."""
    wanted = book.count(Told.SETTLED) + BUYERS + 1
    await until(lambda: book.count(Told.SETTLED) >= wanted)


class Outage(NamedTuple):
    """Holds a second before and during it; what happened meanwhile, and what waited at its end."""

    rate: float
    rate_away: float
    settled: int
    kept: int
    repeated: int
    backlog: int


async def outage(
    site: Deployment, server: PostgresServer, book: Book, holders: Holders, how: str, away_s: float
) -> Outage:
    """Take the ledger away for so long, after half as long with it."""
    rate = await holders.rate(away_s / 2)
    async with away(server, how):
        before = told(book)
        rate_away = await holders.rate(away_s)
        settled, kept, repeated = (b - a for a, b in zip(before, told(book), strict=True))
        backlog = await asyncio.to_thread(site.outbox_length)
    return Outage(rate, rate_away, settled, kept, repeated, backlog)


@pytest.mark.parametrize("away_s", [AWAY_CI_S, pytest.param(AWAY_SOAK_S, marks=SOAK)])
async def test_confirms_are_kept_and_holds_go_on(
    start_server: Callable[..., RedisServer],
    durable_postgres: PostgresServer,
    make_ledger: MakeLedger,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    away_s: float,
) -> None:
    """PostgreSQL is stopped, then silent, in one sale; what waited is settled in between."""
    redis, ledger = start_server("valkey"), make_ledger("postgresql")
    with Deployment(tmp_path, redis, ledger, settler=False, **IMPATIENT) as site:
        shop = Shop(site.url, book := Book())
        holders = Holders(shop)
        await shop.put(PLENTY, 1_000_000, 50)
        await shop.put(SCARCE, 40, 5)
        outages = {}
        async with Crowd(shop, SEED).buying(), holders.holding():
            for how in STOPS:
                await progress(book, 50)
                outages[how] = await outage(site, durable_postgres, book, holders, how, away_s)
                await settles_again(book)
        await sell_out(site, shop)
        await ask_again(shop)
        evidence = await asyncio.to_thread(site.evidence, await all_terms(shop))
        shop.close()
        assert judge(book, evidence) == []
        assert "nothing oversold" in await asyncio.to_thread(site.verified)
    for how, seen in outages.items():
        record_property(f"{how}: confirms kept", seen.kept)
        record_property(
            f"{how}: holds a second before, meanwhile", f"{seen.rate:.0f}, {seen.rate_away:.0f}"
        )
        assert seen.repeated == 0, "a buyer was told to come again"
        assert seen.settled <= BUYERS, "no more than were on their way when it went"
        assert seen.backlog >= seen.kept > 0
        assert seen.rate_away > SAME_RATE * seen.rate
