"""How the sale's values look in HTTP: structs of schemas.py, and problems for refusals."""

from msgspec import UNSET, UnsetType

from gateway.api.schemas import LineOut, ReservationOut, SkuOut, StockOut
from gateway.api.times import rfc3339
from gateway.core.model import Reservation, SkuTerms, State
from gateway.sale.outcomes import Granted, Refused
from gateway.sale.snapshot import Shown

_EXPIRING = (State.HELD, State.PAYING)


def reservation_out(granted: Granted) -> ReservationOut:
    """The reservation as it stands at the answer's time."""
    r = granted.reservation
    expiring = r.state in _EXPIRING
    return ReservationOut(
        id=r.id,
        state=r.state.value,
        buyer=r.buyer,
        lines=tuple([LineOut(line.sku, line.quantity) for line in r.lines]),
        expires_at=rfc3339(r.deadline_ms) if expiring else UNSET,
        expires_in_s=_seconds_left(r, granted.now_ms) if expiring else UNSET,
        created_at=rfc3339(r.created_ms),
        channel=r.channel or UNSET,
        payment_ref=r.payment_ref or UNSET,
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
