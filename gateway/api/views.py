"""How the sale's values look in HTTP: structs of schemas.py, and problems for refusals."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from gateway.api.schemas import SkuOut, StockOut
from gateway.api.times import rfc3339
from gateway.core.model import Reservation, SkuTerms, State
from gateway.sale.outcomes import Granted, Refused
from gateway.sale.snapshot import Shown

_EXPIRING = (State.HELD, State.PAYING)
_encode = msgspec.json.Encoder().encode


def reservation_json(granted: Granted) -> Any:
    """The reservation as it stands at the answer's time: JSON of a ReservationOut.

    Written by hand because every hold pays for it. Ids, buyers, SKUs and channels hold no
    character that JSON escapes: their patterns see to it.
    """
    r = granted.reservation
    lines = r.lines
    if len(lines) == 1:
        text = f'{{"sku":"{lines[0].sku}","quantity":{lines[0].quantity}}}'
    else:
        text = ",".join([f'{{"sku":"{it.sku}","quantity":{it.quantity}}}' for it in lines])
    more = ""
    if r.state in _EXPIRING:
        left_s = _seconds_left(r, granted.now_ms)
        more = f',"expires_at":"{rfc3339(r.deadline_ms)}","expires_in_s":{left_s}'
    if r.channel:
        more += f',"channel":"{r.channel}"'
    if r.payment_ref:
        more += f',"payment_ref":{_encode(r.payment_ref).decode()}'
    return msgspec.Raw(
        f'{{"id":"{r.id}","state":"{r.state.value}","buyer":"{r.buyer}",'
        f'"lines":[{text}]{more}}}'.encode()
    )


def _seconds_left(r: Reservation, now_ms: int) -> int:
    """Rounded up, so that a fresh hold shows the time it was asked for."""
    return max(0, -((now_ms - r.deadline_ms) // 1000))


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
