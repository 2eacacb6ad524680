"""Negative controls: a deployment that breaks a promise is found out by the same book and judge."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.book import Book, Purchase, Told
from tests.chaos.conftest import MakeLedger
from tests.chaos.deployment import Deployment, all_terms, come_to_rest, sell_out
from tests.chaos.judge import Fault, Finding, judge
from tests.chaos.shop import Shop
from tests.http.gateways import Gateway
from tests.support.servers import RedisServer

PHONE = "phone"
EXIT_S = 20.0


class FaultyGateway(Gateway):
    """One whose settler has a fault, from the next start on."""

    def have(self, fault: str) -> None:
        """As faulty_gateway.py names it; "" is none."""
        self.program = ("tests.chaos.faulty_gateway", fault) if fault else ("gateway",)


MakeSite = Callable[..., Deployment]


@pytest.fixture
def make_site(
    start_server: Callable[..., RedisServer], make_ledger: MakeLedger, tmp_path: Path
) -> Iterator[MakeSite]:
    """A deployment of one gateway, with this fault, on a Redis with these settings."""
    sites: list[Deployment] = []

    def make(fault: str = "", **of_redis: Any) -> Deployment:
        redis, ledger = start_server(**of_redis), make_ledger("sqlite")
        kept = {"audit.repair": False}  # what is broken must stay so until it was judged
        site = Deployment(tmp_path, redis, ledger, gateway=FaultyGateway, settler=False, **kept)
        restart_with(site, fault, start=False)
        sites.append(site.__enter__())
        return site

    yield make
    for site in sites:
        site.__exit__()


def restart_with(site: Deployment, fault: str, *, start: bool = True) -> None:
    """kill -9, if it still runs, and a start with this fault."""
    gateway = site.gateway
    assert isinstance(gateway, FaultyGateway)
    gateway.stop()
    gateway.have(fault)
    if start:
        gateway.start()


async def findings(site: Deployment, shop: Shop) -> list[Finding]:
    evidence = await asyncio.to_thread(site.evidence, await all_terms(shop))
    return judge(shop.book, evidence)


def reservations(found: list[Finding], fault: Fault) -> set[str]:
    """Those that have the fault."""
    return {finding.detail.split()[0] for finding in found if finding.fault is fault}


async def holds(shop: Shop, count: int) -> list[Purchase]:
    made = [shop.new_purchase({PHONE: 1}, 600) for _ in range(count)]
    for purchase in made:
        await shop.reserve(purchase)
    return made


def append_only_file(redis: RedisServer) -> Path:
    (found,) = (redis.directory / "appendonlydir").glob("*.incr.aof")
    return found


async def test_holds_that_redis_never_wrote_are_missed_and_their_receipts_honoured(
    make_site: MakeSite,
) -> None:
    """appendfsync no, and a power loss takes the end of the file."""
    site = make_site(appendfsync="no")
    shop = Shop(site.url, Book())
    await shop.put(PHONE, 50)
    kept = await holds(shop, 20)
    size_bytes = append_only_file(site.redis).stat().st_size
    lost = await holds(shop, 10)
    site.redis.kill()
    os.truncate(append_only_file(site.redis), size_bytes)
    site.redis.restart()

    found = await findings(site, shop)
    assert reservations(found, Fault.HOLD_LOST) == {purchase.id for purchase in lost}
    assert await shop.state(lost[0]) == ""
    for purchase in (*kept, *lost):
        await shop.confirm(purchase, with_receipt=True)
        assert purchase.told & {Told.CONFIRMED, Told.SETTLED}
    await sell_out(site, shop)
    assert await findings(site, shop) == []
    site.verified()
    shop.close()


async def test_a_ledger_that_acknowledges_before_it_commits_loses_confirms(
    make_site: MakeSite,
) -> None:
    site = make_site("early")
    shop = Shop(site.url, Book())
    await shop.put(PHONE, 20)
    sold = await holds(shop, 5)
    for purchase in sold:
        await shop.confirm(purchase)
        assert Told.SETTLED in purchase.told
    restart_with(site, "")
    await come_to_rest(site, shop)

    found = await findings(site, shop)
    assert sold[-1].id in reservations(found, Fault.CONFIRM_LOST)
    with pytest.raises(AssertionError, match="BREACH"):
        site.verified()
    shop.close()


async def test_a_settler_that_forgets_what_it_deducted_deducts_it_twice(
    make_site: MakeSite,
) -> None:
    """The first one dies between commit and mirror; what it left is deducted once more."""
    site = make_site("dying")
    shop = Shop(site.url, Book())
    await shop.put(PHONE, 20)
    (purchase,) = await holds(shop, 1)
    paying = asyncio.create_task(shop.confirm(purchase))
    assert await asyncio.to_thread(site.gateway.child.wait, EXIT_S) == -signal.SIGKILL
    restart_with(site, "twice")
    await paying
    await come_to_rest(site, shop)

    found = await findings(site, shop)
    assert Fault.DEDUCTED_TWICE in {finding.fault for finding in found}
    with pytest.raises(AssertionError, match="BREACH"):
        site.verified()
    shop.close()
