"""Dead letters as values. Times are milliseconds since the epoch."""

from typing import Literal

import msgspec

from gateway.ledger.types import DeductionLine

LetterState = Literal["waiting", "retrying", "resolved", "dismissed"]
LETTER_STATES: tuple[LetterState, ...] = ("waiting", "retrying", "resolved", "dismissed")
OPEN_STATES: tuple[LetterState, ...] = ("waiting", "retrying")


class NewLetter(msgspec.Struct, frozen=True):
    """An outbox entry that was given up.

    reservation_id: '' when the entry does not tell; record: the entry's text; detail: the error's
    words; tries: how often it was tried since it was last put into the outbox.
    """

    shard: int
    entry_id: str
    reservation_id: str
    record: str
    reason: str
    detail: str
    tries: int
    first_ms: int
    last_ms: int
    kind: str = "settle"


class Letter(msgspec.Struct, frozen=True):
    """A dead letter. Open (waiting, retrying) ones want a decision or a second chance.

    entry_id: the outbox entry that was given up last; tries: over all its entries.
    unfinished: the store has not yet followed the last decision.
    outcome: what the ledger has decided about its reservation ('' while nothing).
    """

    id: int
    kind: str
    shard: int
    entry_id: str
    reservation_id: str
    record: str
    reason: str
    detail: str
    tries: int
    first_ms: int
    last_ms: int
    state: LetterState
    actor: str
    note: str
    decided_ms: int
    unfinished: bool
    outcome: Literal["", "settled", "rejected"] = ""


class Dismissal(msgspec.Struct, frozen=True):
    """An operator's final no: the reservation as it is recorded as refused, as far as known."""

    actor: str
    note: str
    buyer: str = ""
    payment_ref: str = ""
    lines: tuple[DeductionLine, ...] = ()
