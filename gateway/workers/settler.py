"""The settler: takes confirmed reservations off the outbox and deducts them in the ledger.

read batch -> one ledger transaction -> mirror into Redis and acknowledge (one script).
A crash between any two steps repeats the batch: the ledger knows the reservation ids it has
decided about, and the mirror moves a reservation only if it is still confirmed.
"""

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence

from gateway.core import metrics
from gateway.core.clock import Clock
from gateway.core.codes import Reply
from gateway.core.config import SettlerConfig
from gateway.core.errors import InvariantBreach
from gateway.core.events import Event, EventKind, Tell, tell_nobody
from gateway.core.model import HeldLine, Line, Reservation
from gateway.ledger import Deduction, DeductionLine, Ledger, Outcome
from gateway.store.commands import StockCommands
from gateway.store.outbox import Entry, Outbox
from gateway.workers.loop import Loop

_log = logging.getLogger(__name__)

BLOCK_S = 1.0
"""How long a read waits for the first entry."""

IDLE_PAUSE_S = 0.01
"""Pause after a read that came back empty: some stores do not wait."""

MIRROR_LINES_MAX = 500
"""Lines of reservations mirrored in one script call."""

Mirror = Callable[[Sequence[tuple[str, str]]], Awaitable[list[Reply]]]

_MIRRORED = (Reply.DONE, Reply.UNCHANGED)


class Settler:
    """Settles one shard. Any number may run; the group gives each entry to one of them.

    on_step: told before each step ('deduct', 'mirror', 'done'); tests crash the process there.
    """

    def __init__(
        self,
        outbox: Outbox,
        commands: StockCommands,
        ledger: Ledger,
        config: SettlerConfig,
        clock: Clock,
        *,
        on_step: Callable[[str], None] = lambda _step: None,
        tell: Tell = tell_nobody,
    ) -> None:
        self._outbox = outbox
        self._commands = commands
        self._ledger = ledger
        self._config = config
        self._clock = clock
        self._on_step = on_step
        self._tell = tell
        self._recovering = True
        self._recover_after = "0"
        self._created = False
        self._claimed_at = clock.monotonic()
        self.loop = Loop("settler", self.step, clock, on_failure=self._recover)

    def _recover(self) -> None:
        """What was read may not have been acknowledged: read it again first."""
        metrics.SETTLER_FAILURES.inc()
        self._recovering, self._recover_after = True, "0"
        self._created = False  # the stream may be what was lost

    async def step(self) -> float:
        """Settle one batch; the pause before the next, s."""
        if not self._created:
            await self._outbox.create()
            self._created = True
        entries = await self._next_entries()
        if not entries:
            return 0.0 if self._recovering else IDLE_PAUSE_S
        started = self._clock.monotonic()
        await self._settle(entries)
        metrics.SETTLE_SECONDS.observe(self._clock.monotonic() - started)
        return 0.0

    async def _next_entries(self) -> list[Entry]:
        """Own unacknowledged work first, then what others left behind, then new work."""
        count = self._config.batch_max
        if self._recovering:
            entries = await self._outbox.read_own(count, self._recover_after)
            if entries:
                self._recover_after = entries[-1].entry_id
                return entries
            self._recovering, self._recover_after = False, "0"
        if self._clock.monotonic() - self._claimed_at >= self._config.idle_claim_s:
            self._claimed_at = self._clock.monotonic()
            entries = await self._outbox.claim_idle(count, self._config.idle_claim_s)
            if entries:
                return entries
        return await self._outbox.read_new(count, BLOCK_S)

    async def _settle(self, entries: Sequence[Entry]) -> None:
        self._on_step("deduct")
        outcomes = await self._deduct(entries)
        self._on_step("mirror")
        settled = [e for e in entries if (o := outcomes.get(e.entry_id)) and o.settled]
        rejected = [e for e in entries if (o := outcomes.get(e.entry_id)) and not o.settled]
        await self._mirror("settled", self._commands.settle, settled)
        await self._mirror("rejected", self._commands.reject, rejected)
        for entry in rejected:
            self._tell(Event(EventKind.DEDUCTION_REJECTED, reservation=entry.reservation.id))
        self._on_step("done")

    async def _mirror(self, outcome: str, command: Mirror, entries: Sequence[Entry]) -> None:
        for piece in _pieces(entries):
            codes = await command([(e.entry_id, e.field) for e in piece])
            _report(outcome, piece, codes)

    async def _deduct(self, entries: Sequence[Entry]) -> dict[str, Outcome]:
        """Outcomes by entry id; an entry without one stays pending: somebody has to look at it.

        One transaction for all; one each when the ledger's constraints refuse the whole.
        """
        deductions = {e.entry_id: d for e in entries if (d := _deduction(e.reservation))}
        try:
            outcomes = await self._ledger.deduct(list(deductions.values()))
        except InvariantBreach:
            alone = {entry_id: await self._deduct_alone(d) for entry_id, d in deductions.items()}
            return {entry_id: outcome for entry_id, outcome in alone.items() if outcome}
        return dict(zip(deductions, outcomes, strict=True))

    async def _deduct_alone(self, deduction: Deduction) -> Outcome | None:
        """None leaves the entry pending: somebody has to look at it."""
        try:
            return (await self._ledger.deduct([deduction]))[0]
        except InvariantBreach:
            metrics.INVARIANT_BREACHES.inc()
            _log.exception("ledger refuses reservation %s", deduction.reservation_id)
            return None


def _deduction(reservation: Reservation) -> Deduction | None:
    """None for what cannot be deducted at all."""
    try:
        return Deduction(
            reservation_id=reservation.id,
            buyer=reservation.buyer,
            payment_ref=reservation.payment_ref,
            lines=tuple(map(_deduction_line, reservation.lines)),
        )
    except ValueError:
        metrics.INVARIANT_BREACHES.inc()
        _log.exception("reservation %s makes no sense and stays in the outbox", reservation.id)
        return None


def _pieces(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Cut so that one script call does not hold Redis for long: by lines, not by entries."""
    piece: list[Entry] = []
    lines = 0
    for entry in entries:
        more = len(entry.reservation.lines)
        if piece and lines + more > MIRROR_LINES_MAX:
            yield piece
            piece, lines = [], 0
        piece.append(entry)
        lines += more
    if piece:
        yield piece


def _deduction_line(line: Line) -> DeductionLine:
    from_safety = line.from_safety if isinstance(line, HeldLine) else 0
    return DeductionLine(line.sku, line.quantity, from_safety)


def _report(outcome: str, entries: Sequence[Entry], codes: Sequence[Reply]) -> None:
    metrics.SETTLED.labels(outcome).inc(sum(code in _MIRRORED for code in codes))
    for entry, code in zip(entries, codes, strict=True):
        if code not in _MIRRORED:
            metrics.INVARIANT_BREACHES.inc()
            _log.error(
                "%s reservation %s cannot be mirrored: %s",
                outcome,
                entry.reservation.id,
                code.name.lower(),
            )
