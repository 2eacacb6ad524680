"""The OpenAPI 3.1 document, made once from the structs that check the requests."""

from functools import cache
from inspect import cleandoc
from typing import Any, Final, cast

import msgspec

from gateway import __version__
from gateway.api import schemas
from gateway.api.language import EN
from gateway.api.openapi_admin import ADMIN, PLATFORM
from gateway.api.openapi_audits import AUDITS
from gateway.api.openapi_letters import LETTERS
from gateway.api.openapi_operations import REPLAY, RESERVATIONS, STOCK_READS, Answer, Operation
from gateway.api.problem_samples import sample
from gateway.api.problems import CATALOGUE
from gateway.core.model import SKU_PATTERN

Json = dict[str, Any]

OPERATIONS: Final = (*RESERVATIONS, *STOCK_READS, *ADMIN, *LETTERS, *AUDITS, *PLATFORM)
REF: Final = "#/components/schemas/{name}"
PROBLEM_REF: Final = {"$ref": "#/components/schemas/ProblemOut"}

ANY_CALL: Final = ("internal-error", "overloaded", "store-unavailable", "outcome-unknown")
ANY_BODY: Final = (
    "malformed-json",
    "invalid-request",
    "body-too-large",
    "unsupported-media-type",
    "request-timeout",
)
ANY_STOCK_CHANGE: Final = ("stock-inconsistent", "rebuilding")

TAGS: Final = {
    "Reservations": "Hold units for a buyer, then sell or free them.",
    "Stock": "What a shop window may show.",
    "Administration": "SKUs and their stock; keys with the scope `admin`.",
    "Platform": "Health, metrics and documentation.",
}

DESCRIPTION: Final = """\
Sells scarce stock exactly once, however hard the crowd pushes.

A **reservation** holds units until a deadline; a **confirm** with the payment's reference sells \
them. Every refusal is a problem (RFC 9457) with a stable `code`, says whether a retry can help \
(`retryable`) and when (`Retry-After`). Times are RFC 3339 in UTC. Send `Accept-Language: zh` for \
Chinese texts. `X-Request-Id` and `traceparent` are echoed."""

HEADERS: Final[dict[str, Json]] = {
    "Location": {
        "description": "Where the reservation can be read.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Idempotent-Replayed": {
        "description": "`true` when the key was used before and nothing was done again. For "
        f"reservations: {REPLAY[0].lower()}{REPLAY[1:]}",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Retry-After": {
        "description": "Seconds until a retry can help.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "Preference-Applied": {
        "description": "Which preference was honoured, such as `wait=5`.",
        "schema": {"type": "string"},
    },
    "ETag": {
        "description": "Changes with the stock; send it back in `If-None-Match`.",
        "schema": {"type": "string"},
    },
    "Cache-Control": {
        "description": "How long the answer may be shown.",
        "schema": {"type": "string"},
    },
}

PARAMETERS: Final[dict[str, Json]] = {
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "required": True,
        "description": "Names this attempt: 1 to 255 printable ASCII characters, bare or quoted. "
        "Make one for each purchase; send the same with every retry until a reservation is made.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        "example": "cart-7f3a-try-1",
    },
    "Prefer": {
        "name": "Prefer",
        "in": "header",
        "description": "`wait=N`: wait up to N seconds for the ledger; `respond-async`: do not.",
        "schema": {"type": "string"},
        "example": "wait=5",
    },
    "IfNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "description": "The ETag of an earlier answer; 304 when nothing changed.",
        "schema": {"type": "string"},
    },
    "ReservationId": {
        "name": "id",
        "in": "path",
        "required": True,
        "description": "The reservation's id.",
        "schema": {"type": "string", "pattern": schemas.RESERVATION_ID_PATTERN},
        "example": "01KZ3V9Q2M00X4T7B2N8R6W1CD",
    },
    "Sku": {
        "name": "sku",
        "in": "path",
        "required": True,
        "description": "The SKU.",
        "schema": {"type": "string", "pattern": SKU_PATTERN},
        "example": "phone-x-256",
    },
    "DeadLetterId": {
        "name": "id",
        "in": "path",
        "required": True,
        "description": "The dead letter's number.",
        "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
        "example": "17",
    },
    "AuditId": {
        "name": "id",
        "in": "path",
        "required": True,
        "description": "The audit's number.",
        "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
        "example": "17",
    },
    "ProblemCode": {
        "name": "code",
        "in": "path",
        "required": True,
        "description": "A problem's code.",
        "schema": {"type": "string", "enum": sorted(CATALOGUE)},
        "example": "sold-out",
    },
}


@cache
def document() -> Json:
    """The whole document. Treat it as read-only: it is made once."""
    found: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "Stockgate",
            "version": __version__,
            "summary": "An order gateway for scarce stock.",
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": _paths(),
        "components": {
            "schemas": _schemas(),
            "parameters": PARAMETERS,
            "headers": HEADERS,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A key from the gateway's configuration. Scopes: `storefront`, "
                    "`admin`, `metrics`. A gateway without keys serves its own machine only and "
                    "needs none.",
                }
            },
        },
    }
    return cast(Json, _for_ecma(found))


@cache
def document_bytes() -> bytes:
    """The document as JSON."""
    return msgspec.json.encode(document())


def _paths() -> Json:
    paths: Json = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return paths


def _operation(it: Operation) -> Json:
    found: Json = {
        "operationId": it.name,
        "tags": [it.tag],
        "summary": it.summary,
        "description": it.description,
        "security": [{"bearer": [it.scope]}] if it.scope else [],
    }
    parameters = [{"$ref": f"#/components/parameters/{name}"} for name in it.parameters]
    if it.query is not None:
        parameters += _query_parameters(it.query)
    if parameters:
        found["parameters"] = parameters
    if it.body is not None:
        content = _content("application/json", _ref(it.body), it.example)
        found["requestBody"] = {"required": True, "content": content}
    answers = {str(answer.status): _answer(answer) for answer in it.answers}
    found["responses"] = {**_refusals(it), **answers}
    return found


def _answer(it: Answer) -> Json:
    found: Json = {"description": it.means}
    if it.headers:
        found["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in it.headers}
    if it.body is not None:
        found["content"] = _content(it.media, _ref(it.body), it.example)
    elif it.status != 304:
        found["content"] = {it.media: {}}
    if it.also:
        found["content"][it.also] = {}
    return found


def _content(media: str, schema: Json, example: Any) -> Json:
    return {media: {"schema": schema} | ({} if example is None else {"example": example})}


def _refusals(it: Operation) -> Json:
    by_status: dict[int, list[str]] = {}
    for code in _codes(it):
        codes = by_status.setdefault(CATALOGUE[code].status, [])
        if code not in codes:
            codes.append(code)
    return {str(status): _refusal(by_status[status]) for status in sorted(by_status)}


def _codes(it: Operation) -> tuple[str, ...]:
    codes = it.problems
    if it.body is not None:
        codes += ANY_BODY
    if it.query is not None:
        codes += ("invalid-request",)
    if it.scope:
        codes += ("unauthorized", "forbidden")
    if it.tag != "Platform":
        codes += ANY_CALL
        codes += ANY_STOCK_CHANGE if it.method != "get" else ()
    return codes


def _refusal(codes: list[str]) -> Json:
    found: Json = {
        "description": ", ".join(f"`{code}`" for code in codes),
        "content": {
            "application/problem+json": {
                "schema": PROBLEM_REF,
                "examples": {code: {"value": sample(code, EN)} for code in codes},
            }
        },
    }
    if any(CATALOGUE[code].retry_after_s for code in codes):
        found["headers"] = {"Retry-After": {"$ref": "#/components/headers/Retry-After"}}
    return found


def _ref(struct: type) -> Json:
    return {"$ref": REF.format(name=struct.__name__)}


def _schemas() -> Json:
    structs = {schemas.ProblemOut, *(answer.body for it in OPERATIONS for answer in it.answers)}
    structs |= {it.body for it in OPERATIONS}
    ordered = sorted((s for s in structs if s is not None), key=lambda struct: struct.__name__)
    _, found = msgspec.json.schema_components(ordered, ref_template=REF)
    found["BatchResultOut"]["properties"]["problem"] = PROBLEM_REF
    for name, schema in found.items():
        _tidy_schema(name, schema)
    return found


def _tidy_schema(name: str, schema: Json) -> None:
    schema.pop("title", None)
    schema["description"] = cleandoc(schema["description"])
    if name.endswith("In"):  # an omitted input is its zero inside; clients need not know
        for field in schema["properties"].values():
            field.pop("default", None)


def _query_parameters(struct: type) -> list[Json]:
    _, components = msgspec.json.schema_components([struct], ref_template=REF)
    schema = components[struct.__name__]
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _cleaned(field)}
        for name, field in schema["properties"].items()
    ]


def _cleaned(field: Json) -> Json:
    return {k: v for k, v in field.items() if not (k == "default" and v == "")}


def _for_ecma(value: Any) -> Any:
    """A copy for JSON Schema, which speaks ECMA-262: there $, not \\Z, is the very end."""
    if isinstance(value, dict):
        return {name: _for_ecma(child) for name, child in value.items()}
    if isinstance(value, list):
        return [_for_ecma(child) for child in value]
    if isinstance(value, str) and value.endswith(r"\Z"):
        return value.removesuffix(r"\Z") + "$"
    return value
