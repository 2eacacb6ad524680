"""What a holder may count on, in virtual time on the real scripts."""

import asyncio

import pytest

from gateway.core.errors import LeaseBusy, LeaseLost, LeaseUnavailable, LedgerUnavailable
from gateway.lease import Lease
from gateway.lease.pace import trusted_s
from tests.lease.bench import Bench, losing, sample
from tests.lease.wire import Call, Process, Redis, spin
from tests.sale.faults import Counting, ledger_down

TTL_S = 7.0
"""Of work expected to take a second."""


async def test_a_lease_is_held_by_one_and_then_by_the_next(bench: Bench) -> None:
    async with bench.one.leases.hold("audit", expected_s=1) as first:
        first.check()
        assert first.held
        with pytest.raises(LeaseBusy) as busy:
            async with bench.two.leases.hold("audit", expected_s=1):
                pytest.fail("two hold it")
        assert busy.value.holder == first.term.owner
        assert busy.value.holder.startswith("one-")
        assert busy.value.retry_after_s == TTL_S
        async with bench.two.leases.hold("reap:0", expected_s=1):
            pass  # another lease is another matter
    async with bench.two.leases.hold("audit", expected_s=1) as second:
        assert second.token == first.token + 1


async def test_two_tasks_of_one_process_exclude_each_other(bench: Bench) -> None:
    async with bench.one.leases.hold("audit", expected_s=1):
        with pytest.raises(LeaseBusy):
            async with bench.one.leases.hold("audit", expected_s=1):
                pytest.fail("two hold it")


@pytest.mark.parametrize("name", ["", "sku-1", "audit:", "audit:x", "audit:01", "AUDIT", "a b"])
async def test_a_name_that_is_none(bench: Bench, name: str) -> None:
    with pytest.raises(ValueError, match="is no lease"):
        async with bench.one.leases.hold(name, expected_s=1):
            pytest.fail("held")
    with pytest.raises(ValueError, match="is no lease"):
        await bench.one.leases.look(name)


async def test_work_that_takes_longer_than_expected_is_renewed(bench: Bench) -> None:
    async with bench.one.leases.hold("rebuild", expected_s=30) as lease:
        assert lease.ttl_ms == 65_000
        await bench.pass_(327)
        lease.check()
        assert lease.remaining_s > 0.6 * 65
        with pytest.raises(LeaseBusy):
            async with bench.two.leases.hold("rebuild", expected_s=30):
                pytest.fail("two hold it")


async def test_renewal_comes_at_a_third(bench: Bench) -> None:
    async with bench.one.leases.hold("audit", expected_s=1):
        await spin()
        assert bench.one.clock.pauses[-1] == pytest.approx(TTL_S / 3)


async def test_the_deadline_counts_from_sending() -> None:
    process = Process(Redis(), at_once=False)
    held: list[Lease] = []

    async def work() -> None:
        async with process.leases.hold("audit", expected_s=1) as lease:
            held.append(lease)
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await spin()
    process.advance(0.9)  # on its way there and back
    process.wire.calls[0].deliver()
    process.wire.calls[0].reply()
    await spin()
    assert held[0].remaining_s == pytest.approx(trusted_s(7000) - 0.9)
    assert trusted_s(7000) < 7.0
    process.wire.at_once = True
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_holder_cut_off_stops_before_the_next_begins(bench: Bench) -> None:
    lost = sample("stockgate_leases_lost_total", lease="audit")
    async with losing(bench.one, "could not be renewed in time: no answer") as lease:
        bench.one.wire.fault = Call.lose
        await bench.pass_(6.75)
        lease.check()
        assert not lease.lost.is_set()
        await bench.pass_(0.25)
        assert lease.lost.is_set()
        assert not lease.held
        async with bench.two.leases.hold("audit", expected_s=1) as next_:
            assert next_.token > lease.token
    assert sample("stockgate_leases_lost_total", lease="audit") == lost + 1
    assert sample("stockgate_leases_held", lease="audit") == 0


async def test_an_outage_shorter_than_the_term_is_outlived(bench: Bench) -> None:
    async with bench.one.leases.hold("audit", expected_s=1) as lease:
        bench.one.wire.fault = Call.refuse
        await bench.pass_(5)
        bench.one.wire.fault = None
        await bench.pass_(20)
        lease.check()


async def test_a_holder_that_slept_is_told_when_it_wakes(bench: Bench) -> None:
    async with losing(bench.one, "lease audit (token 1) is lost") as lease:
        bench.redis.advance(60)
        bench.one.clock.advance(60)  # in one leap: nothing ran in between
        with pytest.raises(LeaseLost, match="ran out"):
            lease.check()


async def test_who_never_asks_is_told_at_the_end(bench: Bench) -> None:
    async with losing(bench.one, "ran out"):
        bench.redis.advance(60)
        bench.one.clock.advance(60)


async def test_a_loss_is_final() -> None:
    redis = Redis()
    process = Process(redis)
    async with losing(process, "tested") as lease:
        lease.lose("tested")
        lease.extend(process.clock.monotonic() + 100)
        assert not lease.held
        with pytest.raises(LeaseLost, match="tested"):
            lease.check()


async def test_work_is_cancelled_on_request(bench: Bench) -> None:
    stopped = []

    async def work() -> None:
        async with bench.one.leases.hold("audit", expected_s=1, stop_when_lost=True):
            bench.one.wire.fault = Call.refuse
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                stopped.append(bench.one.clock.monotonic())
                raise

    task = asyncio.create_task(work())
    await bench.pass_(7.5)
    with pytest.raises(LeaseLost, match="the work was stopped"):
        await task
    assert len(stopped) == 1
    assert task.cancelling() == 0


async def test_a_cancellation_from_outside_stays_one(bench: Bench) -> None:
    async def work() -> None:
        async with bench.one.leases.hold("audit", expected_s=1, stop_when_lost=True):
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await spin()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await bench.two.leases.look("audit") is None, "it was given back"


async def test_check_inside_work_that_would_be_cancelled(bench: Bench) -> None:
    """The finder of the loss is told by the exception alone, not by a cancellation as well."""

    async def work() -> None:
        async with bench.one.leases.hold("audit", expected_s=1, stop_when_lost=True) as lease:
            bench.one.clock.advance(60)
            lease.check()

    with pytest.raises(LeaseLost, match="ran out"):
        await work()
    await asyncio.sleep(0)


async def test_waiting_ends_when_the_holder_does(bench: Bench) -> None:
    order = []

    async def work(process: Process) -> None:
        async with process.leases.hold("audit", expected_s=1, wait_s=30):
            order.append(process)
            await process.clock.sleep(3)

    tasks = [asyncio.create_task(work(p)) for p in (bench.one, bench.two)]
    await bench.pass_(8)
    await asyncio.gather(*tasks)
    assert order == [bench.one, bench.two]
    assert all(0.5 <= pause <= 1 for pause in bench.two.clock.pauses if pause < 1.1 and pause != 1)


async def test_waiting_has_a_bound(bench: Bench) -> None:
    async def work() -> None:
        async with bench.two.leases.hold("audit", expected_s=1, wait_s=5):
            pytest.fail("held")

    async with bench.one.leases.hold("audit", expected_s=1):
        task = asyncio.create_task(work())
        await bench.pass_(4.75)
        assert not task.done()
        await bench.pass_(0.5)
        with pytest.raises(LeaseBusy):
            await task


async def test_several_are_taken_in_one_order(bench: Bench) -> None:
    """Each asks for both, named in opposite order: neither waits for the other for ever."""
    rounds = []

    async def work(process: Process, names: list[str]) -> None:
        for _ in range(5):
            async with process.leases.hold_all(names, expected_s=1, wait_s=60) as held:
                assert list(held) == ["audit", "rebuild"]
                await process.clock.sleep(0.5)
                for lease in held.values():
                    lease.check()
                rounds.append(process)

    both = [(bench.one, ["audit", "rebuild"]), (bench.two, ["rebuild", "audit", "rebuild"])]
    tasks = [asyncio.create_task(work(*each)) for each in both]
    await bench.pass_(20)
    await asyncio.gather(*tasks)
    assert len(rounds) == 10
    assert await bench.one.leases.terms() == []


async def test_a_holder_learns_that_its_lease_was_broken(bench: Bench) -> None:
    async with losing(bench.one, "broken by hand") as lease:
        broken = await bench.two.leases.break_term(lease.term, actor="test")
        assert broken == lease.term
        assert await bench.tokens.last_token("audit") == lease.token + 1
        assert await bench.two.leases.break_term(lease.term, actor="test") is None
        async with bench.two.leases.hold("audit", expected_s=1) as next_:
            assert next_.token == lease.token + 2
        await bench.pass_(2.5)
        assert lease.lost.is_set()


async def test_terms_adapt_to_what_was_observed(bench: Bench) -> None:
    async def ttl_ms() -> int:
        async with bench.one.leases.hold("audit", expected_s=1) as lease:
            bench.one.clock.advance(0.5)
            return lease.ttl_ms

    assert [await ttl_ms() for _ in range(9)] == [7000] * 8 + [6000]
    for _ in range(9):
        async with bench.one.leases.hold("reap:0", expected_s=1, learn=False) as lease:
            bench.one.clock.advance(0.5)
    assert lease.ttl_ms == 7000


async def test_a_short_lease_costs_two_calls(bench: Bench) -> None:
    counting = Counting(bench.one.backend)
    bench.one.leases._backend = counting
    async with bench.one.leases.hold("audit", expected_s=1):
        pass
    assert counting.calls == ["grant", "release"]


async def test_refusals_are_counted_by_reason(bench: Bench) -> None:
    def refused(reason: str) -> float:
        return sample("stockgate_leases_refused_total", lease="admit", reason=reason)

    busy, unavailable = refused("busy"), refused("unavailable")
    async with bench.one.leases.hold("admit:1", expected_s=1):
        assert sample("stockgate_leases_held", lease="admit") == 1
        with pytest.raises(LeaseBusy):
            async with bench.two.leases.hold("admit:1", expected_s=1):
                pytest.fail("held")
    bench.two.wire.fault = Call.refuse
    with pytest.raises(LeaseUnavailable):
        async with bench.two.leases.hold("admit:1", expected_s=1):
            pytest.fail("held")
    assert (refused("busy"), refused("unavailable")) == (busy + 1, unavailable + 1)
    with pytest.raises(LeaseUnavailable, match="leases cannot be read"):
        await bench.two.leases.terms()


async def test_an_outage_while_waiting_is_waited_out(bench: Bench) -> None:
    tokens = ledger_down(bench.tokens, "last_token", 3)
    patient = Process(bench.redis, tokens)
    held = []

    async def work() -> None:
        async with patient.leases.hold("audit", expected_s=1, wait_s=30) as lease:
            held.append(lease.token)

    task = asyncio.create_task(work())
    for _ in range(20):
        await spin()
        patient.clock.advance(0.5)
    await task
    assert held == [1]
    assert isinstance(tokens._error, LedgerUnavailable)
