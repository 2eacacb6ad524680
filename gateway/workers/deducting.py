"""Deducting a batch so that an entry which the ledger cannot take holds up none of the others."""

import logging
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from gateway.core import faults, metrics
from gateway.core.errors import InvariantBreach
from gateway.core.model import HeldLine, Line, Reservation
from gateway.ledger import Deduction, DeductionLine, Outcome
from gateway.store.outbox import Entry

_log = logging.getLogger(__name__)


class Deducts(Protocol):
    """The part of the ledger that is needed here."""

    async def deduct(self, batch: Sequence[Deduction]) -> list[Outcome]:
        """See Ledger.deduct."""
        ...


class Failure(NamedTuple):
    """An entry that could not be settled now: why, as one of core/faults.py and in words."""

    entry: Entry
    reason: str
    detail: str


class Decided(NamedTuple):
    """What became of a batch: entries the ledger sold, refused, and could not decide about.

    covered: units by reservation id that were missing and came out of the safety stock.
    """

    settled: list[Entry]
    rejected: list[Entry]
    failed: list[Failure]
    covered: dict[str, int]


class Deductor:
    """Asks the ledger about entries: all in one transaction, or in halves where it cannot.

    What says nothing about the entries (LedgerUnavailable, our own bugs) is raised: all will be
    asked for again. What the ledger refuses to take down is halved until the culprit stands alone,
    so a batch of 500 with one culprit costs about 18 transactions instead of 500.
    """

    def __init__(self, ledger: Deducts) -> None:
        self._ledger = ledger

    async def decide(self, entries: Sequence[Entry]) -> Decided:
        """Each entry is in one of the three lists; each reservation is deducted at most once."""
        decided = Decided([], [], [], {})
        good: list[tuple[Entry, Deduction]] = []
        for entry in entries:
            try:
                good.append((entry, _deduction(entry.reservation)))
            except ValueError as error:
                decided.failed.append(Failure(entry, faults.INVALID, str(error)))
        await self._decide(good, decided)
        return decided

    async def _decide(self, pairs: Sequence[tuple[Entry, Deduction]], decided: Decided) -> None:
        outcomes = await self._ask([deduction for _, deduction in pairs])
        if isinstance(outcomes, Exception):
            return await self._divide(pairs, decided, outcomes)
        for (entry, _), outcome in zip(pairs, outcomes, strict=True):
            (decided.settled if outcome.settled else decided.rejected).append(entry)
            if outcome.covered:
                decided.covered[outcome.reservation_id] = outcome.covered

    async def _ask(self, batch: Sequence[Deduction]) -> list[Outcome] | Exception:
        """The outcomes, or what a constraint, or the driver of a value it cannot send, says."""
        try:
            return await self._ledger.deduct(batch)
        except (InvariantBreach, ValueError, OverflowError) as error:
            return error

    async def _divide(
        self, pairs: Sequence[tuple[Entry, Deduction]], decided: Decided, error: Exception
    ) -> None:
        if len(pairs) == 1:
            entry = pairs[0][0]
            metrics.INVARIANT_BREACHES.inc()
            _log.error("ledger refuses reservation %s: %r", entry.reservation.id, error)
            decided.failed.append(Failure(entry, faults.LEDGER_REFUSED, repr(error)))
            return
        middle = len(pairs) // 2
        await self._decide(pairs[:middle], decided)
        await self._decide(pairs[middle:], decided)


def _deduction(reservation: Reservation) -> Deduction:
    """Raises ValueError for what cannot be deducted at all."""
    return Deduction(
        reservation_id=reservation.id,
        buyer=reservation.buyer,
        payment_ref=reservation.payment_ref,
        lines=tuple(map(deduction_line, reservation.lines)),
    )


def deduction_line(line: Line) -> DeductionLine:
    """A line as the ledger takes it. Raises ValueError when its numbers are out of range."""
    from_safety = line.from_safety if isinstance(line, HeldLine) else 0
    return DeductionLine(line.sku, line.quantity, from_safety)
