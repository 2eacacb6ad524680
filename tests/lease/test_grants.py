"""How a grant may go wrong, and why no token is ever used twice."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gateway.core.errors import LeaseBusy, LeaseUnavailable
from gateway.core.leases import pack
from gateway.lease import MemoryTokens
from tests.lease.bench import Bench
from tests.lease.wire import Call, Process, Redis, spin
from tests.sale.faults import Gate, ledger_down, ledger_unanswered


async def test_a_lost_answer_is_undone_and_its_token_never_used(bench: Bench) -> None:
    def once(call: Call) -> None:
        bench.one.wire.fault = None
        call.deliver()
        call.lose()

    bench.one.wire.fault = once
    with pytest.raises(LeaseUnavailable, match="no answer"):
        async with bench.one.leases.hold("audit", expected_s=1):
            pytest.fail("held")
    assert await bench.two.leases.look("audit") is None
    async with bench.two.leases.hold("audit", expected_s=1) as lease:
        assert lease.token == 2


async def test_a_grant_that_arrives_late_runs_out(bench: Bench) -> None:
    late: list[Call] = []

    def keep(call: Call) -> None:
        late.append(call)
        call.lose()

    bench.one.wire.fault = keep
    with pytest.raises(LeaseUnavailable):
        async with bench.one.leases.hold("audit", expected_s=1):
            pytest.fail("held")
    late[0].deliver()
    with pytest.raises(LeaseBusy):
        async with bench.two.leases.hold("audit", expected_s=1):
            pytest.fail("held")
    await bench.pass_(7)
    async with bench.two.leases.hold("audit", expected_s=1) as lease:
        assert lease.token == 2


async def test_what_is_cancelled_while_it_asks_is_given_back() -> None:
    redis = Redis()
    process, other = Process(redis, at_once=False), Process(redis)

    async def work() -> None:
        async with process.leases.hold("audit", expected_s=1):
            pytest.fail("held")

    task = asyncio.create_task(work())
    await spin()
    process.wire.calls[0].deliver()
    process.wire.at_once = True
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await process.leases.close()
    assert process.wire.closed == 1, "an unread answer would be taken for the next one"
    assert await other.leases.look("audit") is None


@pytest.mark.parametrize("method", ["last_token", "record_token"])
@pytest.mark.parametrize("fault", [ledger_down, ledger_unanswered])
async def test_without_a_record_of_tokens_there_is_no_lease(
    method: str, fault: Callable[..., Any]
) -> None:
    redis, tokens = Redis(), MemoryTokens()
    process = Process(redis, fault(tokens, method))
    with pytest.raises(LeaseUnavailable, match="lease audit cannot be granted"):
        async with process.leases.hold("audit", expected_s=1):
            pytest.fail("held")
    await process.leases.close()
    assert await process.leases.terms() == []
    async with process.leases.hold("audit", expected_s=1) as lease:
        assert lease.token >= 1


async def test_a_redis_that_lost_everything_hands_out_no_smaller_token(bench: Bench) -> None:
    tokens = []
    for _ in range(3):
        async with bench.one.leases.hold("audit", expected_s=1) as lease:
            tokens.append(lease.token)
        bench.redis.data.flushall()
    assert tokens == [1, 2, 3]


async def test_control_without_the_record_tokens_begin_again(bench: Bench) -> None:
    for _ in range(2):
        forgetful = Process(bench.redis, MemoryTokens())
        async with forgetful.leases.hold("audit", expected_s=1) as lease:
            assert lease.token == 1
        bench.redis.data.flushall()


async def test_two_that_are_granted_the_same_token_do_not_both_begin(bench: Bench) -> None:
    """Redis forgets a grant before its token is on record, and grants it again."""
    gate = Gate(bench.tokens, "record_token")
    slow = Process(bench.redis, gate, name="slow")

    async def work() -> None:
        async with slow.leases.hold("audit", expected_s=1):
            pytest.fail("two began under one token")

    task = asyncio.create_task(work())
    await gate.reached.wait()
    bench.redis.data.flushall()
    async with bench.two.leases.hold("audit", expected_s=1) as lease:
        assert lease.token == 1
        gate.open.set()
        with pytest.raises(LeaseUnavailable, match="a later token is on record"):
            await task
        await slow.leases.close()
        await bench.pass_(10)
        lease.check()


async def test_a_generation_begins_above_all_tokens_before() -> None:
    redis, tokens = Redis(), MemoryTokens()
    process = Process(redis, tokens)
    async with process.leases.hold("audit", expected_s=1):
        pass
    process.leases._floor = pack(3, 0)
    async with process.leases.hold("audit", expected_s=1) as lease:
        assert lease.token == pack(3, 1)
