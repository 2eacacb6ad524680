"""For each code, the parameters of a typical occurrence: for examples in the documentation."""

from typing import Any, Final

from gateway.api.problem_texts import TEXTS
from gateway.api.problems import CATALOGUE, FieldError, as_dict

_RESERVATIONS: Final = "/v1/reservations"

PARAMS: Final[dict[str, dict[str, object]]] = {
    "malformed-json": {},
    "invalid-request": {},
    "idempotency-key-missing": {},
    "idempotency-key-malformed": {},
    "idempotency-mismatch": {},
    "body-too-large": {"limit": 1_048_576},
    "unsupported-media-type": {},
    "request-timeout": {"timeout_s": 10},
    "not-found": {},
    "method-not-allowed": {},
    "unauthorized": {},
    "forbidden": {"scope": "admin"},
    "unknown-sku": {"sku": "phone-y-512"},
    "sold-out": {"sku": "phone-x-256", "available": 0},
    "buyer-limit": {"sku": "phone-x-256", "limit": 2},
    "sale-not-open": {"sku": "phone-x-256", "opens_at": "2026-11-11T10:00:00.000Z"},
    "fuse-open": {"sku": "phone-x-256"},
    "unknown-reservation": {},
    "reservation-expired": {"refund_required": True},
    "reservation-released": {"refund_required": True},
    "reservation-confirmed": {"state": "settled"},
    "deduction-rejected": {},
    "payment-ref-conflict": {},
    "unknown-dead-letter": {},
    "unknown-audit": {},
    "dead-letter-not-waiting": {"letter_state": "dismissed"},
    "dead-letter-not-retryable": {},
    "receipt-invalid": {},
    "adjustment-refused": {"sku": "phone-x-256", "available": 12},
    "overloaded": {},
    "store-unavailable": {},
    "outcome-unknown": {},
    "ledger-unavailable": {},
    "rebuilding": {"sku": "phone-x-256"},
    "stock-inconsistent": {"sku": "phone-x-256"},
    "internal-error": {"request_id": "19a6f3c2d10-5be1-7f"},
}

# The other wording of codes that have two.
VARIANT_PARAMS: Final[dict[str, dict[str, object]]] = {
    "sold-out": {"sku": "phone-x-256", "available": 3},
    "sale-not-open": {"sku": "phone-x-256", "closed_at": "2026-11-11T12:00:00.000Z"},
    "reservation-expired": {"refund_required": True},
    "payment-ref-conflict": {"refund_required": True, "payment_ref": "pay-20261111-9"},
}

ERRORS: Final[dict[str, list[FieldError]]] = {
    "malformed-json": [
        FieldError(
            "",
            "syntax",
            {"message": "Expecting ',' delimiter", "byte": 18, "line": 1, "column": 19},
        )
    ],
    "receipt-invalid": [FieldError("/receipt", "receipt-not-ours")],
    "invalid-request": [FieldError("/lines/0/quantity", "range", {"low": 1, "high": 1_000_000})],
}


def sample(code: str, lang: str) -> dict[str, Any]:
    """A whole problem, as a client would see it."""
    wait_s = 42.0 if code == "sale-not-open" else None
    found = as_dict(
        code, lang=lang, params=PARAMS[code], errors=ERRORS.get(code, ()), retry_after_s=wait_s
    )
    return {**found, "instance": _RESERVATIONS}


def explanation(code: str, lang: str) -> dict[str, object]:
    """What a program may want to know about a code."""
    entry, text = CATALOGUE[code], TEXTS[code][lang]
    return {
        "code": code,
        "status": entry.status,
        "retryable": entry.retryable,
        "title": text.title,
        "advice": text.advice,
        "example": sample(code, lang),
    }
