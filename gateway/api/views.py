"""How the sale's values look in HTTP: structs of schemas.py, and problems for refusals."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from gateway.api.schemas import SkuOut, StockOut
from gateway.api.times import rfc3339
from gateway.core.model import Line, SkuTerms
from gateway.core.transitions import FACTS
from gateway.sale.outcomes import Granted, Refused
from gateway.sale.snapshot import Shown
from gateway.store.commands import HoldRequest

_encode = msgspec.json.Encoder().encode


def reservation_json(granted: Granted, receipt: str = "") -> Any:
    """The reservation as it stands at the answer's time: JSON of a ReservationOut."""
    r = granted.reservation
    more = _expiry(r.deadline_ms, granted.now_ms) if FACTS[r.state].expires else ""
    if r.channel:
        more += f',"channel":"{r.channel}"'
    if r.payment_ref:
        more += f',"payment_ref":{_encode(r.payment_ref).decode()}'
    if receipt:
        more += f',"receipt":"{receipt}"'
    return msgspec.Raw(_reservation(r.id, r.state.value, r.buyer, r.lines, more))


def hold_json(
    reservation_id: str, request: HoldRequest, deadline_ms: int, now_ms: int, receipt: str
) -> bytes:
    """The same of a hold of one line that was made at this moment."""
    more = _expiry(deadline_ms, now_ms)
    if request.channel:
        more += f',"channel":"{request.channel}"'
    if receipt:
        more += f',"receipt":"{receipt}"'
    return _reservation(reservation_id, "held", request.buyer, request.lines, more)


def _reservation(
    reservation_id: str, state: str, buyer: str, lines: Sequence[Line], more: str
) -> bytes:
    """Written by hand because every hold pays for it. Ids, buyers, SKUs, channels and receipts
    hold no character that JSON escapes: their patterns see to it.
    """
    if len(lines) == 1:
        text = f'{{"sku":"{lines[0].sku}","quantity":{lines[0].quantity}}}'
    else:
        text = ",".join([f'{{"sku":"{it.sku}","quantity":{it.quantity}}}' for it in lines])
    return (
        f'{{"id":"{reservation_id}","state":"{state}","buyer":"{buyer}","lines":[{text}]{more}}}'
    ).encode()


@lru_cache(maxsize=1024)  # the holds of one batch end together
def _expiry(deadline_ms: int, now_ms: int) -> str:
    """Seconds are rounded up, so that a fresh hold shows the time it was asked for."""
    left_s = max(0, -((now_ms - deadline_ms) // 1000))
    return f',"expires_at":"{rfc3339(deadline_ms)}","expires_in_s":{left_s}'


WINDOW_CACHE: Final = (b"cache-control", b"public, max-age=1, stale-while-revalidate=2")


class StockAnswer(NamedTuple):
    """A SKU in a shop window, ready to be sent: entity tag, headers, body."""

    etag: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def stock_answer(shown: Shown, default_ttl_ms: int) -> StockAnswer:
    """Made once for all who ask before the SKU changes."""
    known = shown.rendered
    if isinstance(known, StockAnswer):
        return known
    out = stock_out(shown, default_ttl_ms)
    body = _encode(out)
    numbers = f"{out.available}-{out.held}-{out.expected_occupancy_30m}"
    etag = f'W/"{out.version}-{out.status}-{numbers}"'.encode()  # versions return after a failover
    headers = (
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"etag", etag),
        WINDOW_CACHE,
    )
    made = shown.rendered = StockAnswer(etag, headers, body)
    return made


def stock_out(shown: Shown, default_ttl_ms: int) -> StockOut:
    """A shop window's view."""
    return StockOut(
        sku=shown.sku,
        available=shown.available,
        held=shown.held,
        expected_occupancy_30m=shown.expected_occupancy(default_ttl_ms),
        status=shown.status(shown.as_of_ms),
        as_of=rfc3339(shown.as_of_ms),
        version=shown.version,
    )


def sku_out(terms: SkuTerms) -> SkuOut:
    """An administrator's view."""
    settings = terms.settings
    return SkuOut(
        sku=terms.sku,
        on_hand=terms.on_hand,
        available=terms.available,
        held=terms.held,
        unsettled=terms.unsettled,
        safety_stock=terms.safety_stock,
        sold=terms.sold,
        version=terms.version,
        buyer_limit=settings.buyer_limit or UNSET,
        hold_ttl_s=settings.hold_ttl_ms // 1000 or UNSET,
        sale_starts_at=_moment(settings.sale_starts_ms),
        sale_ends_at=_moment(settings.sale_ends_ms),
        fuse_rps=settings.fuse_rps or UNSET,
    )


def _moment(ms: int) -> str | UnsetType:
    return rfc3339(ms) if ms else UNSET


def problem_params(refused: Refused) -> dict[str, object]:
    """The refusal's params with its times as text: `opens_at_ms` becomes `opens_at`."""
    return {
        name.removesuffix("_ms"): rfc3339(value) if name.endswith("_ms") else value  # type: ignore[arg-type]
        for name, value in refused.params.items()
    }
