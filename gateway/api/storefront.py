"""The storefront's calls: reservations and stock reads."""

from collections.abc import Iterable

from gateway.api import decoders
from gateway.api import headers as h
from gateway.api.endpoint import Call, Reply, error_code, json_reply
from gateway.api.problems import BadRequest, FieldError, as_dict
from gateway.api.query import decode_query
from gateway.api.schemas import (
    BatchOut,
    BatchResultOut,
    ReservationIn,
    StockListOut,
    StockQuery,
)
from gateway.api.views import (
    WINDOW_CACHE,
    problem_params,
    reservation_json,
    stock_answer,
    stock_out,
)
from gateway.core.errors import OutcomeUnknown, StockgateError
from gateway.core.model import State, is_sku
from gateway.sale.outcomes import Answer, Granted, Refused
from gateway.sale.receipts import Receipt
from gateway.sale.reservations import hold_request
from gateway.store.commands import HoldRequest

REPLAYED = (b"idempotent-replayed", b"true")
WAIT_MAX_S = 30.0
"""The longest wait for the ledger that a client may ask for."""


async def create(call: Call) -> Reply:
    """POST /v1/reservations"""
    key = h.idempotency_key(call.headers.get(b"idempotency-key"))
    wanted = await call.read(decoders.RESERVATION)
    check_ttl(call, [("/ttl_s", wanted)])
    request = wanted_hold(call, key, wanted)
    return created(call, await call.services.reservations.reserve(request), request)


def created(call: Call, answer: Answer, request: HoldRequest) -> Reply:
    """The answer to a reservation request."""
    if isinstance(answer, Refused):
        return refusal(call, answer)
    out = reservation_json(answer, _receipt(call, answer, request))
    if answer.replayed:
        return json_reply(201, out, _location(answer), REPLAYED)
    return json_reply(201, out, _location(answer))


def _receipt(call: Call, granted: Granted, request: HoldRequest) -> str:
    r = granted.reservation
    return call.services.receipts.sign(r.id, r.deadline_ms, request.middle, r.lines)


async def create_batch(call: Call) -> Reply:
    """POST /v1/reservations/batch"""
    batch = (await call.read(decoders.BATCH)).reservations
    check_ttl(call, ((f"/reservations/{i}/ttl_s", entry) for i, entry in enumerate(batch)))
    requests = [wanted_hold(call, entry.key, entry) for entry in batch]
    answers = await call.services.reservations.reserve_many(requests)
    pairs = zip(answers, requests, strict=True)
    return json_reply(200, BatchOut([_batch_result(call, *pair) for pair in pairs]))


async def show(call: Call) -> Reply:
    """GET /v1/reservations/{id}"""
    return _step_reply(call, await call.services.reservations.show(call.parameter("id")))


async def pay(call: Call) -> Reply:
    """POST /v1/reservations/{id}/payment"""
    decoders.decode_empty(await call.body())
    return _step_reply(call, await call.services.reservations.pay(call.parameter("id")))


async def release(call: Call) -> Reply:
    """POST /v1/reservations/{id}/release"""
    decoders.decode_empty(await call.body())
    return _step_reply(call, await call.services.reservations.release(call.parameter("id")))


async def extend(call: Call) -> Reply:
    """POST /v1/reservations/{id}/extend"""
    wanted = await call.read(decoders.EXTEND)
    return _step_reply(
        call, await call.services.reservations.extend(call.parameter("id"), wanted.ttl_s)
    )


async def confirm(call: Call) -> Reply:
    """POST /v1/reservations/{id}/confirm"""
    preferred = h.prefer(call.headers.get(b"prefer"))
    payment = await call.read(decoders.CONFIRM)
    reservation_id = call.parameter("id")
    receipt = read_receipt(call, payment.receipt, reservation_id)
    rule = call.services.config.confirm
    if rule.durability == "settled":
        preferred = preferred.waiting()
    patience_s = preferred.patience_s(rule.wait_s, most_s=WAIT_MAX_S)
    answer = await call.services.reservations.confirm(
        reservation_id, payment.payment_ref, patience_s, receipt
    )
    if isinstance(answer, Refused):
        return refusal(call, answer)
    out = reservation_json(answer)
    applied = preferred.applied(most_s=WAIT_MAX_S).encode()
    more = [(b"preference-applied", applied)] if applied else []
    if answer.reservation.state is State.SETTLED:
        return json_reply(200, out, *more)
    if rule.durability == "settled":
        raise OutcomeUnknown("the ledger has not decided yet")
    more += [_location(answer), (b"retry-after", b"1")]
    return json_reply(202, out, *more)


def read_receipt(call: Call, token: str, reservation_id: str) -> Receipt | None:
    """The reservation's receipt; None when there is none, or none are in use.

    Raises BadRequest receipt-invalid.
    """
    receipts = call.services.receipts
    if not token or not receipts.enabled:
        return None
    receipt = receipts.read(token)
    if receipt is None:
        raise BadRequest("receipt-invalid", [FieldError("/receipt", "receipt-not-ours")])
    if receipt.reservation_id != reservation_id:
        raise BadRequest("receipt-invalid", [FieldError("/receipt", "receipt-of-another")])
    return receipt


async def stock_one(call: Call) -> Reply:
    """GET /v1/stock/{sku}"""
    sku = call.parameter("sku")
    shown = await call.services.stock.get(sku) if is_sku(sku) else None
    if shown is None:
        return call.problem("unknown-sku", {"sku": sku})
    answer = stock_answer(shown, call.services.config.hold.ttl_s * 1000)
    if h.etag_matches(call.headers.get(b"if-none-match"), answer.etag):
        return Reply(304, [(b"etag", answer.etag), WINDOW_CACHE], b"")
    return Reply(200, [*answer.headers], answer.body)


async def stock_many(call: Call) -> Reply:
    """GET /v1/stock?sku=a&sku=b"""
    skus = list(dict.fromkeys(decode_query(call.query(), StockQuery).sku))
    shown = [await call.services.stock.get(sku) for sku in skus]
    ttl_ms = call.services.config.hold.ttl_s * 1000
    out = StockListOut(
        items=[stock_out(one, ttl_ms) for one in shown if one is not None],
        unknown=[sku for sku, one in zip(skus, shown, strict=True) if one is None],
    )
    return json_reply(200, out, WINDOW_CACHE, store=True)


def refusal(call: Call, refused: Refused) -> Reply:
    """A refusal as its problem."""
    return call.problem(refused.code, problem_params(refused), refused.retry_after_s)


def _location(granted: Granted) -> tuple[bytes, bytes]:
    return b"location", b"/v1/reservations/" + granted.reservation.id.encode()


def wanted_hold(call: Call, key: str, wanted: ReservationIn) -> HoldRequest:
    """What the sale is asked for."""
    return hold_request(
        call.caller.name, key, wanted.buyer, wanted.lines, wanted.ttl_s, wanted.channel
    )


def check_ttl(call: Call, wanted: Iterable[tuple[str, ReservationIn]]) -> None:
    """Raises BadRequest where a hold is asked for longer than the configuration allows."""
    most_s = call.services.config.hold.ttl_max_s
    errors = [
        FieldError(pointer, "range", {"low": 1, "high": most_s})
        for pointer, entry in wanted
        if entry.ttl_s > most_s
    ]
    if errors:
        raise BadRequest("invalid-request", errors)


def _step_reply(call: Call, answer: Answer) -> Reply:
    if isinstance(answer, Refused):
        return refusal(call, answer)
    return json_reply(200, reservation_json(answer))


def _batch_result(
    call: Call, answer: Answer | StockgateError, request: HoldRequest
) -> BatchResultOut:
    if isinstance(answer, Granted):
        out = reservation_json(answer, _receipt(call, answer, request))
        if answer.replayed:
            return BatchResultOut(201, reservation=out, replayed=True)
        return BatchResultOut(201, reservation=out)
    if isinstance(answer, Refused):
        code, params, wait_s = answer.code, problem_params(answer), answer.retry_after_s
    else:
        known = error_code(answer)
        if known is None:
            raise answer
        code, wait_s = known
        params = {"sku": ""} if code == "stock-inconsistent" else {}
    problem = as_dict(
        code,
        lang=call.lang,
        params=params,
        retry_after_s=wait_s,
        jitter=call.services.clock.jitter(),
    )
    return BatchResultOut(problem["status"], problem=problem)
