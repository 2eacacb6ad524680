"""Any schedule of calls, answers, losses, deaths and clocks that run apart: never two holders.

The network is the adversary: it delivers to Redis when it likes, answers when it likes, loses
answers, and delivers late what was given up. Time is true time; every process and Redis read it
through a clock of their own that runs up to 0.4 % fast or slow.
"""

import asyncio
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gateway.core.errors import LeaseBusy, LeaseLost, LeaseUnavailable
from gateway.lease import Lease, MemoryTokens
from tests.lease.wire import Call, Process, Redis, spin

HOLDERS = 3
RATES = st.floats(0.996, 1.004)
LATE_MAX = 8
"""Packets of the dead that may still arrive."""
CHOICE = st.integers(0, 10**6)
STEPS = settings(
    max_examples=120,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


class Holder:
    """A process that takes the lease when told, and gives it back when told."""

    def __init__(self, number: int, redis: Redis, tokens: MemoryTokens, rate: float) -> None:
        self.process = Process(redis, tokens, rate=rate, at_once=False, name=f"h{number}")
        self.lease: Lease | None = None
        self.begun: list[int] = []
        self.before_loss = False
        self.done = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        return self.task is None or self.task.done()

    @property
    def believes(self) -> bool:
        return self.lease is not None and self.lease.held

    def start(self, wait_s: float) -> None:
        self.done = asyncio.Event()
        self.before_loss = False
        self.task = asyncio.create_task(self._work(wait_s))

    def calls(self) -> list[Call]:
        return self.process.wire.calls

    async def _work(self, wait_s: float) -> None:
        hold = self.process.leases.hold("audit", expected_s=0.5, wait_s=wait_s, learn=False)
        try:
            async with hold as lease:
                self.lease = lease
                self.begun.append(lease.token)
                await self.done.wait()
                self.lease = None
        except (LeaseBusy, LeaseUnavailable, LeaseLost):
            pass
        finally:
            self.lease = None


class Schedule(RuleBasedStateMachine):
    """What may happen, one thing at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.tokens = MemoryTokens()
        self.begun: list[int] = []
        self.holders: list[Holder] = []
        self.redis = Redis()
        self.late: list[Call] = []

    @initialize(rates=st.lists(RATES, min_size=HOLDERS + 1, max_size=HOLDERS + 1))
    def begin(self, rates: list[float]) -> None:
        self.redis.rate = rates.pop()
        self.rates = rates
        for number, rate in enumerate(rates):
            self.holders.append(self._run(self._make, number, rate))

    @precondition(lambda self: any(h.idle for h in self.holders))
    @rule(choice=CHOICE, wait_s=st.sampled_from([0.0, 30.0]))
    def start(self, choice: int, wait_s: float) -> None:
        idle = [holder for holder in self.holders if holder.idle]
        self._run(idle[choice % len(idle)].start, wait_s)

    @precondition(lambda self: any(h.idle for h in self.holders))
    @rule(choice=CHOICE, seconds=st.sampled_from([0.0, 0.0, 0.5, 3.0, 5.0]))
    def take(self, choice: int, seconds: float) -> None:
        """Started; its call is done at once, and answered after a while."""
        idle = [holder for holder in self.holders if holder.idle]
        holder = idle[choice % len(idle)]
        self._run(holder.start, 0.0)
        call = holder.calls()[-1]
        self._run(call.deliver)
        if seconds:
            self.pass_(seconds)
        self._run(call.reply)

    @precondition(lambda self: any(h.lease for h in self.holders))
    @rule(choice=CHOICE)
    def finish(self, choice: int) -> None:
        busy = [holder for holder in self.holders if holder.lease]
        self._run(busy[choice % len(busy)].done.set)

    @precondition(lambda self: self._calls())
    @rule(choice=CHOICE)
    def deliver(self, choice: int) -> None:
        waiting = [call for call in self._calls() if not call.done]
        if waiting:
            self._run(waiting[choice % len(waiting)].deliver)

    @precondition(lambda self: self._calls())
    @rule(choice=CHOICE)
    def reply(self, choice: int) -> None:
        delivered = [call for call in self._calls() if call.done and not call.answer.done()]
        if delivered:
            self._run(delivered[choice % len(delivered)].reply)

    @precondition(lambda self: self._calls())
    @rule(choice=CHOICE)
    def go_through(self, choice: int) -> None:
        """The common case: there and back in no time."""
        waiting = [call for call in self._calls() if not call.done]
        if waiting:
            call = waiting[choice % len(waiting)]
            self._run(call.deliver)
            self._run(call.reply)

    @precondition(lambda self: self._calls())
    @rule(choice=CHOICE)
    def lose(self, choice: int) -> None:
        asked = [call for call in self._calls() if not call.answer.done()]
        if asked:
            self._run(asked[choice % len(asked)].lose)

    @rule(seconds=st.sampled_from([0.05, 0.5, 1.05, 1.9, 3.0, 5.0, 5.85, 6.5]))
    def pass_(self, seconds: float) -> None:
        self.redis.advance(seconds)
        for holder in self.holders:
            self._run(holder.process.advance, seconds)

    @invariant()
    def never_two_at_once(self) -> None:
        believers = [h for h in self.holders if h.believes and not h.before_loss]
        assert len(believers) <= 1, [h.lease.token for h in believers if h.lease]

    @invariant()
    def tokens_only_rise(self) -> None:
        for holder in self.holders:
            for token in holder.begun:
                assert token > max(self.begun, default=0)
                self.begun.append(token)
            holder.begun = []

    def teardown(self) -> None:
        for number in range(len(self.holders)):
            self._run(self._bury, number)
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    def _make(self, number: int, rate: float) -> Holder:
        return Holder(number, self.redis, self.tokens, rate)

    def _bury(self, number: int) -> None:
        holder = self.holders[number]
        holder.process.wire.fault = Call.refuse
        for call in holder.calls():
            call.lose()
        self.late = [*self.late, *(call for call in holder.calls() if not call.done)][-LATE_MAX:]
        holder.process.wire.calls.clear()
        holder.lease = None
        if holder.task is not None:
            holder.task.cancel()

    def _calls(self) -> list[Call]:
        own = [call for holder in self.holders for call in holder.calls()]
        open_ = [call for call in own if not (call.done and call.answer.done())]
        return open_ + [call for call in self.late if not call.done]

    def _run(self, step: Any, *args: Any) -> Any:
        async def stepped() -> Any:
            result = step(*args)
            await spin()
            return result

        return self.loop.run_until_complete(stepped())


class Disasters(Schedule):
    """The same, with processes killed and a Redis that loses everything."""

    @rule(choice=CHOICE)
    def kill(self, choice: int) -> None:
        """The process is gone, and its clock, timers and tasks with it; its packets are not."""
        number = choice % HOLDERS
        self._run(self._bury, number)
        self.holders[number] = self._run(self._make, number, self.rates[number])

    @rule()
    def lose_everything(self) -> None:
        """Redis forgets. Until those who hold now end, only fences keep their writes apart."""
        self.redis.data.flushall()
        for holder in self.holders:
            holder.before_loss = not holder.idle


@pytest.mark.parametrize("schedule", [Schedule, Disasters])
def test_any_schedule(schedule: type[Schedule]) -> None:
    run_state_machine_as_test(schedule, settings=STEPS)


def test_control_any_schedule_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    count_from_the_answer(monkeypatch)
    generated = settings(STEPS, phases=[Phase.generate], database=None, derandomize=True)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Schedule, settings=generated)


def slow_answer(machine: Schedule) -> None:
    """A grant whose answer takes five of the term's six seconds; then time for the next one."""
    machine.begin([1.0] * (HOLDERS + 1))
    machine.start(0, 0.0)
    machine.deliver(0)
    machine.pass_(5.0)
    machine.reply(0)
    assert machine.holders[0].believes
    machine.lose(0)
    machine.pass_(1.05)  # Redis ends the term
    machine.start(0, 0.0)
    grant = [call for call in machine.holders[1].calls() if call.name == "lease_grant"][-1]
    machine._run(grant.deliver)
    machine._run(grant.reply)
    assert machine.holders[1].believes
    machine.never_two_at_once()


def count_from_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    extend = Lease.extend
    monkeypatch.setattr(
        Lease, "extend", lambda self, _sent_s: extend(self, self._clock.monotonic())
    )


def test_a_slow_answer() -> None:
    machine = Schedule()
    slow_answer(machine)
    machine.teardown()


def test_control_a_deadline_counted_from_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    count_from_the_answer(monkeypatch)
    machine = Schedule()
    with pytest.raises(AssertionError):
        slow_answer(machine)
    machine.teardown()


def test_control_tokens_without_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that forgets hands out old tokens, and the schedule sees it."""

    async def recorded(_self: MemoryTokens, _name: str, _token: int) -> bool:
        return True

    monkeypatch.setattr(MemoryTokens, "record_token", recorded)
    machine = Disasters()
    machine.begin([1.0] * (HOLDERS + 1))

    def take_and_forget() -> None:
        machine.start(0, 0.0)
        machine.go_through(0)
        machine.tokens_only_rise()
        machine.finish(0)
        machine.go_through(0)
        machine.lose_everything()

    take_and_forget()
    with pytest.raises(AssertionError):
        take_and_forget()
    machine.teardown()
