"""The shape of every request and response body. OpenAPI is generated from these.

Inputs end in `In`, refuse unknown fields and `null`, and carry their limits; outputs end in
`Out`. An optional input that was left out is its zero (`0`, `""`) or UNSET; an optional output
that is UNSET is left out. Patterns end in `\\Z`: `$` would let a trailing newline through.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gateway.api.times import to_ms
from gateway.core import model
from gateway.core.model import SKU_PATTERN, UNITS_MAX

BATCH_SIZE_MAX = 500
LINES_MAX = 50
QUANTITY_MAX = 1_000_000
TTL_S_MAX = 14_400
STOCK_READ_MAX = 100
PAGE_SIZE_MAX = 500

BUYER_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:@+=/-]{0,127}\Z"
CHANNEL_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}\Z"
PAYMENT_REF_PATTERN = r"^[!-{}~]{1,128}\Z"  # printable ASCII but space and |
KEY_PATTERN = r"^[!-~](?:[ -~]{0,253}[!-~])?\Z"
RECEIPT_PATTERN = r"^[!-~]{1,8192}\Z"
REASON_PATTERN = r"^(?=.*\S)[^\x00-\x1f\x7f-\x9f]{1,200}\Z"
RESERVATION_ID_PATTERN = r"^[0-9A-HJKMNP-TV-Z]{26}\Z"
CURSOR_PATTERN = r"^[A-Za-z0-9._:-]{0,128}\Z"

# `rule` names the text that tells a client what the pattern means (rule_texts.py).
Sku = Annotated[str, Meta(pattern=SKU_PATTERN, extra={"rule": "sku"}, examples=["phone-x-256"])]
Buyer = Annotated[str, Meta(pattern=BUYER_PATTERN, extra={"rule": "buyer"}, examples=["buyer-17"])]
Channel = Annotated[str, Meta(pattern=CHANNEL_PATTERN, extra={"rule": "channel"}, examples=["app"])]
PaymentRef = Annotated[
    str,
    Meta(pattern=PAYMENT_REF_PATTERN, extra={"rule": "payment-ref"}, examples=["pay-20261111-8"]),
]
ReceiptText = Annotated[
    str,
    Meta(
        pattern=RECEIPT_PATTERN,
        extra={"rule": "receipt"},
        examples=["v1.NzQ0Nzk0fDAxS1ozVjlRMk0z3dOePsoxkQ0m1nHf8bqZ"],
    ),
]
Key = Annotated[str, Meta(pattern=KEY_PATTERN, extra={"rule": "key"}, examples=["cart-7f3a-try-1"])]
Reason = Annotated[str, Meta(pattern=REASON_PATTERN, extra={"rule": "reason"})]
Cursor = Annotated[
    str,
    Meta(
        pattern=CURSOR_PATTERN,
        extra={"rule": "cursor"},
        description="`next` of the page before; absent on the last page.",
    ),
]
Quantity = Annotated[int, Meta(ge=1, le=QUANTITY_MAX, examples=[1])]
TtlS = Annotated[int, Meta(ge=1, le=TTL_S_MAX, examples=[900])]
PageSize = Annotated[int, Meta(ge=1, le=PAGE_SIZE_MAX, description="Entries a page.")]
Units = Annotated[int, Meta(ge=0, le=UNITS_MAX)]
Version = Annotated[int, Meta(ge=0, description="Rises with every change of the SKU.")]
Moment = Annotated[datetime, Meta(tz=True, examples=["2026-11-11T10:00:00Z"])]
MomentText = Annotated[
    str, Meta(examples=["2026-11-11T10:15:00.250Z"], extra_json_schema={"format": "date-time"})
]
ReservationId = Annotated[
    str, Meta(pattern=RESERVATION_ID_PATTERN, examples=["01KZ3V9Q2M00X4T7B2N8R6W1CD"])
]
StateName = Literal["held", "paying", "confirmed", "settled", "rejected", "released", "expired"]
SaleStatus = Annotated[
    str, Meta(extra_json_schema={"enum": ["upcoming", "on_sale", "sold_out", "ended"]})
]

is_reservation_id: Callable[[str], re.Match[str] | None] = re.compile(RESERVATION_ID_PATTERN).search


class LineIn(model.Line, frozen=True, gc=False, forbid_unknown_fields=True):
    """Units of one SKU. Several lines of one SKU count as their sum."""

    sku: Sku
    quantity: Quantity


Lines = Annotated[tuple[LineIn, ...], Meta(min_length=1, max_length=LINES_MAX)]


class ReservationIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A reservation to make: all lines or none."""

    buyer: Annotated[Buyer, Meta(description="Who buys; buyer limits count by this name.")]
    lines: Lines
    ttl_s: Annotated[
        TtlS, Meta(description="Seconds to hold the units; else as the SKU or the gateway sets.")
    ] = 0
    channel: Annotated[Channel, Meta(description="Where the sale happens, for reports.")] = ""


class BatchEntryIn(ReservationIn, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One reservation of a batch, with the Idempotency-Key it would have had as a header."""

    key: Annotated[Key, Meta(description="As the Idempotency-Key header of a single call.")]


class BatchIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Reservations that do not depend on each other: each succeeds or fails alone."""

    reservations: Annotated[tuple[BatchEntryIn, ...], Meta(min_length=1, max_length=BATCH_SIZE_MAX)]


class ConfirmIn(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The proof of payment."""

    payment_ref: Annotated[PaymentRef, Meta(description="The payment provider's reference.")]
    receipt: Annotated[
        ReceiptText,
        Meta(
            description="The `receipt` of the 201 answer, unchanged. Should the store have lost "
            "the reservation, it is honoured while units are left."
        ),
    ] = ""


class ExtendIn(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """How much longer a hold should last."""

    ttl_s: Annotated[TtlS, Meta(description="Seconds from now to the new deadline.")]


class EmptyIn(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """No fields: the call needs no body."""


class SkuIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The stock and the sale's rules of a SKU; what is left out returns to its default."""

    on_hand: Annotated[Units, Meta(description="Units owned.")]
    safety_stock: Annotated[Units, Meta(description="Of these, units that holds never take.")]
    buyer_limit: Annotated[
        int, Meta(ge=1, le=QUANTITY_MAX, description="Units one buyer may hold and own.")
    ] = 0
    hold_ttl_s: Annotated[TtlS, Meta(description="Seconds that a hold lasts.")] = 0
    sale_starts_at: Annotated[Moment, Meta(description="Holds begin.")] | UnsetType = UNSET
    sale_ends_at: Annotated[Moment, Meta(description="Holds end.")] | UnsetType = UNSET
    fuse_rps: Annotated[
        int, Meta(ge=1, le=QUANTITY_MAX, description="Hold requests a second that open the fuse.")
    ] = 0

    def settings(self) -> model.SkuSettings:
        """The rules without the stock, in the model's units."""
        return model.SkuSettings(
            buyer_limit=self.buyer_limit,
            hold_ttl_ms=self.hold_ttl_s * 1000,
            sale_starts_ms=_ms_or_zero(self.sale_starts_at),
            sale_ends_ms=_ms_or_zero(self.sale_ends_at),
            fuse_rps=self.fuse_rps,
        )


def _ms_or_zero(moment: datetime | UnsetType) -> int:
    return 0 if isinstance(moment, UnsetType) else to_ms(moment)


class AdjustmentIn(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A correction of the stock."""

    delta: Annotated[
        int,
        Meta(ge=-UNITS_MAX, le=UNITS_MAX, description="Units found (> 0) or missing (< 0)."),
    ]
    reason: Annotated[Reason, Meta(description="Kept on record, one line.")]


class ReservationListQuery(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The query of the reservations listing."""

    sku: Annotated[Sku, Meta(description="Only reservations of this SKU.")] = ""
    state: Annotated[StateName, Meta(description="Only this state.")] | UnsetType = UNSET
    cursor: Cursor = ""
    limit: PageSize = 100


class SkuListQuery(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The query of the SKU listing."""

    cursor: Cursor = ""
    limit: PageSize = 100


class StockQuery(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The query of a stock read: `?sku=a&sku=b`."""

    sku: Annotated[tuple[Sku, ...], Meta(min_length=1, max_length=STOCK_READ_MAX)]


class LineOut(msgspec.Struct, frozen=True, gc=False):
    """Units of one SKU."""

    sku: Sku
    quantity: Quantity


class ReservationOut(msgspec.Struct, frozen=True, gc=False):
    """A reservation; what does not apply to its state is left out."""

    id: ReservationId
    state: StateName
    buyer: Buyer
    lines: tuple[LineOut, ...]
    expires_at: Annotated[MomentText, Meta(description="The hold's deadline.")] | UnsetType = UNSET
    expires_in_s: (
        Annotated[int, Meta(ge=0, description="Seconds to it: count these, clocks differ.")]
        | UnsetType
    ) = UNSET
    channel: Channel | UnsetType = UNSET
    payment_ref: PaymentRef | UnsetType = UNSET
    receipt: (
        Annotated[
            ReceiptText,
            Meta(description="Signed; only where it was reserved. Send it with the confirm."),
        ]
        | UnsetType
    ) = UNSET


class FieldErrorOut(msgspec.Struct, frozen=True, gc=False):
    """One thing wrong with a request."""

    pointer: Annotated[
        str,
        Meta(
            description="RFC 6901, into the body; of a missing member, where it should be; "
            "empty for the whole body and for a parameter."
        ),
    ]
    detail: Annotated[str, Meta(description="What it must be.")]
    parameter: Annotated[str, Meta(description="Instead: a query parameter.")] | UnsetType = UNSET


class ProblemOut(msgspec.Struct, frozen=True):
    """RFC 9457; `retry_after_s` and what follows it come with the codes that need them."""

    type: Annotated[
        str,
        Meta(description="Where it is explained.", extra_json_schema={"format": "uri-reference"}),
    ]
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: Annotated[str, Meta(description="Why, and what to do; may change, so do not parse.")]
    code: Annotated[str, Meta(description="Stable: let programs decide by this.")]
    retryable: Annotated[bool, Meta(description="Whether the same request can succeed later.")]
    instance: (
        Annotated[str, Meta(description="The request's path, cut when it is very long.")]
        | UnsetType
    ) = UNSET
    errors: tuple[FieldErrorOut, ...] | UnsetType = UNSET
    retry_after_s: Annotated[int, Meta(ge=1, description="As Retry-After.")] | UnsetType = UNSET
    sku: (
        Annotated[str, Meta(description="As it was asked for, cut when it is very long.")]
        | UnsetType
    ) = UNSET
    available: Annotated[int, Meta(ge=0, description="Units free then.")] | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=0, description="The limit that was met.")] | UnsetType = UNSET
    opens_at: MomentText | UnsetType = UNSET
    closed_at: MomentText | UnsetType = UNSET
    state: StateName | UnsetType = UNSET
    scope: Annotated[str, Meta(description="The scope that is needed.")] | UnsetType = UNSET
    payment_ref: (
        Annotated[str, Meta(description="The payment that must be returned.")] | UnsetType
    ) = UNSET
    letter_state: Annotated[str, Meta(description="The dead letter's state.")] | UnsetType = UNSET
    refund_required: (
        Annotated[bool, Meta(description="The buyer's payment must be returned.")] | UnsetType
    ) = UNSET


class ExplanationOut(msgspec.Struct, frozen=True):
    """What a problem's code means, for programs; as a page for people it says the same."""

    code: str
    status: Annotated[int, Meta(ge=400, le=599)]
    retryable: bool
    title: str
    advice: Annotated[str, Meta(description="What it means and what to do.")]
    example: ProblemOut


class BatchResultOut(msgspec.Struct, frozen=True):
    """What became of one entry: a reservation (201) or a problem (any other status)."""

    status: Annotated[int, Meta(ge=200, le=599, examples=[201])]
    reservation: ReservationOut | UnsetType = UNSET
    problem: dict[str, Any] | UnsetType = UNSET  # a ProblemOut, as problems.as_dict makes it
    replayed: (
        Annotated[bool, Meta(description="As the Idempotent-Replayed header: look at `state`.")]
        | UnsetType
    ) = UNSET


class BatchOut(msgspec.Struct, frozen=True):
    """One result an entry, in the order of the request."""

    results: list[BatchResultOut]


class ReservationListOut(msgspec.Struct, frozen=True):
    """A page of reservations."""

    items: list[ReservationOut]
    next: Cursor | UnsetType = UNSET


class StockOut(msgspec.Struct, frozen=True, gc=False):
    """What a shop window shows of a SKU, as it was at `as_of`."""

    sku: Sku
    available: Units
    held: Units
    expected_occupancy_30m: Annotated[
        Units,
        Meta(
            description="Units expected to be held or newly sold 30 minutes from now: of the units "
            "held now, the share that buyers usually go on to buy; plus, if units go on being "
            "taken as in the last minute or so, those taken in the last hold time before that "
            "moment (still held then) and the bought share of those taken earlier; at most "
            "`held + available`. The gateway learns both the share (one half at first) and the "
            "rate (0 at first) since it started, so right after a start the number says little."
        ),
    ]
    status: SaleStatus
    as_of: MomentText
    version: Version


class StockListOut(msgspec.Struct, frozen=True):
    """Stock of the SKUs asked for, in that order, and those that do not exist."""

    items: list[StockOut]
    unknown: list[str] = []


class SkuOut(msgspec.Struct, frozen=True, gc=False):
    """Every term of a SKU: on_hand = available + held + unsettled + safety_stock."""

    sku: Sku
    on_hand: Units
    available: Units
    held: Units
    unsettled: Annotated[Units, Meta(description="Confirmed, not yet deducted.")]
    safety_stock: Units
    sold: Annotated[Units, Meta(description="Settled so far.")]
    version: Version
    buyer_limit: Quantity | UnsetType = UNSET
    hold_ttl_s: TtlS | UnsetType = UNSET
    sale_starts_at: MomentText | UnsetType = UNSET
    sale_ends_at: MomentText | UnsetType = UNSET
    fuse_rps: Quantity | UnsetType = UNSET


class SkuListOut(msgspec.Struct, frozen=True):
    """A page of SKUs in the order of their names."""

    items: list[SkuOut]
    next: Cursor | UnsetType = UNSET


class AdjustmentOut(msgspec.Struct, frozen=True, gc=False):
    """A stock correction as it was recorded, and the stock after it."""

    sku: Sku
    delta: int
    reason: Reason
    seq: Annotated[int, Meta(ge=1, description="Its number among the SKU's movements.")]
    on_hand: Units
    available: Units
