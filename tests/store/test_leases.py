"""The commands that grant leases, and the fences of a shard, on every kind of store."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.exceptions import ResponseError

from gateway.core.clock import SystemClock
from gateway.core.errors import StoreUnavailable
from gateway.core.leases import Fence, Term
from gateway.store import keys
from gateway.store.client import ScriptChannel, connect, execute
from gateway.store.leases import RedisLeases, raise_fence

TTL_MS = 6_000


class Bench:
    """Leases on a store whose clock the test moves."""

    def __init__(self, url: str) -> None:
        self.now_ms = 1_750_000_000_000
        self.client = connect(url, connect_timeout_s=2.0)
        self.channel = ScriptChannel(self.client, SystemClock(), call_timeout_s=2.0)
        self.leases = RedisLeases(
            self.channel, SystemClock(), call_timeout_s=2.0, clock_ms=lambda: self.now_ms
        )


@pytest.fixture
async def bench(store_url: str) -> AsyncIterator[Bench]:
    opened = Bench(store_url)
    yield opened
    await opened.channel.close()
    await opened.client.aclose()


async def test_a_lease_is_granted_once_while_its_term_lasts(bench: Bench) -> None:
    term = await bench.leases.grant("audit", "one", TTL_MS, 0)
    assert term == Term("audit", "one", 1, TTL_MS)
    bench.now_ms += TTL_MS - 1
    assert await bench.leases.grant("audit", "two", TTL_MS, 0) == Term("audit", "one", 1, 1)
    assert await bench.leases.grant("audit", "one", TTL_MS, 0) == Term("audit", "one", 1, 1)
    bench.now_ms += 1
    assert await bench.leases.look("audit") is None
    assert await bench.leases.grant("audit", "two", TTL_MS, 0) == Term("audit", "two", 2, TTL_MS)


async def test_only_the_very_term_is_renewed(bench: Bench) -> None:
    term = await bench.leases.grant("audit", "one", TTL_MS, 0)
    bench.now_ms += 5_000
    for wrong in (
        Term("audit", "two", 1, 0),
        Term("audit", "one", 2, 0),
        Term("rebuild", "one", 1, 0),
    ):
        assert not await bench.leases.renew(wrong, TTL_MS)
    assert await bench.leases.renew(term, TTL_MS)
    assert await bench.leases.look("audit") == Term("audit", "one", 1, TTL_MS)
    assert await bench.leases.renew(term, 10), "a late packet shortens nothing"
    assert await bench.leases.look("audit") == Term("audit", "one", 1, TTL_MS)
    bench.now_ms += TTL_MS
    assert not await bench.leases.renew(term, TTL_MS), "a term that ended stays so"
    assert await bench.leases.look("audit") is None


async def test_only_the_very_term_is_released(bench: Bench) -> None:
    term = await bench.leases.grant("audit", "one", TTL_MS, 0)
    assert not await bench.leases.release(Term("audit", "two", 1, 0))
    assert await bench.leases.release(term)
    assert not await bench.leases.release(term)
    later = await bench.leases.grant("audit", "one", TTL_MS, 0)
    assert later.token == 2
    assert not await bench.leases.release(term), "a late packet ends no later term"
    assert await bench.leases.look("audit") == later


@pytest.mark.parametrize("floor", [7, 2**40 + 7, 2**53 - 2])
async def test_a_token_is_above_every_one_known(bench: Bench, floor: int) -> None:
    first = await bench.leases.grant("audit", "one", TTL_MS, floor)
    assert first.token == floor + 1
    assert await bench.leases.release(first), "large tokens keep every digit"


async def test_a_store_that_forgot_begins_above_the_floor(bench: Bench) -> None:
    term = await bench.leases.grant("audit", "one", TTL_MS, 0)
    await execute(bench.client, "FLUSHALL")
    assert await bench.leases.grant("audit", "two", TTL_MS, term.token) == Term(
        "audit", "two", 2, TTL_MS
    )
    assert not await bench.leases.renew(term, TTL_MS)


async def test_tokens_come_to_an_end_before_they_repeat(bench: Bench) -> None:
    with pytest.raises(ResponseError, match="come to their end"):
        await bench.leases.grant("audit", "one", TTL_MS, 2**53 - 1)
    assert await bench.leases.look("audit") is None


async def test_terms_are_listed_while_they_last(bench: Bench) -> None:
    assert await bench.leases.terms() == []
    await bench.leases.grant("rebuild", "host|1", TTL_MS, 0)
    await bench.leases.grant("audit", "one", 1_000, 4)
    assert await bench.leases.terms() == [
        Term("audit", "one", 5, 1_000),
        Term("rebuild", "host|1", 1, TTL_MS),
    ]
    bench.now_ms += 1_000
    assert [term.name for term in await bench.leases.terms()] == ["rebuild"]


async def test_a_term_that_cannot_be_read_is_none(bench: Bench) -> None:
    await execute(bench.client, "HSET", keys.LEASE_TERMS, "audit", "nonsense")
    assert await bench.leases.terms() == []
    assert (await bench.leases.grant("audit", "one", TTL_MS, 0)).owner == "one"


async def test_keys_share_a_slot() -> None:
    tags = {name.partition("}")[0] for name in (keys.LEASE_TERMS, keys.LEASE_TOKENS)}
    assert tags == {"{sg:leases"}


async def test_calls_take_turns_and_do_not_wait_for_ever() -> None:
    class Silent:
        async def run(self, *_args: object) -> None:
            await asyncio.Event().wait()

        async def close(self) -> None:
            pass

    channel: ScriptChannel = Silent()  # type: ignore[assignment]
    leases = RedisLeases(channel, SystemClock(), call_timeout_s=0.05)
    first = asyncio.create_task(leases.look("audit"))
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable, match="wait in line"):
        await leases.look("audit")
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def test_a_cancelled_call_leaves_no_answer_for_the_next(store_url: str) -> None:
    bench = Bench(store_url)
    await bench.leases.grant("audit", "one", TTL_MS, 0)
    for _ in range(20):
        call = asyncio.create_task(bench.leases.terms())
        for _ in range(3):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert not await bench.leases.release(Term("audit", "two", 1, 0))
        assert await bench.leases.look("rebuild") is None
    await bench.channel.close()
    await bench.client.aclose()


async def test_a_fence_only_rises(bench: Bench) -> None:
    async def raised(token: int, shard: int = 0) -> int:
        return await raise_fence(bench.channel, shard, Fence("audit", token))

    large = 2**40 + 3
    assert await raised(3) == 3
    assert await raised(3) == 3
    assert await raised(large) == large
    assert await raised(4) == large, "stale"
    assert await raised(4, shard=1) == 4, "each shard has seen what it has seen"
    assert await raise_fence(bench.channel, 0, Fence("rebuild", 1)) == 1
