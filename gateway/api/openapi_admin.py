"""The calls of administrators and of the platform that runs the gateway."""

from typing import Final

from gateway.api import schemas as s
from gateway.api.language import EN
from gateway.api.openapi_operations import HELD, SKU, TERMS, Answer, Operation
from gateway.api.problem_samples import explanation

ADMIN: Final = (
    Operation(
        "put",
        "/v1/admin/skus/{sku}",
        "putSku",
        "Administration",
        "Create or change a SKU",
        "Sets stock and rules as a whole: rules that are left out return to their defaults. "
        "Refused when `on_hand` would fall below what buyers hold or have bought.",
        (
            Answer(200, "Changed.", s.SkuOut, example=TERMS),
            Answer(201, "Created.", s.SkuOut, ("Location",), example=TERMS),
        ),
        scope="admin",
        parameters=("Sku",),
        body=s.SkuIn,
        example={"on_hand": 200, "safety_stock": 5, "buyer_limit": 2},
        problems=("adjustment-refused", "ledger-unavailable"),
    ),
    Operation(
        "get",
        "/v1/admin/skus/{sku}",
        "getSku",
        "Administration",
        "Every term of a SKU",
        "Read from the store: `on_hand = available + held + unsettled + safety_stock`.",
        (Answer(200, "The terms.", s.SkuOut, example=TERMS),),
        scope="admin",
        parameters=("Sku",),
        problems=("unknown-sku",),
    ),
    Operation(
        "get",
        "/v1/admin/skus",
        "listSkus",
        "Administration",
        "All SKUs",
        "In the order of their names, a page at a time; `next` is the following page's cursor.",
        (Answer(200, "A page.", s.SkuListOut, example={"items": [TERMS]}),),
        scope="admin",
        query=s.SkuListQuery,
    ),
    Operation(
        "post",
        "/v1/admin/skus/{sku}/adjustments",
        "adjustStock",
        "Administration",
        "Correct the stock",
        "Adds or takes units and records why. The `Idempotency-Key` makes a repetition harmless.",
        (
            Answer(
                201,
                "Recorded in the ledger.",
                s.AdjustmentOut,
                ("Idempotent-Replayed",),
                example={
                    "sku": SKU,
                    "delta": 25,
                    "reason": "delivery 4711",
                    "seq": 2,
                    "on_hand": 225,
                    "available": 165,
                },
            ),
        ),
        scope="admin",
        parameters=("Sku", "IdempotencyKey"),
        body=s.AdjustmentIn,
        example={"delta": 25, "reason": "delivery 4711"},
        problems=(
            "idempotency-key-missing",
            "idempotency-key-malformed",
            "idempotency-mismatch",
            "unknown-sku",
            "adjustment-refused",
            "ledger-unavailable",
        ),
    ),
    Operation(
        "get",
        "/v1/admin/reservations",
        "listReservations",
        "Administration",
        "Reservations by SKU and state",
        "A page of up to `limit` at a time, in no order to rely on; `next` is the following page's "
        "cursor, and only its absence means the end: with a filter a page may be empty. Each "
        "reservation is listed once, but those made or ended while paging may be missed or "
        "repeated.",
        (Answer(200, "A page.", s.ReservationListOut, example={"items": [HELD]}),),
        scope="admin",
        query=s.ReservationListQuery,
    ),
    Operation(
        "get",
        "/v1/admin/config",
        "getConfig",
        "Administration",
        "The settings in force",
        "Every setting with its value and where it came from; secrets are not shown.",
        (Answer(200, "The settings."),),
        scope="admin",
    ),
)

PLATFORM: Final = (
    Operation(
        "get",
        "/livez",
        "isAlive",
        "Platform",
        "Is the process alive?",
        "Depends on nothing else.",
        (Answer(200, "Alive.", media="text/plain"),),
        scope="",
    ),
    Operation(
        "get",
        "/readyz",
        "isReady",
        "Platform",
        "Can it serve?",
        "Fails first when the gateway is told to stop, so that balancers look elsewhere.",
        (
            Answer(
                200,
                "Ready; `promises` says what a confirm has survived when it is answered, `notices` "
                "what the stores do not promise.",
                media="application/json",
            ),
            Answer(
                503,
                "Not ready: starting, draining, or without its store; `not_ready` says why.",
                headers=("Retry-After",),
            ),
        ),
        scope="",
    ),
    Operation(
        "get",
        "/metrics",
        "getMetrics",
        "Platform",
        "Metrics for Prometheus",
        "Text exposition format; base units, no labels without a bound.",
        (Answer(200, "The metrics.", media="text/plain"),),
        scope="metrics",
    ),
    Operation(
        "get",
        "/openapi.json",
        "getOpenApi",
        "Platform",
        "This description",
        "OpenAPI 3.1, generated from the same definitions that check the requests.",
        (Answer(200, "The document.", media="application/json"),),
        scope="",
    ),
    Operation(
        "get",
        "/problems/{code}",
        "getProblem",
        "Platform",
        "What a problem means",
        "What one `code` means and what to do; the `type` of every problem leads here. A page for "
        "people, or JSON with `Accept: application/json`. `/problems` lists all codes.",
        (
            Answer(
                200,
                "The explanation, or with `Accept: text/html` the page.",
                s.ExplanationOut,
                example=explanation("sold-out", EN),
                also="text/html",
            ),
        ),
        scope="",
        parameters=("ProblemCode",),
        problems=("not-found",),
    ),
)
