"""kill -9 of gateway, settler and Redis, again and again, while a sale goes on."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.book import Book, Told
from tests.chaos.conftest import MakeLedger
from tests.chaos.crowd import PLENTY, SCARCE, Crowd
from tests.chaos.deployment import (
    VICTIMS,
    Deployment,
    Victim,
    all_terms,
    ask_again,
    sell_out,
)
from tests.chaos.judge import judge
from tests.chaos.shop import Shop
from tests.support.servers import Kind, RedisServer

KILLS_CI, KILLS_SOAK = 4, 30
PURCHASES_BETWEEN = (0, 25)
PROGRESS_S = 30.0
SEED = 20_261

pytestmark = [
    pytest.mark.timeout(180),
    # A buyer whose server was killed while it connected leaves its socket to the collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SOAK = [pytest.mark.soak, pytest.mark.timeout(1800)]
RUNS = [
    pytest.param("redis", "sqlite", KILLS_CI),
    pytest.param("valkey", "postgresql", KILLS_CI),
    *[
        pytest.param(store, ledger, KILLS_SOAK, marks=SOAK)
        for store in ("redis", "valkey")
        for ledger in ("sqlite", "postgresql")
    ],
]


def victims(dice: random.Random, kills: int) -> list[Victim]:
    """Each about as often as the others, in random order."""
    drawn = [VICTIMS[n % len(VICTIMS)] for n in range(kills)]
    dice.shuffle(drawn)
    return drawn


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that the crowd brings about."""
    async with asyncio.timeout(PROGRESS_S):
        while not condition():
            await asyncio.sleep(0.01)


async def progress(book: Book, purchases: int) -> None:
    """Wait until so many more payments were acknowledged: the sale goes on."""
    wanted = book.paid + purchases
    await until(lambda: book.paid >= wanted)


async def killed_sale(site: Deployment, shop: Shop, order: list[Victim], seed: int) -> None:
    """A sale during which they are killed in this order, sold out to the last unit at its end."""
    dice = random.Random(seed)
    await shop.put(PLENTY, 100_000, 50)
    await shop.put(SCARCE, 40, 5)
    async with Crowd(shop, seed).buying():
        for victim in order:
            await progress(shop.book, dice.randint(*PURCHASES_BETWEEN))
            await asyncio.to_thread(site.kill, victim)
        await progress(shop.book, PURCHASES_BETWEEN[1])
    await sell_out(site, shop)
    await ask_again(shop)


@pytest.mark.parametrize(("store", "ledger", "kills"), RUNS)
async def test_nothing_is_lost_or_doubled(
    start_server: Callable[..., RedisServer],
    make_ledger: MakeLedger,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    store: Kind,
    ledger: str,
    kills: int,
) -> None:
    order = victims(random.Random(SEED), kills)
    with Deployment(tmp_path, start_server(store), make_ledger(ledger)) as site:
        shop = Shop(site.url, book := Book())
        await killed_sale(site, shop, order, SEED)
        evidence = await asyncio.to_thread(site.evidence, await all_terms(shop))
        shop.close()
        assert judge(book, evidence) == []
        assert "nothing oversold" in await asyncio.to_thread(site.verified)
        assert "Traceback" not in site.output()
    for victim in VICTIMS:
        record_property(f"{victim} killed", order.count(victim))
    record_property("requests", book.requests)
    record_property("purchases", len(book.purchases))
    record_property("acknowledged holds", book.count(Told.HELD))
    record_property("acknowledged confirms", book.paid)
    record_property("sold out", book.count(Told.REFUSED))
    record_property("too late", book.count(Told.TOO_LATE))
    record_property("unknown outcomes resolved", book.resolved)
    record_property("of these, holds that were made", book.had_happened)
    assert book.resolved > 0, "no kill met a call"
    assert book.count(Told.REFUSED) > len(book.received), "nothing was scarce"
    assert book.count(Told.RELEASED)
    assert book.count(Told.SETTLED)
