"""The administrators' calls about dead letters: list, show, retry, dismiss."""

from msgspec import UNSET

from gateway.api import decoders
from gateway.api.endpoint import Call, Reply, json_reply
from gateway.api.problems import BadRequest, FieldError
from gateway.api.query import decode_query, row_number
from gateway.api.schemas_letters import DeadLetterListOut, DeadLetterListQuery, DeadLetterOut
from gateway.api.storefront import refusal
from gateway.api.times import rfc3339
from gateway.ledger import Letter
from gateway.sale.dead_letters import Answer


async def list_letters(call: Call) -> Reply:
    """GET /v1/admin/dead-letters"""
    query = decode_query(call.query(), DeadLetterListQuery)
    after = row_number(query.cursor) if query.cursor else 0
    if after is None:
        raise BadRequest("invalid-request", [FieldError("", "cursor", parameter="cursor")])
    states = () if query.state is UNSET else (query.state,)
    letters = await call.services.letters.page(states=states, after=after, limit=query.limit)
    out = DeadLetterListOut([letter_out(letter) for letter in letters])
    if len(letters) == query.limit:
        out = DeadLetterListOut(out.items, next=str(letters[-1].id))
    return json_reply(200, out)


async def show(call: Call) -> Reply:
    """GET /v1/admin/dead-letters/{id}"""
    letter_id = row_number(call.parameter("id"))
    if letter_id is None:
        return call.problem("unknown-dead-letter")
    return _reply(call, await call.services.letters.get(letter_id))


async def retry(call: Call) -> Reply:
    """POST /v1/admin/dead-letters/{id}/retry"""
    decoders.decode_empty(await call.body())
    letter_id = row_number(call.parameter("id"))
    if letter_id is None:
        return call.problem("unknown-dead-letter")
    return _reply(call, await call.services.letters.retry(letter_id, call.caller.name))


async def dismiss(call: Call) -> Reply:
    """POST /v1/admin/dead-letters/{id}/dismiss"""
    wanted = await call.read(decoders.DISMISS)
    letter_id = row_number(call.parameter("id"))
    if letter_id is None:
        return call.problem("unknown-dead-letter")
    letters = call.services.letters
    return _reply(call, await letters.dismiss(letter_id, call.caller.name, wanted.note))


def letter_out(letter: Letter) -> DeadLetterOut:
    """A letter as the API shows it; what does not apply is left out."""
    return DeadLetterOut(
        id=str(letter.id),
        kind=letter.kind,
        state=letter.state,
        reason=letter.reason,
        detail=letter.detail,
        record=letter.record,
        tries=letter.tries,
        first_at=rfc3339(letter.first_ms),
        last_at=rfc3339(letter.last_ms),
        reservation_id=letter.reservation_id or UNSET,
        outcome=letter.outcome or UNSET,
        refund_required=True if letter.outcome == "rejected" else UNSET,
        decided_at=rfc3339(letter.decided_ms) if letter.decided_ms else UNSET,
        decided_by=letter.actor or UNSET,
        note=letter.note or UNSET,
    )


def _reply(call: Call, answer: Answer) -> Reply:
    if isinstance(answer, Letter):
        return json_reply(200, letter_out(answer))
    return refusal(call, answer)
