"""Dead letters and what an operator can do about them: look, retry, dismiss.

Each decision is recorded in the ledger first and then followed in the store. Both halves may be
repeated, so a decision that a crash left half done is driven on by `drive`.
"""

from collections.abc import Sequence

from gateway.core import faults, metrics
from gateway.core.clock import Clock
from gateway.core.codes import Reply
from gateway.core.errors import InvariantBreach
from gateway.core.ids import split_id
from gateway.core.model import HeldLine, Reservation, State
from gateway.ledger import (
    DeductionLine,
    Dismissal,
    Ledger,
    Letter,
    LetterState,
)
from gateway.sale.catalogue import Turns
from gateway.sale.outcomes import Refused
from gateway.store.commands import StockCommands
from gateway.store.records import parse_record

DRIVEN_AT_ONCE_MAX = 100

UNKNOWN = Refused("unknown-dead-letter")
NOT_RETRYABLE = Refused("dead-letter-not-retryable")

_ON_ITS_WAY = (Reply.DONE, Reply.UNCHANGED)
_DECIDED = (State.SETTLED, State.REJECTED)

Answer = Letter | Refused


class DeadLetters:
    """The dead letters of all shards. Raises as the ledger and the store do.

    commands: one a shard, used by nobody else; decisions are followed one at a time.
    """

    def __init__(self, commands: Sequence[StockCommands], ledger: Ledger, clock: Clock) -> None:
        self._commands = commands
        self._book = ledger.letters
        self._turns = Turns(clock)
        self._after = 0

    async def page(
        self, *, states: Sequence[LetterState] = (), after: int = 0, limit: int = 100
    ) -> list[Letter]:
        """Up to `limit` letters numbered above `after`, the oldest first; all states if none."""
        return await self._book.page(states=states, after=after, limit=limit)

    async def get(self, letter_id: int) -> Answer:
        """One letter."""
        return await self._book.get(letter_id) or UNKNOWN

    async def retry(self, letter_id: int, actor: str) -> Answer:
        """Put the letter's reservation on its way again, once.

        The letter is `retrying` until the ledger has decided, or `resolved` if it has already;
        refused when there is no confirmed reservation to put on its way.
        """
        letter = await self._book.begin_retry(letter_id, actor)
        if letter is None:
            return UNKNOWN
        if letter.state != "retrying":
            return _not_waiting(letter)
        async with self._turns.take():
            return await self._redrive(letter)

    async def dismiss(self, letter_id: int, actor: str, note: str) -> Answer:
        """Close the letter for good.

        What the ledger has not decided, it now refuses for ever: the units go back on sale and
        the payment has to be returned. What the ledger has sold stays sold.
        """
        async with self._turns.take():
            letter = await self._book.get(letter_id)
            if letter is None:
                return UNKNOWN
            reservation = await self._reservation(letter)
            closed = await self._book.dismiss(letter_id, _dismissal(reservation, actor, note))
            if closed is None:
                return UNKNOWN
            if closed.state != "dismissed" or (closed.actor, closed.note) != (actor, note):
                return _not_waiting(closed)
            return await self._follow(closed)

    async def drive(self) -> None:
        """Drive on decisions that were left half done, a bounded number at a time."""
        letters = await self._book.unfinished(DRIVEN_AT_ONCE_MAX, self._after)
        self._after = letters[-1].id if len(letters) == DRIVEN_AT_ONCE_MAX else 0
        for letter in letters:
            async with self._turns.take():
                await (self._redrive if letter.state == "retrying" else self._follow)(letter)
        await self._count_open()

    async def _count_open(self) -> None:
        counts = await self._book.open_by_reason()
        for reason in faults.REASONS:
            metrics.DEAD_LETTERS_OPEN.labels(reason).set(counts.get(reason, 0))

    async def _redrive(self, letter: Letter) -> Answer:
        parts = split_id(letter.reservation_id)
        if parts is None or parts[1] >= len(self._commands):
            return await self._end_retry(letter, "waiting")
        created_ms, shard, field = parts
        token = f"{letter.id}.{letter.tries}"
        code, record = await self._commands[shard].redrive(field, created_ms, token)
        if code in _ON_ITS_WAY:
            return letter
        gone = code is Reply.UNKNOWN_RESERVATION and letter.outcome
        if gone or (code is Reply.ILLEGAL and _state_of(field, shard, record) in _DECIDED):
            return await self._end_retry(letter, "resolved")
        return await self._end_retry(letter, "waiting")

    async def _end_retry(self, letter: Letter, state: LetterState) -> Answer:
        await self._book.end_retry(letter, state)
        return NOT_RETRYABLE if state == "waiting" else await self.get(letter.id)

    async def _follow(self, letter: Letter) -> Answer:
        """Mirror the ledger's word; what cannot be mirrored yet stays unfinished."""
        reservation = await self._reservation(letter)
        if letter.unfinished and reservation is not None and letter.outcome:
            commands = self._commands[letter.shard]
            mirror = commands.settle if letter.outcome == "settled" else commands.reject
            try:
                [code] = await mirror([(letter.entry_id, letter.reservation_id[12:])])
            except InvariantBreach:
                code = Reply.INVARIANT_BREACH
            if code is Reply.REBUILDING:
                return letter
            if code is Reply.INVARIANT_BREACH:
                metrics.INVARIANT_BREACHES.inc()
                return letter
        await self._book.finish(letter.id)
        return await self.get(letter.id)

    async def _reservation(self, letter: Letter) -> Reservation | None:
        """The letter's reservation as the store has it."""
        parts = split_id(letter.reservation_id)
        if parts is None or parts[1] >= len(self._commands):
            return None
        _, [record] = await self._commands[parts[1]].show([parts[2]])
        try:
            found = parse_record(parts[2], parts[1], record) if record else None
        except InvariantBreach:
            return None
        return found if found is not None and found.id == letter.reservation_id else None


def _state_of(field: str, shard: int, record: bytes | None) -> State | None:
    try:
        return parse_record(field, shard, record).state if record else None
    except InvariantBreach:
        return None


def _not_waiting(letter: Letter) -> Refused:
    return Refused("dead-letter-not-waiting", {"letter_state": letter.state})


def _dismissal(reservation: Reservation | None, actor: str, note: str) -> Dismissal:
    if reservation is None:
        return Dismissal(actor, note)
    return Dismissal(actor, note, reservation.buyer, reservation.payment_ref, _lines(reservation))


def _lines(reservation: Reservation) -> tuple[DeductionLine, ...]:
    """The lines as far as the ledger can keep them: one a SKU, with units."""
    lines: dict[str, DeductionLine] = {}
    for line in reservation.lines:
        from_safety = line.from_safety if isinstance(line, HeldLine) else 0
        try:
            lines.setdefault(line.sku, DeductionLine(line.sku, line.quantity, from_safety))
        except ValueError:
            continue
    return tuple(lines.values())
