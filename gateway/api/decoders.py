"""One decoder for each body of the API, with the rules that lie between fields.

The quote counts (see body.py) are those of the names and the texts that a value came from; an
optional field that is present is never its zero.
"""

from collections.abc import Iterable
from typing import Final

from gateway.api.body import UNSURE, BodyDecoder, decode
from gateway.api.problems import FieldError
from gateway.api.schemas import (
    AdjustmentIn,
    BatchIn,
    ConfirmIn,
    EmptyIn,
    ExtendIn,
    ReservationIn,
    SkuIn,
)
from gateway.api.schemas_letters import DismissIn
from gateway.api.times import EARLIEST_MS, LATEST_MS, to_ms


def _reservation_quotes(it: ReservationIn) -> int:
    """buyer (name and text) and lines (name) 6, each line 6, ttl_s 2, channel 4."""
    count = 6 + 6 * len(it.lines)
    if it.ttl_s:
        count += 2
    if it.channel:
        count += 4
    return count


def _batch_quotes(it: BatchIn) -> int:
    """reservations 2, each entry as above and its key 4."""
    count = 2
    for entry in it.reservations:
        if '"' in entry.key:
            return UNSURE
        count += 4 + _reservation_quotes(entry)
    return count


def _confirm_quotes(it: ConfirmIn) -> int:
    """payment_ref 4, receipt 4."""
    if '"' in it.payment_ref or '"' in it.receipt:
        return UNSURE
    return 8 if it.receipt else 4


def _sku_rules(it: SkuIn) -> Iterable[FieldError]:
    if it.safety_stock > it.on_hand:
        yield FieldError("/safety_stock", "safety-above-on-hand", {"on_hand": it.on_hand})
    for name in ("sale_starts_at", "sale_ends_at"):
        moment = getattr(it, name)
        if moment and not EARLIEST_MS <= to_ms(moment) <= LATEST_MS:
            yield FieldError(f"/{name}", "time-range")
    if it.sale_starts_at and it.sale_ends_at and to_ms(it.sale_ends_at) <= to_ms(it.sale_starts_at):
        yield FieldError("/sale_ends_at", "ends-before-starts")


def _adjustment_rules(it: AdjustmentIn) -> Iterable[FieldError]:
    if it.delta == 0:
        yield FieldError("/delta", "delta-zero")


RESERVATION: Final = BodyDecoder(ReservationIn, quotes=_reservation_quotes)
BATCH: Final = BodyDecoder(BatchIn, quotes=_batch_quotes)
CONFIRM: Final = BodyDecoder(ConfirmIn, quotes=_confirm_quotes)
EXTEND: Final = BodyDecoder(ExtendIn, quotes=lambda _: 2)
EMPTY: Final = BodyDecoder(EmptyIn, quotes=lambda _: 0)
SKU: Final = BodyDecoder(SkuIn, rules=_sku_rules)
DISMISS: Final = BodyDecoder(DismissIn)
ADJUSTMENT: Final = BodyDecoder(AdjustmentIn, rules=_adjustment_rules)


def decode_empty(body: bytes) -> None:
    """For calls without fields: no body, or `{}`. Raises BadRequest."""
    if body:
        decode(body, EMPTY)
