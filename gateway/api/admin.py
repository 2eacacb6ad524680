"""The administrators' calls: SKUs, adjustments, reservations, configuration."""

from gateway.api import decoders
from gateway.api import headers as h
from gateway.api.endpoint import Call, Reply, json_reply
from gateway.api.problems import BadRequest, FieldError
from gateway.api.query import decode_query
from gateway.api.schemas import (
    AdjustmentOut,
    ReservationListOut,
    ReservationListQuery,
    SkuListOut,
    SkuListQuery,
    is_sku,
)
from gateway.api.storefront import REPLAYED, refusal
from gateway.api.views import reservation_json, sku_out
from gateway.core.config import config_as_rows
from gateway.core.model import Reservation
from gateway.sale.outcomes import Granted, Refused
from gateway.store.records import as_of

SCAN_CALLS_MAX = 20
"""Calls to Redis that one page of the reservations listing may take."""

CURSOR_MAX = 2**64 - 1
"""The largest cursor that Redis takes."""


def _sku(call: Call) -> str:
    sku = call.parameter("sku")
    if not is_sku(sku):
        raise BadRequest("invalid-request", [FieldError("", "sku", parameter="sku")])
    return sku


async def put_sku(call: Call) -> Reply:
    """PUT /v1/admin/skus/{sku}"""
    sku, wanted = _sku(call), await call.read(decoders.SKU)
    answer = await call.services.catalogue.put(
        sku, wanted.on_hand, wanted.safety_stock, wanted.settings(), call.caller.name
    )
    if isinstance(answer, Refused):
        return refusal(call, answer)
    out = sku_out(answer.terms)
    if answer.move.seq == 1:
        return json_reply(201, out, (b"location", f"/v1/admin/skus/{sku}".encode()))
    return json_reply(200, out)


async def get_sku(call: Call) -> Reply:
    """GET /v1/admin/skus/{sku}"""
    sku = call.parameter("sku")
    terms = await call.services.catalogue.get(sku) if is_sku(sku) else None
    if terms is None:
        return call.problem("unknown-sku", {"sku": sku})
    return json_reply(200, sku_out(terms))


async def list_skus(call: Call) -> Reply:
    """GET /v1/admin/skus"""
    query = decode_query(call.query(), SkuListQuery)
    terms = await call.services.catalogue.page(query.cursor, query.limit)
    out = SkuListOut([sku_out(t) for t in terms])
    if len(terms) == query.limit:
        out = SkuListOut(out.items, next=terms[-1].sku)
    return json_reply(200, out)


async def adjust(call: Call) -> Reply:
    """POST /v1/admin/skus/{sku}/adjustments"""
    key = h.idempotency_key(call.headers.get(b"idempotency-key"))
    sku, wanted = _sku(call), await call.read(decoders.ADJUSTMENT)
    answer = await call.services.catalogue.adjust(
        sku, wanted.delta, wanted.reason, call.caller.name, key
    )
    if isinstance(answer, Refused):
        return refusal(call, answer)
    out = AdjustmentOut(
        sku=sku,
        delta=wanted.delta,
        reason=wanted.reason,
        seq=answer.move.seq,
        on_hand=answer.terms.on_hand,
        available=answer.terms.available,
    )
    return json_reply(201, out, REPLAYED) if answer.replayed else json_reply(201, out)


async def list_reservations(call: Call) -> Reply:
    """GET /v1/admin/reservations?sku=&state="""
    query = decode_query(call.query(), ReservationListQuery)
    number, cursor = _parse_cursor(query.cursor)
    found: list[Granted] = []
    for _ in range(SCAN_CALLS_MAX):
        place = call.services.places[number]
        page = await place.listing.reservations(cursor, query.limit)
        kept = [as_of(r, page.now_ms) for r in page.items]
        found += [Granted(r, page.now_ms) for r in kept if _matches(r, query)]
        cursor = page.cursor
        if cursor == 0:
            number += 1
        if number == len(call.services.places) or len(found) >= query.limit:
            break
    items = [reservation_json(granted) for granted in found]
    if number == len(call.services.places):
        return json_reply(200, ReservationListOut(items))
    return json_reply(200, ReservationListOut(items, next=f"{number}.{cursor}"))


def _matches(reservation: Reservation, query: ReservationListQuery) -> bool:
    if query.state and reservation.state.value != query.state:
        return False
    return not query.sku or any(line.sku == query.sku for line in reservation.lines)


def _parse_cursor(text: str) -> tuple[int, int]:
    if not text:
        return 0, 0
    shard, _, cursor = text.partition(".")
    digits = shard == "0" and cursor.isascii() and cursor.isdigit()
    if not digits or int(cursor) > CURSOR_MAX:
        raise BadRequest("invalid-request", [FieldError("", "cursor", parameter="cursor")])
    return int(shard), int(cursor)


async def show_config(call: Call) -> Reply:
    """GET /v1/admin/config"""
    rows = config_as_rows(call.services.config)
    return json_reply(
        200,
        {"settings": [{"name": n, "value": v, "source": source} for n, v, source in rows]},
    )
