"""Dead letters: what the settler gave up, why, and what was decided about it since."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    Index,
    Integer,
    Row,
    Select,
    String,
    Table,
    Update,
    func,
    insert,
    select,
    text,
    update,
)

from gateway.core.clock import Clock
from gateway.ledger.deduct import recorded_outcomes
from gateway.ledger.dismissal import refuse
from gateway.ledger.engine import Database
from gateway.ledger.letter_types import OPEN_STATES, Dismissal, Letter, LetterState, NewLetter
from gateway.ledger.tables import metadata
from gateway.ledger.types import Outcome

RECORD_CHARS_MAX = 4_000
DETAIL_CHARS_MAX = 500


def _text(name: str) -> Column[str]:
    return Column(name, String, nullable=False, default="", server_default="")


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, default=0, server_default="0")


dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    _text("kind"),
    _count("shard"),
    _text("entry_id"),
    _text("reservation_id"),
    _text("record"),
    _text("reason"),
    _text("detail"),
    _count("tries"),
    _count("first_at_ms"),
    _count("last_at_ms"),
    _text("state"),
    _text("actor"),
    _text("note"),
    _count("decided_at_ms"),
    _count("unfinished"),
    CheckConstraint(
        "state IN ('waiting', 'retrying', 'resolved', 'dismissed')", name="dead_letters_state"
    ),
    CheckConstraint("unfinished IN (0, 1)", name="dead_letters_unfinished"),
)
Index(
    "dead_letters_entry",
    dead_letters.c.kind,
    dead_letters.c.shard,
    dead_letters.c.entry_id,
    unique=True,
)
_OPEN = text("reservation_id <> '' AND state IN ('waiting', 'retrying')")
Index(
    "dead_letters_one_open",
    dead_letters.c.reservation_id,
    unique=True,
    sqlite_where=_OPEN,
    postgresql_where=_OPEN,
)
Index("dead_letters_state_id", dead_letters.c.state, dead_letters.c.id)
_UNFINISHED = text("unfinished = 1")
Index(
    "dead_letters_to_finish",
    dead_letters.c.id,
    sqlite_where=_UNFINISHED,
    postgresql_where=_UNFINISHED,
)

_c = dead_letters.c


class DeadLetterBook:
    """The ledger's dead letters. Every call is one transaction; raises as the Ledger's do."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def file(self, letters: Sequence[NewLetter]) -> None:
        """Keep what was given up: one open letter a reservation, one letter an entry.

        Filing an entry again changes nothing, so that it may be repeated after a crash.
        """
        if letters:
            await self._database.write(partial(_file, letters=letters))

    async def get(self, letter_id: int) -> Letter | None:
        """One letter."""
        return await self._database.read(partial(_find, letter_id=letter_id))

    async def page(
        self, *, states: Sequence[LetterState] = (), after: int = 0, limit: int = 100
    ) -> list[Letter]:
        """Up to `limit` letters numbered above `after`, the oldest first; all states if none."""
        query = select(dead_letters).where(_c.id > after).order_by(_c.id).limit(limit)
        if states:
            query = query.where(_c.state.in_(states))
        return await self._database.read(partial(_letters, query=query))

    async def unfinished(self, limit: int, after: int = 0) -> list[Letter]:
        """Letters whose last decision the store has not followed yet, the oldest first."""
        query = select(dead_letters).where(_UNFINISHED, _c.id > after)
        return await self._database.read(
            partial(_letters, query=query.order_by(_c.id).limit(limit))
        )

    async def open_by_reason(self) -> dict[str, int]:
        """How many letters are open, by reason."""
        return await self._database.read(_open_by_reason)

    async def begin_retry(self, letter_id: int, actor: str) -> Letter | None:
        """waiting -> retrying; the letter as it is then, changed or not. None: no such letter."""
        change = _decision(letter_id, "retrying", actor, self._clock.now_ms(), unfinished=1)
        return await self._database.write(
            partial(_apply, change=change.where(_c.state == "waiting"), letter_id=letter_id)
        )

    async def end_retry(self, letter: Letter, state: LetterState) -> None:
        """retrying -> resolved, or back to waiting; nothing if it was given up again meanwhile."""
        change = (
            update(dead_letters)
            .where(_c.id == letter.id, _c.state == "retrying", _c.tries == letter.tries)
            .values(state=state, unfinished=0)
        )
        await self._database.write(partial(_apply, change=change, letter_id=letter.id))

    async def dismiss(self, letter_id: int, dismissal: Dismissal) -> Letter | None:
        """waiting -> dismissed. Unless the ledger had decided, the reservation is refused for good.

        Both in one transaction. The letter as it is then, changed or not; None: no such letter.
        """
        now_ms = self._clock.now_ms()
        return await self._database.write(
            partial(_dismiss, letter_id=letter_id, dismissal=dismissal, now_ms=now_ms)
        )

    async def finish(self, letter_id: int) -> None:
        """The store has followed the dismissal."""
        change = update(dead_letters).where(_c.id == letter_id, _c.state == "dismissed")
        await self._database.write(
            partial(_apply, change=change.values(unfinished=0), letter_id=letter_id)
        )


def _file(connection: Connection, letters: Sequence[NewLetter]) -> None:
    for letter in letters:
        if not _is_filed(connection, letter) and not _reopened(connection, letter):
            connection.execute(insert(dead_letters).values(**_values(letter)))


def _is_filed(connection: Connection, letter: NewLetter) -> bool:
    query = select(_c.id).where(
        _c.kind == letter.kind, _c.shard == letter.shard, _c.entry_id == letter.entry_id
    )
    return connection.execute(query).first() is not None


def _reopened(connection: Connection, letter: NewLetter) -> bool:
    """Whether the reservation has an open letter; its second chance has failed, then."""
    if not letter.reservation_id:
        return False
    change = (
        update(dead_letters)
        .where(_c.reservation_id == letter.reservation_id, _OPEN)
        .values(
            entry_id=letter.entry_id,
            reason=letter.reason,
            detail=letter.detail[:DETAIL_CHARS_MAX],
            tries=_c.tries + letter.tries,
            last_at_ms=letter.last_ms,
            state="waiting",
            unfinished=0,
        )
    )
    return connection.execute(change).rowcount > 0


def _values(letter: NewLetter) -> dict[str, Any]:
    return {
        "kind": letter.kind,
        "shard": letter.shard,
        "entry_id": letter.entry_id,
        "reservation_id": letter.reservation_id,
        "record": letter.record[:RECORD_CHARS_MAX],
        "reason": letter.reason,
        "detail": letter.detail[:DETAIL_CHARS_MAX],
        "tries": letter.tries,
        "first_at_ms": letter.first_ms,
        "last_at_ms": letter.last_ms,
        "state": "waiting",
    }


def _decision(letter_id: int, state: str, actor: str, now_ms: int, *, unfinished: int) -> Update:
    values = {"state": state, "actor": actor, "decided_at_ms": now_ms, "unfinished": unfinished}
    return update(dead_letters).where(_c.id == letter_id).values(**values)


def _apply(connection: Connection, change: Update, letter_id: int) -> Letter | None:
    connection.execute(change)
    return _find(connection, letter_id)


def _dismiss(
    connection: Connection, letter_id: int, dismissal: Dismissal, now_ms: int
) -> Letter | None:
    locked = select(dead_letters).where(_c.id == letter_id).with_for_update()
    row = connection.execute(locked).one_or_none()
    if row is None or row.state != "waiting":
        return _find(connection, letter_id)
    if row.reservation_id:
        refuse(connection, row.reservation_id, dismissal, now_ms)
    change = _decision(
        letter_id, "dismissed", dismissal.actor, now_ms, unfinished=int(bool(row.reservation_id))
    )
    return _apply(connection, change.values(note=dismissal.note), letter_id)


def _find(connection: Connection, letter_id: int) -> Letter | None:
    found = _letters(connection, select(dead_letters).where(_c.id == letter_id))
    return found[0] if found else None


def _letters(connection: Connection, query: Select[Any]) -> list[Letter]:
    rows = connection.execute(query).all()
    known = recorded_outcomes(connection, {row.reservation_id for row in rows})
    return [_letter(row, known.get(row.reservation_id)) for row in rows]


def _letter(row: Row[Any], decided: Outcome | None) -> Letter:
    values = dict(row._mapping)
    for name in ("first", "last", "decided"):
        values[f"{name}_ms"] = values.pop(f"{name}_at_ms")
    values["unfinished"] = bool(values["unfinished"])
    if decided is None:
        return Letter(**values)
    return Letter(**values, outcome="settled" if decided.settled else "rejected")


def _open_by_reason(connection: Connection) -> dict[str, int]:
    query = select(_c.reason, func.count()).where(_c.state.in_(OPEN_STATES)).group_by(_c.reason)
    return {row[0]: row[1] for row in connection.execute(query)}
