"""Several processes, real servers, and the signals that a machine really sends."""

import asyncio
import signal
import time
from collections.abc import Callable

import pytest

from gateway.core.errors import LeaseBusy
from tests.lease.conftest import Holder
from tests.lease.real import QUICK, site

Start = Callable[[str, str], Holder]

PROCESSES = 4
ROUNDS = 20
TTL_S = QUICK.ttl_ms(0.1) / 1000


async def numbers(start: Start, mode: str, redis_url: str, ledger_url: str) -> tuple[int, list]:
    """What several processes counted to, and the tokens under which they did."""
    async with site(redis_url, ledger_url) as here:
        holders = [start(mode, redis_url) for _ in range(PROCESSES)]
        for holder in holders:
            assert await asyncio.to_thread(holder.hear) == "ready"
        for holder in holders:
            holder.say()
        assert [await asyncio.to_thread(holder.end) for holder in holders] == [0] * PROCESSES
        tokens = await here.plain("LRANGE", "tokens", 0, -1)
        return int(await here.plain("GET", "number")), [int(token) for token in tokens]


async def test_processes_exclude_each_other(
    start_holder: Start, server_url: str, ledger_url: str
) -> None:
    number, tokens = await numbers(start_holder, "count", server_url, ledger_url)
    assert number == PROCESSES * ROUNDS
    assert len(tokens) == PROCESSES * ROUNDS
    assert tokens == sorted(set(tokens)), "tokens rise"


async def test_control_without_a_lease_counts_are_lost(
    start_holder: Start, server_url: str, ledger_url: str
) -> None:
    number, _tokens = await numbers(start_holder, "count-freely", server_url, ledger_url)
    assert number < PROCESSES * ROUNDS


@pytest.mark.parametrize("fenced", [True, False], ids=["fenced", "control-unfenced"])
async def test_a_paused_holder_wakes_up_to_a_refusal(
    start_holder: Start, server_url: str, ledger_url: str, fenced: bool
) -> None:
    """SIGSTOP beyond its term; the next holder writes; what it writes then is refused by both.

    Without the fence checks, the control, both take it.
    """
    holder = start_holder("hold" if fenced else "hold-unfenced", server_url)
    assert await asyncio.to_thread(holder.hear) == "held 1"
    holder.process.send_signal(signal.SIGSTOP)
    async with (
        site(server_url, ledger_url) as here,
        here.leases.hold("audit", expected_s=0.1, wait_s=10) as lease,
    ):
        assert lease.token == 2
        assert await here.write_redis(lease.fence)
        assert await here.write_ledger("next", lease.fence)
        holder.process.send_signal(signal.SIGCONT)
        holder.say()
        said = await asyncio.to_thread(holder.hear)
        told = await asyncio.to_thread(holder.hear)
        taken = not fenced
        assert said == f"redis {taken} ledger {taken} held False"
        assert told.startswith("told: lease audit (token 1) is lost")
        lease.check()
        assert bool(await here.ledger.stock(["stale"])) is taken


async def test_a_killed_holder_is_followed_within_its_term(
    start_holder: Start, server_url: str, ledger_url: str
) -> None:
    holder = start_holder("hold", server_url)
    assert await asyncio.to_thread(holder.hear) == "held 1"
    async with site(server_url, ledger_url) as here:
        with pytest.raises(LeaseBusy):
            async with here.leases.hold("audit", expected_s=0.1):
                pytest.fail("two hold it")
        holder.process.kill()
        killed_s = time.monotonic()
        async with here.leases.hold("audit", expected_s=0.1, wait_s=10) as lease:
            waited_s = time.monotonic() - killed_s
            assert lease.token == 2
        # One more look, and the ledger's record, on a busy machine.
        assert waited_s <= TTL_S + 1.5


async def test_a_lease_is_renewed_beyond_its_first_term(server_url: str, ledger_url: str) -> None:
    async with (
        site(server_url, ledger_url) as here,
        site(server_url, ledger_url) as other,
        here.leases.hold("audit", expected_s=0.1) as lease,
    ):
        waiting = asyncio.Event()
        with pytest.raises(LeaseBusy):
            async with other.leases.hold("audit", expected_s=0.1, wait_s=2 * TTL_S):
                waiting.set()
        lease.check()
        assert not waiting.is_set()
