"""The administrators' calls: SKUs, adjustments, reservations, configuration."""

from collections.abc import Sequence
from typing import NamedTuple

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
    is_reservation_id,
)
from gateway.api.storefront import REPLAYED, refusal
from gateway.api.views import reservation_json, sku_out
from gateway.core.config import config_as_rows
from gateway.core.model import Reservation, is_sku
from gateway.sale.catalogue import Place
from gateway.sale.outcomes import Granted, Refused
from gateway.store.records import as_of

SCAN_CALLS_MAX = 20
"""Calls to Redis that one page of the reservations listing may take."""

SCAN_COUNT = 200
"""Reservations a call looks at, about. The same for every page: a page may begin within a step."""

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


class _Spot(NamedTuple):
    """Where a listing goes on: the step of a shard's scan, and the last id given out of it.

    A step may hold more reservations than a page takes (the store's counts are hints); it is
    then scanned again, in the order of the ids.
    """

    shard: int = 0
    cursor: int = 0
    after: str = ""

    def __str__(self) -> str:
        start = f"{self.shard}.{self.cursor}"
        return f"{start}.{self.after}" if self.after else start


async def list_reservations(call: Call) -> Reply:
    """GET /v1/admin/reservations?sku=&state="""
    query = decode_query(call.query(), ReservationListQuery)
    places, spot = call.services.places, _parse_cursor(query.cursor)
    found: list[Granted] = []
    for _ in range(SCAN_CALLS_MAX):
        some, spot = await _step(places, spot, query, query.limit - len(found))
        found += some
        if spot.shard == len(places) or len(found) == query.limit:
            break
    items = [reservation_json(granted) for granted in found]
    if spot.shard == len(places):
        return json_reply(200, ReservationListOut(items))
    return json_reply(200, ReservationListOut(items, next=str(spot)))


async def _step(
    places: Sequence[Place], spot: _Spot, query: ReservationListQuery, limit: int
) -> tuple[list[Granted], _Spot]:
    """Up to `limit` reservations of the step, and the spot that follows them."""
    page = await places[spot.shard].listing.reservations(spot.cursor, SCAN_COUNT)
    by_id = {r.id: as_of(r, page.now_ms) for r in page.items if r.id > spot.after}
    fits = [by_id[id_] for id_ in sorted(by_id) if _matches(by_id[id_], query)]
    found = [Granted(r, page.now_ms) for r in fits[:limit]]
    if len(fits) > limit:
        return found, spot._replace(after=fits[limit - 1].id)
    return found, _Spot(spot.shard, page.cursor) if page.cursor else _Spot(spot.shard + 1)


def _matches(reservation: Reservation, query: ReservationListQuery) -> bool:
    if query.state and reservation.state.value != query.state:
        return False
    return not query.sku or any(line.sku == query.sku for line in reservation.lines)


def _parse_cursor(text: str) -> _Spot:
    if not text:
        return _Spot()
    shard, cursor, after = (*text.split(".", 2), "", "")[:3]
    digits = shard == "0" and cursor.isascii() and cursor.isdigit()
    whole = not after if text.count(".") == 1 else is_reservation_id(after)
    if not digits or not whole or int(cursor) > CURSOR_MAX:
        raise BadRequest("invalid-request", [FieldError("", "cursor", parameter="cursor")])
    return _Spot(int(shard), int(cursor), after)


async def show_config(call: Call) -> Reply:
    """GET /v1/admin/config"""
    rows = config_as_rows(call.services.config)
    return json_reply(
        200,
        {"settings": [{"name": n, "value": v, "source": source} for n, v, source in rows]},
    )
