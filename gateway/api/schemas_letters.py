"""The shape of what is said about dead letters."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gateway.api.schemas import Cursor, MomentText, PageSize, Reason, ReservationId

LetterStateName = Literal["waiting", "retrying", "resolved", "dismissed"]


class DismissIn(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Why a dead letter is given up for good."""

    note: Annotated[Reason, Meta(description="Kept on record, one line.")]


class DeadLetterListQuery(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The query of the dead letters listing."""

    state: Annotated[LetterStateName, Meta(description="Only this state.")] | UnsetType = UNSET
    cursor: Cursor = ""
    limit: PageSize = 100


class DeadLetterOut(msgspec.Struct, frozen=True):
    """An entry of the outbox that was given up, and what has been decided about it."""

    id: Annotated[str, Meta(examples=["17"])]
    kind: Annotated[str, Meta(description="What was to be done.", examples=["settle"])]
    state: Annotated[
        LetterStateName, Meta(description="`waiting` for a decision, `retrying`, or closed.")
    ]
    reason: Annotated[
        str, Meta(description="Stable: let programs decide by this.", examples=["ledger-refused"])
    ]
    detail: Annotated[str, Meta(description="The error's words.")]
    record: Annotated[str, Meta(description="The entry's text.")]
    tries: Annotated[int, Meta(ge=1)]
    first_at: Annotated[MomentText, Meta(description="The first try that failed.")]
    last_at: Annotated[MomentText, Meta(description="The last try that failed.")]
    reservation_id: ReservationId | UnsetType = UNSET
    outcome: (
        Annotated[
            Literal["settled", "rejected"],
            Meta(description="What the ledger has decided about the reservation, if it has."),
        ]
        | UnsetType
    ) = UNSET
    refund_required: (
        Annotated[bool, Meta(description="The buyer's payment must be returned.")] | UnsetType
    ) = UNSET
    decided_at: MomentText | UnsetType = UNSET
    decided_by: Annotated[str, Meta(description="Whose key decided last.")] | UnsetType = UNSET
    note: str | UnsetType = UNSET


class DeadLetterListOut(msgspec.Struct, frozen=True):
    """A page of dead letters, the oldest first."""

    items: list[DeadLetterOut]
    next: Cursor | UnsetType = UNSET
