"""Every refusal a client can get: its code, status, whether a retry helps, and its words.

A code's `type` is `/problems/{code}`, where its documentation is served. `render` makes the
answer (RFC 9457), `as_dict` the same for an entry of a batch. The words are in problem_texts.py
and rule_texts.py.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, Final

import msgspec

from gateway.api.language import EN, LANGUAGES, ZH
from gateway.api.problem_texts import TEXTS
from gateway.api.problem_texts_sale import VARIANTS
from gateway.api.rule_texts import KIND_TEXTS, MORE_TEXTS, RULE_TEXTS
from gateway.core.errors import StockgateError

Headers = list[tuple[bytes, bytes]]
Params = Mapping[str, object]

PROBLEM_TYPE: Final = b"application/problem+json"
WORD_LENGTH_MAX: Final = 80  # of a client's own words, when a text repeats them
ECHO_LENGTH_MAX: Final = 200  # of a path or SKU, when the body repeats it
KIND_PARAMS: Final = ("expected", "got")  # whose values are keys of KIND_TEXTS
_NOTHING: Final[Params] = MappingProxyType({})
_encode = msgspec.json.Encoder().encode


class Entry(msgspec.Struct, frozen=True):
    """What is fixed about a code.

    members: parameters that the body carries under their own name; defaults: parameters that
    may be left out; retry_after_s: Retry-After when the caller gives none (0: no header);
    variant_on: a parameter that, when truthy, changes the words and makes `retryable` false.
    """

    status: int
    retryable: bool = False
    members: tuple[str, ...] = ()
    defaults: Params = {}
    retry_after_s: int = 0
    variant_on: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()


CATALOGUE: Final[dict[str, Entry]] = {
    "malformed-json": Entry(400),
    "idempotency-key-missing": Entry(400),
    "idempotency-key-malformed": Entry(400),
    "unauthorized": Entry(401, headers=((b"www-authenticate", b'Bearer realm="stockgate"'),)),
    "forbidden": Entry(403, members=("scope",)),
    "not-found": Entry(404),
    "unknown-sku": Entry(404, members=("sku",)),
    "unknown-reservation": Entry(404),
    "unknown-dead-letter": Entry(404),
    "unknown-audit": Entry(404),
    "method-not-allowed": Entry(405),
    "request-timeout": Entry(408, retryable=True, headers=((b"connection", b"close"),)),
    "sold-out": Entry(409, members=("sku", "available"), variant_on="available"),
    "buyer-limit": Entry(409, members=("sku", "limit")),
    "sale-not-open": Entry(
        409,
        retryable=True,
        members=("sku", "opens_at", "closed_at"),
        retry_after_s=1,
        variant_on="closed_at",
    ),
    "reservation-released": Entry(
        409, members=("refund_required",), defaults={"refund_required": False}
    ),
    "reservation-confirmed": Entry(409, members=("state",), defaults={"state": "confirmed"}),
    "deduction-rejected": Entry(
        409, members=("refund_required",), defaults={"refund_required": True}
    ),
    "payment-ref-conflict": Entry(
        409,
        members=("refund_required", "payment_ref"),
        defaults={"refund_required": False},
        variant_on="refund_required",
    ),
    "dead-letter-not-waiting": Entry(409, members=("letter_state",)),
    "dead-letter-not-retryable": Entry(409),
    "adjustment-refused": Entry(409, members=("sku", "available")),
    "reservation-expired": Entry(
        410,
        members=("refund_required",),
        defaults={"refund_required": False},
        variant_on="refund_required",
    ),
    "body-too-large": Entry(413, members=("limit",), headers=((b"connection", b"close"),)),
    "unsupported-media-type": Entry(415, headers=((b"accept", b"application/json"),)),
    "idempotency-mismatch": Entry(422),
    "invalid-request": Entry(422),
    "receipt-invalid": Entry(422),
    "fuse-open": Entry(429, retryable=True, members=("sku", "presale"), retry_after_s=2),
    "internal-error": Entry(500, retryable=True, defaults={"request_id": "-"}),
    "overloaded": Entry(503, retryable=True, retry_after_s=1),
    "store-unavailable": Entry(503, retryable=True, retry_after_s=1),
    "outcome-unknown": Entry(503, retryable=True, retry_after_s=1),
    "ledger-unavailable": Entry(503, retryable=True, retry_after_s=2),
    "rebuilding": Entry(503, retryable=True, members=("sku",), retry_after_s=2),
    "stock-inconsistent": Entry(503, members=("sku",)),
}


class FieldError(msgspec.Struct, frozen=True):
    """One thing wrong with a request.

    pointer: RFC 6901, into the body; parameter: instead, the query parameter's name;
    rule: a key of RULE_TEXTS; params: what its text needs.
    """

    pointer: str
    rule: str
    params: Params = {}
    parameter: str = ""

    def text(self, lang: str) -> str:
        """What is wrong, in one sentence."""
        return RULE_TEXTS[self.rule][lang == ZH].format_map(_localised(self.params, lang))

    def as_dict(self, lang: str) -> dict[str, str]:
        """The error as an item of a problem's `errors`."""
        item = {"pointer": self.pointer, "detail": self.text(lang)}
        if self.parameter:
            item["parameter"] = self.parameter
        return item


class BadRequest(StockgateError):
    """A request that cannot be understood; everything `render` needs to say so.

    Raised only at the edge, before anything was done.
    """

    def __init__(
        self,
        code: str,
        errors: Sequence[FieldError] = (),
        *,
        params: Params = _NOTHING,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(code)
        self.code = code
        self.errors = tuple(errors)
        self.params = params
        self.headers = tuple(headers)

    def render(self, *, lang: str = EN, instance: str = "") -> tuple[int, Headers, bytes]:
        """Status, ASGI headers and body."""
        return render(
            self.code,
            lang=lang,
            instance=instance,
            params=self.params,
            errors=self.errors,
            headers=self.headers,
        )


def render(
    code: str,
    *,
    lang: str = EN,
    instance: str = "",
    params: Params = _NOTHING,
    errors: Sequence[FieldError] = (),
    retry_after_s: float | None = None,
    jitter: float = 0.0,
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> tuple[int, Headers, bytes]:
    """Status, ASGI headers and body of the problem `code`.

    Args:
        lang: "en" or "zh".
        instance: the request's path, or the id of the request.
        params: what the texts name and the body carries; see CATALOGUE.
        retry_after_s: seconds until a retry can help; None: the code's own.
        jitter: a number in [0, 1) that spreads Retry-After: over once to twice the code's own
            time, and at most a second past a time that was given.
        headers: more headers, such as Allow; they replace the code's own of the same name.
    """
    form = _form(code, lang, params)
    wait_s = _retry_after_s(form, retry_after_s, jitter)
    body = form.head + _encode(_rest(form, lang, instance, params, errors, wait_s))[1:]
    answer = [*form.headers, (b"content-length", b"%d" % len(body))]
    if headers:
        answer = _replaced(answer, headers)
    if wait_s:
        answer.append((b"retry-after", b"%d" % wait_s))
    return form.status, answer, body


def _replaced(headers: Headers, others: Sequence[tuple[bytes, bytes]]) -> Headers:
    names = {name for name, _ in others}
    return [pair for pair in headers if pair[0] not in names] + list(others)


def as_dict(
    code: str,
    *,
    lang: str = EN,
    params: Params = _NOTHING,
    errors: Sequence[FieldError] = (),
    retry_after_s: float | None = None,
    jitter: float = 0.0,
) -> dict[str, Any]:
    """The problem as the body of a batch entry; its `status` is the entry's."""
    form = _form(code, lang, params)
    wait_s = _retry_after_s(form, retry_after_s, jitter)
    return form.fixed | _rest(form, lang, "", params, errors, wait_s)


class _Form(msgspec.Struct, frozen=True):
    """One code, language and variant, with everything done that can be done beforehand."""

    status: int
    fixed: dict[str, Any]
    head: bytes  # `fixed` as JSON up to where the rest follows
    headers: tuple[tuple[bytes, bytes], ...]
    detail: str
    members: tuple[str, ...]
    defaults: Params
    retry_after_s: int


@cache
def _make_form(code: str, lang: str, variant: bool) -> _Form:
    entry = CATALOGUE[code]
    title, detail = VARIANTS[code][lang] if variant else TEXTS[code][lang][:2]
    fixed = {
        "type": f"/problems/{code}",
        "title": title,
        "status": entry.status,
        "code": code,
        "retryable": entry.retryable and not variant,
    }
    fixed_headers = (
        (b"content-type", PROBLEM_TYPE),
        (b"content-language", lang.encode()),
        (b"cache-control", b"no-store"),
    )
    return _Form(
        status=entry.status,
        fixed=fixed,
        head=_encode(fixed)[:-1] + b",",
        headers=fixed_headers + entry.headers,
        detail=detail,
        members=entry.members,
        defaults=entry.defaults,
        retry_after_s=0 if variant else entry.retry_after_s,
    )


def _form(code: str, lang: str, params: Params) -> _Form:
    variant_on = CATALOGUE[code].variant_on
    variant = bool(variant_on and params.get(variant_on))
    return _make_form(code, lang if lang in LANGUAGES else EN, variant)


def _rest(
    form: _Form,
    lang: str,
    instance: str,
    params: Params,
    errors: Sequence[FieldError],
    wait_s: int,
) -> dict[str, Any]:
    if errors:
        params = {**params, "summary": _summary(errors, lang)}
    if form.defaults:
        params = {**form.defaults, **params}
    if isinstance(sku := params.get("sku"), str) and len(sku) > ECHO_LENGTH_MAX:
        params = {**params, "sku": _cut(sku, ECHO_LENGTH_MAX)}
    rest: dict[str, Any] = {"detail": _fill(form.detail, params)}
    if instance:
        rest["instance"] = _cut(instance, ECHO_LENGTH_MAX)
    for name in form.members:
        if params.get(name, "") != "":
            rest[name] = params[name]
    if errors:
        rest["errors"] = [error.as_dict(lang) for error in errors]
    if wait_s:
        rest["retry_after_s"] = wait_s
    return rest


def _fill(template: str, params: Params) -> str:
    try:
        return template.format_map(params)
    except KeyError:  # a forgotten parameter must not turn a refusal into a 500
        return template.format_map(_Gaps(params))


class _Gaps(dict[str, object]):
    """Parameters of which any may be missing."""

    def __missing__(self, name: str) -> str:
        return "?"


def _summary(errors: Sequence[FieldError], lang: str) -> str:
    first, more = errors[0], len(errors) - 1
    place = first.parameter or first.pointer
    text = f"`{place}`: {first.text(lang)}" if place else first.text(lang)
    return MORE_TEXTS[lang == ZH].format(first=text, more=more) if more else text


def _localised(params: Params, lang: str) -> dict[str, object]:
    return {name: _word(name, value, lang) for name, value in params.items()}


def _word(name: str, value: object, lang: str) -> object:
    if not isinstance(value, str):
        return value
    if name in KIND_PARAMS:
        return KIND_TEXTS[value][lang == ZH]
    return _cut(value, WORD_LENGTH_MAX)


def _cut(text: str, length_max: int) -> str:
    return text if len(text) <= length_max else text[:length_max] + "…"


def _retry_after_s(form: _Form, asked_s: float | None, jitter: float) -> int:
    """Whole seconds, at least 1 and at least what was asked for; 0 when no retry is advised.

    A known moment is spread over one second only: who obeys must not miss it by much.
    """
    if asked_s is None:
        return form.retry_after_s + round(form.retry_after_s * jitter)
    return max(1, math.ceil(asked_s)) + round(jitter)
