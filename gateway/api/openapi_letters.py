"""The administrators' calls about dead letters."""

from typing import Any, Final

from gateway.api import schemas_letters as s
from gateway.api.openapi_operations import Answer, Operation

LETTER: Final[dict[str, Any]] = {
    "id": "17",
    "kind": "settle",
    "state": "waiting",
    "reason": "ledger-refused",
    "detail": "InvariantBreach('the ledger refused a write: CHECK constraint failed')",
    "record": "7B2N8R6W1CD4X0|c|1794391200000|1794392100000|aGVsbG8h|buyer-17|app|pay-8|phone-x*1",
    "tries": 3,
    "first_at": "2026-11-11T10:00:00.250Z",
    "last_at": "2026-11-11T10:00:03.500Z",
    "reservation_id": "01KZ3V9Q2M00X4T7B2N8R6W1CD",
}
_DECIDED: Final = {"decided_at": "2026-11-11T10:20:00.000Z", "decided_by": "operations"}
_RETRYING: Final = LETTER | _DECIDED | {"state": "retrying"}
_DISMISSED: Final = (
    LETTER
    | _DECIDED
    | {
        "state": "dismissed",
        "note": "order cancelled by phone",
        "outcome": "rejected",
        "refund_required": True,
    }
)

LETTERS: Final = (
    Operation(
        "get",
        "/v1/admin/dead-letters",
        "listDeadLetters",
        "Administration",
        "What could not be settled",
        "Confirmed reservations that failed by themselves three times while both stores answered, "
        "the oldest first, a page at a time; `next` is the following page's cursor. Their units "
        "stay unsettled until somebody decides.",
        (Answer(200, "A page.", s.DeadLetterListOut, example={"items": [LETTER]}),),
        scope="admin",
        query=s.DeadLetterListQuery,
        problems=("ledger-unavailable",),
    ),
    Operation(
        "get",
        "/v1/admin/dead-letters/{id}",
        "getDeadLetter",
        "Administration",
        "One dead letter",
        "With what was decided about it since.",
        (Answer(200, "The dead letter.", s.DeadLetterOut, example=LETTER),),
        scope="admin",
        parameters=("DeadLetterId",),
        problems=("unknown-dead-letter", "ledger-unavailable"),
    ),
    Operation(
        "post",
        "/v1/admin/dead-letters/{id}/retry",
        "retryDeadLetter",
        "Administration",
        "Try to settle it again",
        "Puts the reservation on its way to the ledger again, once however often it is asked for. "
        "The letter is `retrying` until the ledger has decided, then `resolved`; if it fails "
        "again it is `waiting` again, with more tries.",
        (Answer(200, "On its way, or settled already.", s.DeadLetterOut, example=_RETRYING),),
        scope="admin",
        parameters=("DeadLetterId",),
        problems=(
            "unknown-dead-letter",
            "dead-letter-not-waiting",
            "dead-letter-not-retryable",
            "ledger-unavailable",
        ),
    ),
    Operation(
        "post",
        "/v1/admin/dead-letters/{id}/dismiss",
        "dismissDeadLetter",
        "Administration",
        "Give it up for good",
        "A final decision, kept on record with its note. What the ledger has not decided it now "
        "refuses for ever: the units go back on sale, and with `refund_required` the payment must "
        "be returned. What the ledger has sold stays sold.",
        (Answer(200, "Closed.", s.DeadLetterOut, example=_DISMISSED),),
        scope="admin",
        parameters=("DeadLetterId",),
        body=s.DismissIn,
        example={"note": "order cancelled by phone"},
        problems=("unknown-dead-letter", "dead-letter-not-waiting", "ledger-unavailable"),
    ),
)
