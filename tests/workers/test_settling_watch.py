"""Settling that fails for too long is told: once, again while it lasts, and when it ends."""

from gateway.core.config import NotifyConfig
from gateway.core.events import Event, EventKind
from gateway.workers.settling_watch import SettlingWatch
from tests.sale.clocks import StillClock


class Watched:
    def __init__(self) -> None:
        self.healthy = True
        self.told: list[Event] = []
        self.clock = StillClock()
        config = NotifyConfig(settling_stuck_s=10, fold_s=60)
        self.watch = SettlingWatch(lambda: self.healthy, config, self.clock, self.told.append)

    async def look(self, seconds: int) -> list[EventKind]:
        """What is told in this many seconds of looking every second."""
        self.told.clear()
        for _ in range(seconds):
            self.clock.advance(await self.watch.step())
        return [event.kind for event in self.told]


async def test_a_short_failure_is_not_told() -> None:
    watched = Watched()
    assert await watched.look(5) == []
    watched.healthy = False
    assert await watched.look(10) == []
    watched.healthy = True
    assert await watched.look(5) == []
    watched.healthy = False
    assert await watched.look(10) == [], "the seconds before do not count"


async def test_a_long_failure_is_told_and_so_is_its_end() -> None:
    watched = Watched()
    watched.healthy = False
    assert await watched.look(11) == [EventKind.SETTLING_STUCK]
    assert watched.told[0].detail == "failing for 10 s"
    assert await watched.look(59) == []
    assert await watched.look(1) == [EventKind.SETTLING_STUCK], "a reminder"
    watched.healthy = True
    assert await watched.look(30) == [EventKind.SETTLING_RESUMED]
