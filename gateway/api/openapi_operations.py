"""Every call of the API: what it takes, what it answers, how it can be refused."""

from typing import Any, Final, NamedTuple

from gateway.api import schemas as s

Example = dict[str, Any]


class Answer(NamedTuple):
    """A good answer: its status, what it means, the struct of its body, names of its headers.

    also: another media type that the client may ask for.
    """

    status: int
    means: str
    body: type | None = None
    headers: tuple[str, ...] = ()
    media: str = "application/json"
    example: Any = None
    also: str = ""


class Operation(NamedTuple):
    """One call.

    parameters: names in openapi.PARAMETERS; query: a struct whose fields are query parameters;
    problems: the codes that are this call's own; scope: "" when no key is needed.
    """

    method: str
    path: str
    name: str
    tag: str
    summary: str
    description: str
    answers: tuple[Answer, ...]
    scope: str = "storefront"
    parameters: tuple[str, ...] = ()
    query: type | None = None
    body: type | None = None
    example: Example | None = None
    problems: tuple[str, ...] = ()


ID: Final = "01KZ3V9Q2M00X4T7B2N8R6W1CD"
SKU: Final = "phone-x-256"
LINES: Final = [{"sku": SKU, "quantity": 1}]
NEW: Final[Example] = {"buyer": "buyer-17", "lines": LINES}
HELD: Final[Example] = {
    "id": ID,
    "state": "held",
    "buyer": "buyer-17",
    "lines": LINES,
    "expires_at": "2026-11-11T10:15:00.250Z",
    "expires_in_s": 900,
}
RECEIPT: Final = "v1.NzQ0Nzk0fDAxS1ozVjlRMk0z3dOePsoxkQ0m1nHf8bqZ"
MADE: Final[Example] = {**HELD, "receipt": RECEIPT}
SETTLED: Final[Example] = {
    "id": ID,
    "state": "settled",
    "buyer": "buyer-17",
    "lines": LINES,
    "payment_ref": "pay-20261111-8",
}
STOCK: Final[Example] = {
    "sku": SKU,
    "available": 140,
    "held": 55,
    "expected_occupancy_30m": 21,
    "status": "on_sale",
    "as_of": "2026-11-11T10:00:00.250Z",
    "version": 8123,
}
TERMS: Final[Example] = {
    "sku": SKU,
    "on_hand": 200,
    "available": 140,
    "held": 50,
    "unsettled": 5,
    "safety_stock": 5,
    "sold": 0,
    "version": 8123,
    "buyer_limit": 2,
}

REPLAY: Final = (
    "On a replay look at `state`: it is the reservation as it is now, which may be released or "
    "expired; a new attempt needs a new key."
)
_REFUSED_HOLD = ("sold-out", "buyer-limit", "sale-not-open", "unknown-sku", "fuse-open")
_KEYED = ("idempotency-key-missing", "idempotency-key-malformed", "idempotency-mismatch")
_OPTIONAL_BODY = ("malformed-json", "invalid-request", "body-too-large", "request-timeout")
_GONE = ("unknown-reservation", "reservation-expired", "reservation-released")

RESERVATIONS: Final = (
    Operation(
        "post",
        "/v1/reservations",
        "createReservation",
        "Reservations",
        "Reserve units",
        "Holds all lines or none, until `expires_at`. Repeating the call with the same "
        "`Idempotency-Key` and body holds nothing more and answers with the same reservation. "
        f"{REPLAY} Refusals are not remembered under the key: the same key may be tried again.",
        (
            Answer(
                201,
                f"The units are held, or `Idempotent-Replayed: true`. {REPLAY}",
                s.ReservationOut,
                ("Location", "Idempotent-Replayed"),
                example=MADE,
            ),
        ),
        parameters=("IdempotencyKey",),
        body=s.ReservationIn,
        example=NEW,
        problems=(*_KEYED, *_REFUSED_HOLD),
    ),
    Operation(
        "post",
        "/v1/reservations/batch",
        "createReservations",
        "Reservations",
        "Reserve for many buyers",
        "Up to 500 reservations that do not depend on each other, each with its own key. A body "
        "that breaks the schema, even in one entry only, is refused whole with 422: nothing is "
        "reserved, and `errors` points at each fault (up to 20), such as "
        "`/reservations/2/lines/0/quantity`. Once the body is accepted, every entry succeeds or "
        f"fails alone, and its refusal is not remembered under its key. {REPLAY}",
        (
            Answer(
                200,
                "One result an entry, in order; a replay is marked `replayed`.",
                s.BatchOut,
                example={"results": [{"status": 201, "reservation": MADE}]},
            ),
        ),
        body=s.BatchIn,
        example={"reservations": [{"key": "cart-7f3a-try-1", **NEW}]},
    ),
    Operation(
        "get",
        "/v1/reservations/{id}",
        "getReservation",
        "Reservations",
        "Look at a reservation",
        "A hold past its deadline reads as expired, even before its units are back on sale.",
        (Answer(200, "The reservation as it stands.", s.ReservationOut, example=HELD),),
        parameters=("ReservationId",),
        problems=("unknown-reservation",),
    ),
    Operation(
        "post",
        "/v1/reservations/{id}/payment",
        "beginPayment",
        "Reservations",
        "The buyer goes to pay",
        "Moves the deadline once to the payment window, so that the hold does not end while the "
        "buyer is at the payment provider. Takes no body, or `{}`.",
        (Answer(200, "State `paying`.", s.ReservationOut, example={**HELD, "state": "paying"}),),
        parameters=("ReservationId",),
        problems=(*_GONE, "reservation-confirmed", *_OPTIONAL_BODY),
    ),
    Operation(
        "post",
        "/v1/reservations/{id}/confirm",
        "confirmReservation",
        "Reservations",
        "The buyer has paid",
        "Sells the units. Waits for the ledger up to `Prefer: wait=N` seconds, and not at all "
        "while the gateway stops; then answers 202, and the ledger follows. A confirm that comes "
        "after the deadline is honoured while units are left. With its `receipt`, so is one of a "
        "reservation that the store has lost; should the request to reserve have been sent again "
        "since, the answer names the reservation that has taken its place.",
        (
            Answer(
                200,
                "Sold: the deduction is committed in the ledger.",
                s.ReservationOut,
                ("Preference-Applied",),
                example=SETTLED,
            ),
            Answer(
                202,
                "Confirmed and kept; the ledger has not committed yet. Look again later.",
                s.ReservationOut,
                ("Location", "Retry-After", "Preference-Applied"),
                example={**SETTLED, "state": "confirmed"},
            ),
        ),
        parameters=("ReservationId", "Prefer"),
        body=s.ConfirmIn,
        example={"payment_ref": "pay-20261111-8", "receipt": RECEIPT},
        problems=(*_GONE, "payment-ref-conflict", "deduction-rejected", "receipt-invalid"),
    ),
    Operation(
        "post",
        "/v1/reservations/{id}/release",
        "releaseReservation",
        "Reservations",
        "The buyer changed their mind",
        "Puts the units back on sale at once; repeating it changes nothing. Takes no body, or "
        "`{}`.",
        (
            Answer(
                200,
                "State `released`.",
                s.ReservationOut,
                example={"id": ID, "state": "released", "buyer": "buyer-17", "lines": LINES},
            ),
        ),
        parameters=("ReservationId",),
        problems=(
            "unknown-reservation",
            "reservation-expired",
            "reservation-confirmed",
            *_OPTIONAL_BODY,
        ),
    ),
    Operation(
        "post",
        "/v1/reservations/{id}/extend",
        "extendReservation",
        "Reservations",
        "Hold for longer",
        "Sets the deadline to `ttl_s` seconds from now; the hold's total length is capped.",
        (Answer(200, "The new deadline.", s.ReservationOut, example=HELD),),
        parameters=("ReservationId",),
        body=s.ExtendIn,
        example={"ttl_s": 900},
        problems=(*_GONE, "reservation-confirmed"),
    ),
)

STOCK_READS: Final = (
    Operation(
        "get",
        "/v1/stock/{sku}",
        "getStock",
        "Stock",
        "Stock of a SKU",
        "Answered from the gateway's memory; `as_of` states its age. Poll with `If-None-Match`.",
        (
            Answer(200, "The stock.", s.StockOut, ("ETag", "Cache-Control"), example=STOCK),
            Answer(304, "Unchanged since the ETag that was sent.", headers=("ETag",)),
        ),
        parameters=("Sku", "IfNoneMatch"),
        problems=("unknown-sku",),
    ),
    Operation(
        "get",
        "/v1/stock",
        "listStock",
        "Stock",
        "Stock of several SKUs",
        "Up to 100 SKUs at once: `?sku=a&sku=b`. Those that do not exist are listed in `unknown`.",
        (
            Answer(
                200,
                "The stock, in the order asked for.",
                s.StockListOut,
                ("Cache-Control",),
                example={"items": [STOCK], "unknown": []},
            ),
        ),
        query=s.StockQuery,
    ),
)
