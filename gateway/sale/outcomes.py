"""What a caller of the sale gets: a reservation, or a refusal with a stable code.

The codes are those of the HTTP contract; params are what its texts name.
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from gateway.core.codes import Reply
from gateway.core.model import Reservation
from gateway.store.commands import HoldAnswer, HoldRequest

NO_PARAMS: Mapping[str, object] = MappingProxyType({})


class Granted(msgspec.Struct, frozen=True, gc=False):
    """The reservation as it stands at `now_ms` (Redis's clock).

    replayed: the key, or the step, had been done before; nothing was done again.
    """

    reservation: Reservation
    now_ms: int
    replayed: bool = False


class Refused(msgspec.Struct, frozen=True, gc=False):
    """Why not. Times in params are milliseconds since the epoch and end in `_ms`.

    retry_after_s: when a retry may help, if that is known better than the code's own default.
    """

    code: str
    params: Mapping[str, object] = NO_PARAMS
    retry_after_s: float | None = None


Answer = Granted | Refused


def hold_refusal(request: HoldRequest, answer: HoldAnswer) -> Refused:
    """The refusal of one reservation request."""
    if answer.code == Reply.IDEMPOTENCY_MISMATCH:
        return Refused("idempotency-mismatch")
    sku = request.lines[answer.b].sku
    if answer.code == Reply.SOLD_OUT:
        return Refused("sold-out", {"sku": sku, "available": answer.a})
    if answer.code == Reply.BUYER_LIMIT:
        return Refused("buyer-limit", {"sku": sku, "limit": answer.a})
    if answer.code == Reply.UNKNOWN_SKU:
        return Refused("unknown-sku", {"sku": sku})
    if answer.code == Reply.SALE_NOT_OPEN:
        return _not_open(sku, answer.a, answer.now_ms)
    if answer.code == Reply.REBUILDING:
        return Refused("rebuilding", {"sku": sku})
    if answer.code == Reply.INVARIANT_BREACH:
        return Refused("stock-inconsistent", {"sku": sku})
    raise ValueError(f"hold answered {answer.code}")


def _not_open(sku: str, at_ms: int, now_ms: int) -> Refused:
    if at_ms < 0:
        return Refused("sale-not-open", {"sku": sku, "closed_at_ms": -at_ms})
    return Refused(
        "sale-not-open", {"sku": sku, "opens_at_ms": at_ms}, retry_after_s=(at_ms - now_ms) / 1000
    )


_STEP_REFUSALS: dict[int, tuple[str, Mapping[str, object]]] = {
    Reply.UNKNOWN_RESERVATION: ("unknown-reservation", NO_PARAMS),
    Reply.IS_EXPIRED: ("reservation-expired", NO_PARAMS),
    Reply.IS_RELEASED: ("reservation-released", NO_PARAMS),
    Reply.IS_CONFIRMED: ("reservation-confirmed", NO_PARAMS),
    Reply.IS_REJECTED: ("deduction-rejected", {"refund_required": True}),
    Reply.PAYMENT_REF_CONFLICT: ("payment-ref-conflict", {"refund_required": True}),
    Reply.PAYMENT_REF_USED: ("payment-ref-conflict", {"refund_required": False}),
    Reply.INVARIANT_BREACH: ("stock-inconsistent", {"sku": ""}),
    Reply.REBUILDING: ("rebuilding", {"sku": ""}),
}

_STEP_CODES = (Reply.DONE, Reply.UNCHANGED)


def step_done(code: int) -> bool:
    """Whether a step on a reservation was done, now or before."""
    return code in _STEP_CODES


def step_refusal(code: int, reservation: Reservation | None, *, paid_with: str = "") -> Refused:
    """The refusal of one step on a reservation; `paid_with`: the payment that was taken for it."""
    name, params = _STEP_REFUSALS[code]
    if code == Reply.PAYMENT_REF_CONFLICT:
        params = {**params, "payment_ref": paid_with}
    if code == Reply.IS_CONFIRMED and reservation is not None:
        params = {"state": reservation.state.value}
    if code == Reply.INVARIANT_BREACH and reservation is not None:
        params = {"sku": reservation.lines[0].sku}
    if paid_with and code in (Reply.IS_EXPIRED, Reply.IS_RELEASED):
        params = {"refund_required": True}
    return Refused(name, params)
