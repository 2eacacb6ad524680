"""A process of its own that works under a lease, as the test that started it says on stdin."""

import asyncio
import sys

from gateway.core.errors import LeaseLost
from gateway.ledger import moves
from tests.lease.real import Site, site


async def count(here: Site, rounds: int, excluded: bool) -> None:
    """Adds 1 to a number that all share, by reading and then writing it."""
    for _ in range(rounds):
        if excluded:
            async with here.leases.hold("audit", expected_s=0.1, wait_s=50) as lease:
                await add_one(here)
                await here.plain("RPUSH", "tokens", lease.token)
        else:
            await add_one(here)


async def add_one(here: Site) -> None:
    before = int(await here.plain("GET", "number") or 0)
    await asyncio.sleep(0.002)
    await here.plain("SET", "number", before + 1)


async def hold(here: Site, fenced: bool) -> None:
    """Takes the lease, and writes under it when told, without a look at the clock."""
    if not fenced:
        moves.refuse_stale = lambda *_args: None  # type: ignore[attr-defined]
    try:
        async with here.leases.hold("audit", expected_s=0.1, wait_s=5) as lease:
            print(f"held {lease.token}", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            redis = await here.write_redis(lease.fence, fenced=fenced)
            ledger = await here.write_ledger("stale", lease.fence)
            print(f"redis {redis} ledger {ledger} held {lease.held}", flush=True)
    except LeaseLost as lost:
        print(f"told: {lost}", flush=True)


async def main(mode: str, redis_url: str, ledger_url: str) -> None:
    async with site(redis_url, ledger_url) as here:
        if mode in {"count", "count-freely"}:
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            await count(here, 20, mode == "count")
        else:
            await hold(here, mode == "hold")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
