"""Entries that failed by themselves: tried again with back-off, then filed as dead letters.

How often an entry was tried is kept in the store, so it survives the settler and is shared by all
settlers. An outage of a store is no try: it says nothing about the entry.
"""

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from gateway.core import faults, metrics
from gateway.core.clock import Clock
from gateway.core.events import Event, EventKind, Tell
from gateway.core.ids import make_id, split_id
from gateway.ledger import Ledger, NewLetter
from gateway.store.commands import Fault, Noted, StockCommands
from gateway.store.outbox import Delivery, Entry, Garbled, Outbox
from gateway.workers.deducting import Failure

_log = logging.getLogger(__name__)

TRIES_MAX = 3
PAUSE_FIRST_S = 1.0
PAUSE_MAX_S = 30.0
"""Between tries of an entry that waits for a repair."""

SUSPECTS_MAX = 10_000
"""Kept in memory; more of them come back by being taken over."""

TRIED_AT_ONCE_MAX = 20
"""Suspects tried in one round: each costs a transaction, and the good ones wait meanwhile."""

_HEAD = re.compile(r"([0-9A-HJKMNP-TV-Z]{14})\|[a-z]\|([0-9]{1,13})\|")


class Suspect(NamedTuple):
    """An entry with its failed tries, and the monotonic time, s, of the next."""

    work: Entry | Garbled
    tries: int
    due_s: float


class Suspects:
    """One settler's entries that failed."""

    def __init__(
        self,
        outbox: Outbox,
        commands: StockCommands,
        ledger: Ledger,
        clock: Clock,
        on_step: Callable[[str], None],
        tell: Tell,
    ) -> None:
        self._outbox = outbox
        self._commands = commands
        self._ledger = ledger
        self._clock = clock
        self._on_step = on_step
        self._tell = tell
        self._waiting: dict[str, Suspect] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def forget(self) -> None:
        """What was read before counts no longer; it will be read again."""
        self._waiting.clear()

    async def set_aside(self, delivery: Delivery) -> list[Entry]:
        """Keep those that have failed before until they are due; the others."""
        tried, now_ms = await self._outbox.tried(delivery.ids)
        now_s = self._clock.monotonic()
        works: list[Entry | Garbled] = [*delivery.entries, *delivery.garbled]
        for work in works:
            if known := tried.get(work.entry_id):
                due_s = now_s + max(0, known.due_ms - now_ms) / 1000
                self._keep(Suspect(work, known.tries, due_s))
        return [entry for entry in delivery.entries if entry.entry_id not in tried]

    def take_due(self) -> list[Suspect]:
        """Those whose time has come, the longest due first; a bounded number."""
        now_s = self._clock.monotonic()
        due = [s for s in self._waiting.values() if s.due_s <= now_s]
        due = sorted(due, key=lambda s: s.due_s)[:TRIED_AT_ONCE_MAX]
        for suspect in due:
            del self._waiting[suspect.work.entry_id]
        return due

    def next_due_s(self, most_s: float) -> float:
        """Seconds until the next is due, at most `most_s`."""
        if not self._waiting:
            return most_s
        first_s = min(s.due_s for s in self._waiting.values())
        return min(most_s, max(0.0, first_s - self._clock.monotonic()))

    async def garbled(self, works: Iterable[Garbled], tries: int = 0) -> None:
        """Count a try of entries that cannot be read."""
        unread = [work for work in works if work.entry_id not in self._waiting]
        for work in unread:
            _log.error(
                "outbox entry %s of shard %d cannot be read (%s): %r",
                work.entry_id,
                self._outbox.shard,
                work.why,
                work.text,
            )
        await self._failed([(work, tries, faults.UNREADABLE, work.why) for work in unread])

    async def failed(self, failures: Sequence[Failure], tries: int = 0) -> None:
        """Count a try of each; those out of tries become dead letters, the others wait."""
        await self._failed([(f.entry, tries, f.reason, f.detail) for f in failures])

    async def done(self, suspect: Suspect) -> None:
        """Forget what was noted of an entry that is settled after all."""
        await self._commands.bury([suspect.work.entry_id])

    async def _failed(self, failed: Sequence[tuple[Entry | Garbled, int, str, str]]) -> None:
        if not failed:
            return
        faulty = [
            Fault(work.entry_id, tries, self._pause_ms(tries, reason), reason)
            for work, tries, reason, _ in failed
        ]
        noted = await self._commands.note_faults(faulty)
        letters = []
        for (work, _, reason, detail), note in zip(failed, noted, strict=True):
            metrics.SETTLER_RETRIES.labels(reason).inc()
            if note.tries >= TRIES_MAX and reason not in faults.REPAIRABLE:
                letters.append(self._letter(work, reason, detail, note))
            elif note.tries:
                due_s = self._clock.monotonic() + (note.due_ms - note.now_ms) / 1000
                self._keep(Suspect(work, note.tries, due_s))
        await self._give_up(letters)

    async def _give_up(self, letters: Sequence[NewLetter]) -> None:
        """Letter first: a crash in between files it again, which changes nothing."""
        if not letters:
            return
        await self._ledger.letters.file(letters)
        self._on_step("bury")
        await self._commands.bury([letter.entry_id for letter in letters])
        for letter in letters:
            metrics.DEAD_LETTERS.labels(letter.reason).inc()
            self._tell(
                Event(
                    EventKind.DEAD_LETTER_ADDED,
                    reservation=letter.reservation_id,
                    cause=letter.reason,
                    detail=letter.detail,
                )
            )
            _log.error(
                "gave up outbox entry %s (reservation %s) after %d tries: %s",
                letter.entry_id,
                letter.reservation_id or "unknown",
                letter.tries,
                letter.reason,
            )

    def _letter(self, work: Entry | Garbled, reason: str, detail: str, note: Noted) -> NewLetter:
        return NewLetter(
            shard=self._outbox.shard,
            entry_id=work.entry_id,
            reservation_id=_reservation_id(work, self._outbox.shard),
            record=_clean(work.text),
            reason=reason,
            detail=_clean(detail),
            tries=note.tries,
            first_ms=note.first_ms,
            last_ms=note.now_ms,
        )

    def _keep(self, suspect: Suspect) -> None:
        if len(self._waiting) < SUSPECTS_MAX or suspect.work.entry_id in self._waiting:
            self._waiting[suspect.work.entry_id] = suspect

    def _pause_ms(self, tries: int, reason: str) -> int:
        """Doubling from a second, jittered."""
        longest_s = min(PAUSE_MAX_S, PAUSE_FIRST_S * 2.0 ** min(tries, 10))
        return int(1000 * longest_s * (0.5 + self._clock.jitter() / 2))


def _clean(text: str) -> str:
    """Without what PostgreSQL keeps in no text."""
    return text.replace("\0", "\ufffd")


def _reservation_id(work: Entry | Garbled, shard: int) -> str:
    """The reservation's id, or '' when the entry does not tell."""
    if isinstance(work, Entry):
        id_ = work.reservation.id
    else:
        head = _HEAD.match(work.text)
        id_ = make_id(int(head[2]), shard, head[1]) if head else ""
    return id_ if split_id(id_) else ""
