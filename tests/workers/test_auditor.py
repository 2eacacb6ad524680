"""When the audit works, and when it lets Redis be."""

from typing import Any
from unittest.mock import AsyncMock

from gateway.core.config import AuditConfig
from gateway.workers.auditor import REST_MIN, AuditWorker
from tests.sale.clocks import StillClock


class Watching:
    """An auditor that takes `took_s` for each look."""

    def __init__(self, clock: StillClock, took_s: float) -> None:
        self.looks = 0
        self._clock = clock
        self._took_s = took_s

    async def watch(self) -> None:
        self.looks += 1
        self._clock.advance(self._took_s)


def worker(auditor: Any, clock: StillClock, *, unfit: bool = False) -> AuditWorker:
    return AuditWorker(auditor, AuditConfig(), clock, AsyncMock(return_value=unfit))


async def test_a_redis_that_is_lost_or_being_rebuilt_is_not_looked_at() -> None:
    clock = StillClock()
    auditor = Watching(clock, 0.1)
    assert await worker(auditor, clock, unfit=True).step() == AuditConfig().compare_s
    assert auditor.looks == 0
    await worker(auditor, clock).step()
    assert auditor.looks == 1


async def test_it_rests_longer_than_it_reads() -> None:
    clock = StillClock()
    assert await worker(Watching(clock, 0.1), clock).step() == AuditConfig().compare_s
    assert await worker(Watching(clock, 7.0), clock).step() == REST_MIN * 7.0
