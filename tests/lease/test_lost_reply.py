"""The grant happened and its answer never came, on a real server behind a proxy."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.core.errors import LeaseBusy, LeaseUnavailable
from tests.lease.real import QUICK, Site, site
from tests.support.proxy import Proxy
from tests.support.servers import RedisServer

CALL_S = 0.3


@pytest.fixture
async def proxy(redis_server: RedisServer) -> AsyncIterator[Proxy]:
    redis_server.call("FLUSHALL")
    async with Proxy(redis_server.port) as running:
        yield running


async def warm_up(here: Site) -> None:
    """The connection is open, and the server knows the scripts."""
    async with here.leases.hold("rebuild", expected_s=0.1):
        await here.leases.look("rebuild")


async def test_a_lost_answer_is_found_out_and_undone(
    proxy: Proxy, redis_server: RedisServer, ledger_url: str
) -> None:
    async with site(f"redis://127.0.0.1:{proxy.port}/0", ledger_url, call_timeout_s=CALL_S) as here:
        await warm_up(here)
        proxy.mute = True

        async def hear_again() -> None:
            while not redis_server.call("HEXISTS", "{sg:leases}:terms", "audit"):
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)  # for the answer to get lost
            proxy.mute = False

        listener = asyncio.create_task(hear_again())
        async with here.leases.hold("audit", expected_s=0.1, wait_s=10) as lease:
            assert lease.token == 2, "the token of the lost answer is never used"
            lease.check()
        await listener


async def test_one_that_cannot_be_undone_runs_out(
    proxy: Proxy, redis_server: RedisServer, ledger_url: str
) -> None:
    async with (
        site(f"redis://127.0.0.1:{proxy.port}/0", ledger_url, call_timeout_s=CALL_S) as cut_off,
        site(redis_server.url, ledger_url) as other,
    ):
        await warm_up(cut_off)
        proxy.mute = True
        with pytest.raises(LeaseUnavailable, match="did not answer"):
            async with cut_off.leases.hold("audit", expected_s=0.1):
                pytest.fail("held")
        orphan = await other.leases.look("audit")
        assert orphan is not None
        assert orphan.remaining_ms < QUICK.ttl_ms(0.1)
        with pytest.raises(LeaseBusy):
            async with other.leases.hold("audit", expected_s=0.1):
                pytest.fail("held")
        async with other.leases.hold("audit", expected_s=0.1, wait_s=10) as lease:
            assert lease.token == orphan.token + 1
