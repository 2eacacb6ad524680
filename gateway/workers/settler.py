"""The settler: takes confirmed reservations off the outbox and deducts them in the ledger.

read batch -> one ledger transaction -> mirror into Redis and acknowledge (one script).
A crash between any two steps repeats the batch: the ledger knows the reservation ids it has
decided about, and the mirror moves a reservation only if it is still confirmed.

Two kinds of failure are told apart. A store that cannot be asked (StoreUnavailable,
OutcomeUnknown, LedgerUnavailable) says nothing about the entries: the whole batch is read again
after a pause, for ever. An entry that fails while the stores answer is set aside (suspects.py),
so that the others go on.
"""

from collections.abc import Callable, Sequence

from gateway.core import metrics
from gateway.core.clock import Clock
from gateway.core.config import SettlerConfig
from gateway.core.events import Event, EventKind, Tell, tell_nobody
from gateway.core.model import HeldLine
from gateway.ledger import Ledger
from gateway.store.commands import StockCommands
from gateway.store.outbox import NOTHING, START, Delivery, Entry, Garbled, Outbox
from gateway.workers.deducting import Decided, Deductor, Failure
from gateway.workers.loop import Loop
from gateway.workers.mirroring import Mirrorer
from gateway.workers.suspects import Suspect, Suspects

BLOCK_S = 1.0
"""How long a read waits for the first entry."""

IDLE_PAUSE_S = 0.01
"""Pause after a read that came back empty: some stores do not wait."""

BATCH_MIN = 16
"""Batches are halved down to this while the ledger fails: a smaller one may be done in time."""


class Settler:
    """Settles one shard. Any number may run; the group gives each entry to one of them.

    on_step: told before each step ('deduct', 'mirror', 'bury', 'done'); tests crash the process
    there.
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
        self._deductor = Deductor(ledger)
        self._mirrorer = Mirrorer(commands)
        self._suspects = Suspects(outbox, commands, ledger, clock, on_step, tell)
        self._config = config
        self._clock = clock
        self._on_step = on_step
        self._tell = tell
        self._recovering = True
        self._recover_after = START
        self._created = False
        self._claim_after = START
        self._claimed_at = clock.monotonic()
        self._batch = config.batch_max
        self.loop = Loop("settler", self.step, clock, on_failure=self._recover)

    def _recover(self) -> None:
        """What was read may not have been acknowledged: read it again first."""
        metrics.SETTLER_FAILURES.inc()
        self._recovering, self._recover_after = True, START
        self._created = False  # the stream may be what was lost
        self._suspects.forget()
        self._batch = max(min(BATCH_MIN, self._config.batch_max), self._batch // 2)

    async def step(self) -> float:
        """Settle one batch, then what is due of those set aside; the pause before the next, s."""
        if not self._created:
            await self._outbox.create()
            self._created = True
        delivery = await self._next()
        due = self._suspects.take_due()
        if not delivery.ids and not due:
            return 0.0 if self._recovering else IDLE_PAUSE_S
        started = self._clock.monotonic()
        await self._settle(delivery)
        for suspect in due:
            await self._try_again(suspect)
        metrics.SETTLE_SECONDS.observe(self._clock.monotonic() - started)
        self._batch = min(self._config.batch_max, self._batch * 2)
        return 0.0

    async def _next(self) -> Delivery:
        """Own unacknowledged work first, then what others left behind, then new work."""
        delivery = await self._own()
        if not delivery.ids:
            delivery = await self._left_behind()
        if not delivery.ids:
            return await self._outbox.read_new(self._batch, self._suspects.next_due_s(BLOCK_S))
        good = await self._suspects.set_aside(delivery)
        return delivery._replace(entries=good)

    async def _own(self) -> Delivery:
        if not self._recovering:
            return NOTHING
        delivery = await self._outbox.read_own(self._batch, self._recover_after)
        self._recovering, self._recover_after = bool(delivery.ids), delivery.last
        return delivery

    async def _left_behind(self) -> Delivery:
        """A page of a walk over what was left; a walk begins every `idle_claim_s`."""
        idle_s = self._config.idle_claim_s
        if self._claim_after == START:
            if self._clock.monotonic() - self._claimed_at < idle_s:
                return NOTHING
            self._claimed_at = self._clock.monotonic()
        delivery = await self._outbox.claim_idle(self._batch, idle_s, self._claim_after)
        self._claim_after = delivery.last
        return delivery

    async def _settle(self, delivery: Delivery) -> None:
        if delivery.entries:
            await self._suspects.failed(await self._work_off(delivery.entries))
        await self._suspects.garbled(delivery.garbled)
        self._on_step("done")

    async def _work_off(self, entries: Sequence[Entry]) -> list[Failure]:
        """Deduct and mirror; those that could not be."""
        self._on_step("deduct")
        decided = await self._deductor.decide(entries)
        self._on_step("mirror")
        unmirrored = await self._mirrorer.settle(decided.settled)
        unmirrored += await self._mirrorer.reject(decided.rejected)
        for entry in decided.rejected:
            self._tell(Event(EventKind.DEDUCTION_REJECTED, reservation=entry.reservation.id))
        self._tell_safety_used(decided)
        return [*decided.failed, *unmirrored]

    def _tell_safety_used(self, decided: Decided) -> None:
        """At least once: an entry that is worked off again tells of its late payment again."""
        for entry in decided.settled:
            r = entry.reservation
            for line in r.lines:
                if isinstance(line, HeldLine) and line.from_safety:
                    cause, units = "late-payment", line.from_safety
                    self._tell(Event(EventKind.SAFETY_USED, line.sku, r.id, cause, count=units))
            if units := decided.covered.get(r.id, 0):
                sku = r.lines[0].sku if len(r.lines) == 1 else ""
                self._tell(Event(EventKind.SAFETY_USED, sku, r.id, "shortfall", count=units))

    async def _try_again(self, suspect: Suspect) -> None:
        """Alone, so that it takes none of the others with it."""
        if isinstance(suspect.work, Garbled):
            await self._suspects.garbled([suspect.work], suspect.tries)
            return
        failures = await self._work_off([suspect.work])
        if failures:
            await self._suspects.failed(failures, suspect.tries)
        else:
            await self._suspects.done(suspect)
