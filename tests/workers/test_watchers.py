"""What keeps a gateway's memory fresh: the feed of the ledger's decisions."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from gateway.core.errors import StoreUnavailable
from gateway.core.model import State
from gateway.sale.finished import Finished
from gateway.store import keys
from gateway.workers.loop import BACKOFF_FIRST_S
from gateway.workers.watchers import FinishedListener
from tests.sale.clocks import StillClock
from tests.sale.steps import Sale, until

News = tuple[str, list[str]] | Exception


class Feeds:
    """Feeds that say what they are told; one that failed is over, as a real one is."""

    def __init__(self, *news: News) -> None:
        self._news = list(news)
        self.opened = 0

    async def open(self) -> AsyncGenerator[tuple[str, list[str]], None]:
        self.opened += 1
        while self._news:
            item = self._news.pop(0)
            if isinstance(item, Exception):
                raise item
            yield item


async def test_announcements_reach_those_who_wait() -> None:
    finished = Finished(StillClock())
    a, b, c = (finished.watch(field) for field in "abc")
    feeds = Feeds(("settle", ["a", "c"]), ("", []), ("reject", ["b"]))
    listener = FinishedListener(finished, feeds.open, StillClock())
    for _ in range(3):
        assert await listener.step() == 0.0
    assert [f.result() for f in (a, b, c)] == [State.SETTLED, State.REJECTED, State.SETTLED]
    assert feeds.opened == 1


async def test_a_lost_connection_is_opened_again() -> None:
    clock, finished = StillClock(jitter=1.0), Finished(StillClock())
    future = finished.watch("a")
    feeds = Feeds(StoreUnavailable("gone"), StoreUnavailable("gone"), ("settle", ["a"]))
    listener = FinishedListener(finished, feeds.open, clock)
    listener.loop.start()
    assert await clock.next_pause() == pytest.approx(BACKOFF_FIRST_S)
    assert await clock.next_pause() == pytest.approx(2 * BACKOFF_FIRST_S)
    assert await future is State.SETTLED
    assert feeds.opened == 3
    await listener.loop.stop(patience_s=0.0)


async def test_a_connection_that_redis_closed_is_opened_again(any_sale: Sale) -> None:
    if any_sale.core.config.store == "memory://":
        return
    await any_sale.listen()
    assert await any_sale.raw("CLIENT", "KILL", "TYPE", "pubsub") >= 1
    future = any_sale.finished.watch("a")

    async def told() -> bool:
        await any_sale.raw("PUBLISH", keys.finished_channel(0), "settle:a")
        return future.done()

    await until(told)
    assert future.result() is State.SETTLED


async def test_a_real_announcement_is_heard(any_sale: Sale) -> None:
    await any_sale.listen()
    futures = [any_sale.finished.watch(field) for field in "ab"]
    told: Any = await any_sale.raw("PUBLISH", keys.finished_channel(0), "reject:a,b")
    assert told == 1
    assert await asyncio.gather(*futures) == [State.REJECTED] * 2
