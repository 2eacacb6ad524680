"""One shard as the sale uses it: a batcher a command, each with a connection of its own."""

from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from gateway.core import metrics
from gateway.core.clock import Clock
from gateway.core.codes import Reply
from gateway.core.config import Config
from gateway.core.events import Event, EventKind, Tell, tell_nobody
from gateway.sale.batcher import Batcher, Limits
from gateway.sale.restoring import Restorer
from gateway.store.client import Judge, ScriptChannel
from gateway.store.commands import (
    ActAnswer,
    ActRequest,
    HoldAnswer,
    HoldRequest,
    OnPulse,
    StockCommands,
)
from gateway.store.marks import Guard

HOLDS_IN_FLIGHT = 2
"""Calls of the hold script at once, each on a connection of its own."""

AHEAD_MIN = 16
"""Requests that make a call worth sending before the one in flight is answered."""

Act = Batcher[ActRequest, ActAnswer]
OpenChannel = Callable[[Judge | None], ScriptChannel]

_MISSING = (Reply.UNKNOWN_SKU, Reply.UNKNOWN_RESERVATION)
"""Answers that a Redis which lost everything gives too."""


class Shard:
    """The batchers of one shard. `start` before use; `stop` sends what waits."""

    def __init__(
        self,
        number: int,
        open_channel: OpenChannel,
        config: Config,
        clock: Clock,
        on_pulse: OnPulse,
        tell: Tell = tell_nobody,
        open_confirm_channel: OpenChannel | None = None,
        guard: Guard | None = None,
    ) -> None:
        self.number = number
        self._guard = guard
        self._open_channel = open_channel
        self._open_confirm_channel = open_confirm_channel or open_channel
        self._on_pulse = on_pulse
        self._tell = tell
        self._clock = clock
        self._default_ttl_ms = config.hold.ttl_s * 1000
        self._limits = Limits(
            size_max=config.batch.size_max,
            weight_max=config.batch.lines_max,
            queue_max=config.batch.queue_max,
            deadline_s=config.batch.deadline_ms / 1000,
        )
        self._channels: list[ScriptChannel] = []
        self.hold = self._hold_batcher()
        self.pay = self._act_batcher("pay")
        self.confirm = self._act_batcher("confirm", self._open_confirm_channel)
        self.release = self._act_batcher("release")
        self.extend = self._act_batcher("extend")
        self.show = self._show_batcher()
        restorer = Restorer(self._commands(), config.retention.ended_s * 1000)
        self.restore = Batcher("restore", restorer.restore, self._limits, clock)

    def start(self) -> None:
        """Begin sending."""
        for batcher in self._batchers():
            batcher.start()

    async def stop(self) -> None:
        """Send what waits, then close the connections."""
        for batcher in self._batchers():
            await batcher.stop()
        for channel in self._channels:
            await channel.close()

    def _batchers(self) -> tuple[Batcher[Any, Any], ...]:
        acts = (self.pay, self.confirm, self.release, self.extend, self.show)
        return (self.hold, *acts, self.restore)

    def _commands(self, open_channel: OpenChannel | None = None) -> StockCommands:
        channel = (open_channel or self._open_channel)(self._guard)
        self._channels.append(channel)
        return StockCommands(channel, self.number, on_pulse=self._on_pulse)

    def _check(self) -> None:
        if self._guard is not None:
            self._guard.check()

    async def _doubt(self, codes: Container[int]) -> None:
        """Nothing is called unknown by a Redis that has lost what it knew. Raises StoreLost."""
        if self._guard is not None and any(code in codes for code in _MISSING):
            await self._guard.look()
            self._guard.check()

    def _hold_batcher(self) -> Batcher[HoldRequest, HoldAnswer]:
        free = [self._commands() for _ in range(HOLDS_IN_FLIGHT)]
        tally = Tally("hold", self._tell)

        async def send(batch: Sequence[HoldRequest]) -> list[HoldAnswer]:
            self._check()
            commands = free.pop()
            try:
                answers = await commands.hold(batch, self._default_ttl_ms)
            finally:
                free.append(commands)
            await self._doubt(tally.count(answer.code for answer in answers))
            return answers

        limits = replace(self._limits, in_flight_max=HOLDS_IN_FLIGHT, ahead_min=AHEAD_MIN)
        return Batcher("hold", send, limits, self._clock)

    def _act_batcher(self, name: str, open_channel: OpenChannel | None = None) -> Act:
        command = getattr(self._commands(open_channel), name)
        tally = Tally(name, self._tell)

        async def send(batch: Sequence[ActRequest]) -> list[ActAnswer]:
            self._check()
            answers: list[ActAnswer] = await command(batch)
            await self._doubt(tally.count(answer.code for answer in answers))
            return answers

        return Batcher(name, send, self._limits, self._clock)

    def _show_batcher(self) -> Act:
        commands = self._commands()

        async def send(batch: Sequence[ActRequest]) -> list[ActAnswer]:
            self._check()
            now_ms, records = await commands.show([request.field for request in batch])
            if not all(records):
                await self._doubt({Reply.UNKNOWN_RESERVATION})
            return [
                ActAnswer(Reply.DONE, record, now_ms)
                if record
                else ActAnswer(Reply.UNKNOWN_RESERVATION, None, now_ms)
                for record in records
            ]

        return Batcher("show", send, self._limits, self._clock)


class Tally:
    """Counts reply codes of one command, once a batch."""

    def __init__(self, command: str, tell: Tell) -> None:
        self._command = command
        self._tell = tell
        self._counters = {
            code: metrics.OUTCOMES.labels(command, code.name.lower()) for code in Reply
        }

    def count(self, codes: Iterable[int]) -> Counter[int]:
        """Add a batch's codes; a breach of the invariant raises the alarm. How many of each."""
        counts = Counter(codes)
        for code, times in counts.items():
            self._counters[Reply(code)].inc(times)
            if code == Reply.INVARIANT_BREACH:
                metrics.INVARIANT_BREACHES.inc(times)
                breach = Event(EventKind.INVARIANT_BREACHED, cause=self._command, count=times)
                self._tell(breach)
        return counts
