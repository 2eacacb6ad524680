"""Which move is legal from which state; store/scripts.py gives each Lua command its rows."""

from enum import Enum
from typing import Literal, NamedTuple, TypeVar

from gateway.core.codes import Reply
from gateway.core.model import State


class Event(str, Enum):
    """What can happen to a reservation."""

    PAY = "pay"
    CONFIRM = "confirm"
    RELEASE = "release"
    EXTEND = "extend"
    EXPIRE = "expire"
    SETTLE = "settle"
    REJECT = "reject"


LETTERS: dict[State, str] = {
    State.HELD: "h",
    State.PAYING: "p",
    State.CONFIRMED: "c",
    State.SETTLED: "s",
    State.REJECTED: "j",
    State.RELEASED: "r",
    State.EXPIRED: "x",
}
"""One letter a state, as records keep it."""

STATES: dict[str, State] = {letter: state for state, letter in LETTERS.items()}

T = TypeVar("T")
Rule = State | Reply
"""The next state, or why not."""


def _row(*values: T) -> dict[State, T]:
    """One value a state, in the order of State; one too few or too many does not load."""
    return dict(zip(State, values, strict=True))


_CONFIRMED, _REJECTED = Reply.IS_CONFIRMED, Reply.IS_REJECTED
_RELEASED, _EXPIRED = Reply.IS_RELEASED, Reply.IS_EXPIRED
_SAME, _ILLEGAL = Reply.UNCHANGED, Reply.ILLEGAL
_S = State

# Columns in the order of State: held, paying, confirmed, settled, rejected, released, expired.
# expired -> confirmed is legal by the late-payment rule only.
TRANSITIONS: dict[Event, dict[State, Rule]] = {
    Event.PAY: _row(_S.PAYING, _SAME, _CONFIRMED, _CONFIRMED, _REJECTED, _RELEASED, _EXPIRED),
    Event.CONFIRM: _row(
        _S.CONFIRMED, _S.CONFIRMED, _SAME, _SAME, _REJECTED, _RELEASED, _S.CONFIRMED
    ),
    Event.RELEASE: _row(
        _S.RELEASED, _S.RELEASED, _CONFIRMED, _CONFIRMED, _REJECTED, _SAME, _EXPIRED
    ),
    Event.EXTEND: _row(_S.HELD, _S.PAYING, _CONFIRMED, _CONFIRMED, _REJECTED, _RELEASED, _EXPIRED),
    Event.EXPIRE: _row(_S.EXPIRED, _S.EXPIRED, _CONFIRMED, _CONFIRMED, _REJECTED, _RELEASED, _SAME),
    Event.SETTLE: _row(_ILLEGAL, _ILLEGAL, _S.SETTLED, _SAME, _ILLEGAL, _ILLEGAL, _ILLEGAL),
    Event.REJECT: _row(_ILLEGAL, _ILLEGAL, _S.REJECTED, _ILLEGAL, _SAME, _ILLEGAL, _ILLEGAL),
}


class Facts(NamedTuple):
    """What the jobs that look at reservations need to know of a state.

    units: the term of the invariant that its units are in; '' when they are no longer its own.
    counted: its units count against the buyer's limit.
    expires: past its deadline it counts as expired, and the reaper makes it so.
    owed: the ledger has to decide about it: it is in the outbox, or in a dead letter.
    forgotten: it has ended, and is forgotten after the retention time.
    """

    units: Literal["held", "unsettled", "sold", ""]
    counted: bool
    expires: bool
    owed: bool
    forgotten: bool


_HOLDING = Facts("held", counted=True, expires=True, owed=False, forgotten=False)
_OWED = Facts("unsettled", counted=True, expires=False, owed=True, forgotten=False)
_SOLD = Facts("sold", counted=True, expires=False, owed=False, forgotten=True)
_ENDED = Facts("", counted=False, expires=False, owed=False, forgotten=True)

FACTS: dict[State, Facts] = _row(_HOLDING, _HOLDING, _OWED, _SOLD, _ENDED, _ENDED, _ENDED)
"""By state. Whoever adds a state decides here what every job does with it."""
