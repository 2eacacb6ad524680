"""The reaper: due holds are on sale again within a second; what ended long ago is forgotten."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gateway.core import metrics
from gateway.core.config import ReaperConfig, RetentionConfig
from gateway.core.errors import StoreUnavailable
from gateway.core.model import State
from gateway.sale.outcomes import Refused
from gateway.store import keys
from gateway.store.commands import StockCommands, Sweep
from gateway.workers.loop import BACKOFF_FIRST_S
from gateway.workers.reaper import FORGET_CALLS_MAX, FORGET_PAUSE_S, Reaper
from tests.sale.clocks import StillClock
from tests.sale.faults import unreachable
from tests.sale.steps import Sale, config_for, counts, open_sale, until

PROMISE_MS = 1000


class Pulses:
    """When, by Redis's clock, `held` of a SKU was first seen at what it is now."""

    def __init__(self) -> None:
        self.back_ms: dict[int, int] = {}

    def __call__(self, pulses: Any, now_ms: int) -> None:
        for pulse in pulses:
            self.back_ms.setdefault(pulse.held, now_ms)

    def at_most(self, held: int) -> int:
        """When no more than `held` units were held; several may come back in one sweep."""
        return min(ms for units, ms in self.back_ms.items() if units <= held)


def reaper(sale: Sale, commands: Any = None, clock: Any = None, **config: int) -> Reaper:
    return Reaper(
        commands or sale.commands(),
        ReaperConfig(**config),
        RetentionConfig(),
        clock or sale.core.clock,
    )


async def test_units_are_back_within_a_second_of_the_deadline(real_sale: Sale) -> None:
    """On Redis's own clock, with the intervals as shipped."""
    await real_sale.put("phone", 10)
    seen = Pulses()
    real_sale.run(reaper(real_sale, real_sale.commands(on_pulse=seen)).loop)
    deadlines = []
    for ttl_ms in (1500, 1650, 1800):  # all are held before the first is due
        answer = await real_sale.hold(("phone", 1), ttl_ms=ttl_ms)
        deadlines.append(answer.reservation.deadline_ms)  # type: ignore[union-attr]

    async def all_back() -> bool:
        return 0 in seen.back_ms

    await until(all_back)
    late_ms = sorted(seen.at_most(2 - n) - deadline for n, deadline in enumerate(deadlines))
    assert late_ms[0] >= 0
    assert late_ms[1] <= PROMISE_MS, late_ms  # one may fall into a moment when all stand still
    assert counts(await real_sale.terms("phone")) == (10, 10, 0, 0, 0, 0)


async def test_a_sweep_expires_what_is_due_and_nothing_else(any_sale: Sale) -> None:
    await any_sale.put("phone", 10, buyer_limit=6)
    due = [await any_sale.held(("phone", 1), ttl_ms=1) for _ in range(3)]
    kept = [await any_sale.held(("phone", 1)) for _ in range(2)]
    paying = await any_sale.held(("phone", 1), ttl_ms=60_000)
    await any_sale.reservations.pay(paying)
    before = metrics.REAPED._value.get()
    swept = reaper(any_sale, any_sale.commands(clock_ms=await later(any_sale, 61_000)))
    await sweep_all(swept)
    assert metrics.REAPED._value.get() == before + 3
    assert [await any_sale.state(id_) for id_ in due] == [State.EXPIRED] * 3
    assert [await any_sale.state(id_) for id_ in kept] == [State.HELD] * 2
    assert await any_sale.state(paying) is State.PAYING
    assert counts(await any_sale.terms("phone")) == (10, 7, 3, 0, 0, 0)
    await any_sale.assert_sound()


async def later(sale: Sale, ms: int) -> Callable[[], int]:
    """A clock for Redis that is `ms` ahead."""
    at_ms = await sale.redis_now_ms() + ms
    return lambda: at_ms


async def sweep_all(reaper: Reaper) -> int:
    """Steps until the reaper wants to pause; how many."""
    for steps in range(1, 1000):
        if await reaper.step() > 0:
            return steps
    raise AssertionError("the reaper never pauses")


async def test_many_due_at_once_are_swept_in_bounded_calls_without_a_pause(
    any_sale: Sale,
) -> None:
    await any_sale.put("phone", 1000)
    await asyncio.gather(*[any_sale.hold(("phone", 1), ttl_ms=1) for _ in range(250)])
    sweeps: list[Sweep] = []
    commands = _Noting(any_sale.commands(clock_ms=await later(any_sale, 5_000)), sweeps)
    steps = await sweep_all(reaper(any_sale, commands, batch_max=40))
    assert all(sweep.looked_at <= 40 for sweep in sweeps)
    assert sum(sweep.expired for sweep in sweeps) == 250
    assert steps == len(sweeps) <= 250 // 40 + 3
    assert (await any_sale.terms("phone")).available == 1000


class _Noting:
    """Commands that note the answers of `expire_due`."""

    def __init__(self, commands: StockCommands, sweeps: list[Sweep]) -> None:
        self._commands = commands
        self._sweeps = sweeps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._commands, name)

    async def expire_due(self, limit: int) -> Sweep:
        sweep = await self._commands.expire_due(limit)
        self._sweeps.append(sweep)
        return sweep


async def test_after_a_long_outage_thinly_spread_holds_are_swept_without_a_pause(
    sale: Sale,
) -> None:
    """One hold in each of 200 lists, far more than a call reads the names of at once."""
    await sale.put("phone", 1000)
    for n in range(200):
        await sale.held(("phone", 1), ttl_ms=60_000 + 100 * n)
    swept = reaper(sale, sale.commands(clock_ms=await later(sale, 600_000)))
    await sweep_all(swept)
    assert (await sale.terms("phone")).available == 1000


async def test_a_due_hold_of_an_unsound_sku_raises_the_alarm_and_waits(
    sale: Sale, caplog: pytest.LogCaptureFixture
) -> None:
    await sale.put("phone", 10)
    await sale.put("case", 10)
    stuck = await sale.held(("phone", 1), ttl_ms=1)
    await sale.held(("case", 1), ttl_ms=1)
    await sale.raw("HINCRBY", keys.sku(0, "phone"), "available", 1)
    breaches = metrics.INVARIANT_BREACHES._value.get()
    await sweep_all(reaper(sale, sale.commands(clock_ms=await later(sale, 1_000))))
    assert metrics.INVARIANT_BREACHES._value.get() == breaches + 1
    assert "1 due holds wait" in caplog.text
    assert (await sale.terms("case")).available == 10, "its neighbours go on"

    await sale.raw("HINCRBY", keys.sku(0, "phone"), "available", -1)
    await sweep_all(reaper(sale, sale.commands(clock_ms=await later(sale, 62_000))))
    assert await sale.state(stuck) is State.EXPIRED
    assert (await sale.terms("phone")).available == 10


async def test_what_ended_long_ago_is_forgotten(any_sale: Sale) -> None:
    await any_sale.put("phone", 10)
    released = await any_sale.held(("phone", 1), key="k")
    await any_sale.reservations.release(released)
    held = await any_sale.held(("phone", 1), ttl_ms=14_400_000)
    day_ms = RetentionConfig().ended_s * 1000
    await sweep_all(reaper(any_sale, any_sale.commands(clock_ms=await later(any_sale, 60_000))))
    assert await any_sale.state(released) is State.RELEASED, "a minute is not long ago"
    commands = any_sale.commands(clock_ms=await later(any_sale, day_ms + 120_000))
    looked_at, forgotten = await commands.forget_ended(day_ms, 100)
    assert (looked_at, forgotten) == (1, 1)
    assert await any_sale.reservations.show(released) == Refused("unknown-reservation")
    assert await any_sale.state(held) is State.HELD
    assert await any_sale.held(("phone", 1), key="k") != released, "its key is free again"


class Scripted:
    """Commands that answer what they are told, and keep account."""

    def __init__(self, sweeps: list[Sweep], endings: list[int]) -> None:
        self._sweeps = sweeps
        self._endings = endings
        self.calls: list[str] = []

    async def expire_due(self, limit: int) -> Sweep:
        self.calls.append(f"expire {limit}")
        return self._sweeps.pop(0) if self._sweeps else Sweep(0, 0, 0)

    async def forget_ended(self, retention_ms: int, limit: int) -> tuple[int, int]:
        self.calls.append(f"forget {retention_ms} {limit}")
        looked_at = self._endings.pop(0) if self._endings else 0
        return looked_at, looked_at


def scripted(sweeps: list[Sweep], endings: list[int]) -> tuple[Reaper, Scripted, StillClock]:
    clock, commands = StillClock(jitter=1.0), Scripted(sweeps, endings)
    config = ReaperConfig(interval_ms=100, batch_max=50)
    return (
        Reaper(commands, config, RetentionConfig(ended_s=60), clock),  # type: ignore[arg-type]
        commands,
        clock,
    )


async def test_expiring_comes_before_forgetting() -> None:
    swept, commands, _ = scripted([Sweep(50, 50, 0), Sweep(3, 2, 0)], [])
    assert [await swept.step() for _ in range(2)] == [0.0, 0.1]
    assert commands.calls == ["expire 50", "expire 50", "forget 60000 50"]


async def test_forgetting_is_bounded_and_looks_again_after_a_while() -> None:
    swept, commands, clock = scripted([], [50] * (FORGET_CALLS_MAX + 2))
    assert await swept.step() == 0.1
    assert commands.calls.count("forget 60000 50") == FORGET_CALLS_MAX
    await swept.step()
    assert commands.calls.count("forget 60000 50") == FORGET_CALLS_MAX + 3, "the rest, and none"
    clock.advance(FORGET_PAUSE_S - 1)
    await swept.step()
    assert commands.calls.count("forget 60000 50") == FORGET_CALLS_MAX + 3
    clock.advance(1)
    await swept.step()
    assert commands.calls.count("forget 60000 50") == FORGET_CALLS_MAX + 4


async def test_the_loop_sweeps_at_its_interval_and_recovers(sale: Sale) -> None:
    await sale.put("phone", 10)
    await sale.held(("phone", 1), ttl_ms=1)
    clock = StillClock(jitter=1.0)
    failures = metrics.REAPER_FAILURES._value.get()
    ahead = await later(sale, 1_000)
    commands = unreachable(sale.commands(clock_ms=ahead), "expire_due", times=3)
    swept = reaper(sale, commands, clock, interval_ms=200)
    sale.run(swept.loop)
    pauses = [round(await clock.next_pause(), 6) for _ in range(5)]
    assert pauses == [BACKOFF_FIRST_S, 2 * BACKOFF_FIRST_S, 4 * BACKOFF_FIRST_S, 0.2, 0.2]
    assert metrics.REAPER_FAILURES._value.get() == failures + 3
    assert swept.loop.healthy
    assert (await sale.terms("phone")).available == 10


async def test_a_redis_that_is_gone_is_waited_for(
    start_server: Callable[..., Any], tmp_path: Any
) -> None:
    server = start_server("valkey")
    async with open_sale(config_for(server.url, tmp_path)) as sale:
        await sale.put("phone", 10)
        await sale.held(("phone", 3), ttl_ms=1)
        server.kill()
        swept = reaper(sale)
        with pytest.raises(StoreUnavailable):
            await swept.step()
        sale.run(swept.loop)
        server.restart()

        async def is_back() -> bool:
            return swept.loop.healthy and (await sale.terms("phone")).held == 0

        await until(is_back)
