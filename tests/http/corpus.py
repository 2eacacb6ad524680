"""Bad input, as a table: what is sent, and which refusal it must meet."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

SKU = "goods"
RESERVATION = "/v1/reservations"
BATCH = "/v1/reservations/batch"
ADMIN = f"/v1/admin/skus/{SKU}"
ADJUST = f"{ADMIN}/adjustments"


class Bad(NamedTuple):
    """One bad request. `{held}` in the path is a held reservation's id.

    pointer: the fault's place in the body; parameter: instead, the query's or path's;
    both None: the problem has no list of errors.
    """

    name: str
    method: str
    path: str
    body: bytes
    status: int
    code: str
    pointer: str | None = None
    parameter: str | None = None
    key: bytes | None = b"key"
    content_type: bytes | None = b"application/json"


def reservation(**change: Any) -> dict[str, Any]:
    """A good body with members replaced; `...` leaves one out."""
    body = {"buyer": "ada", "lines": [{"sku": SKU, "quantity": 1}], **change}
    return {name: value for name, value in body.items() if value is not ...}


def _text(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def _one_line(**change: Any) -> bytes:
    line = {"sku": SKU, "quantity": 1, **change}
    return _text(reservation(lines=[{k: v for k, v in line.items() if v is not ...}]))


def _with_quantity(text: bytes) -> bytes:
    return b'{"buyer":"ada","lines":[{"sku":"%s","quantity":%s}]}' % (SKU.encode(), text)


MALFORMED = {
    "nothing": b"",
    "blank": b" \r\n\t",
    "cut-short": b'{"buyer":"ada","lines":[{"sku":"goods"',
    "trailing-words": _text(reservation()) + b" and more",
    "two-values": _text(reservation()) * 2,
    "trailing-comma": b'{"buyer":"ada","lines":[],}',
    "comment": b'{/* hi */"buyer":"ada","lines":[]}',
    "single-quotes": b"{'buyer':'ada'}",
    "bare-word": b"{buyer:1}",
    "not-utf-8": b'{"buyer":"\xff\xfe","lines":[]}',
    "overlong-utf-8": b'{"buyer":"\xc0\x80","lines":[]}',
    "utf-8-surrogate": b'{"buyer":"\xed\xa0\x80","lines":[]}',
    "utf-16": '{"buyer":"ada"}'.encode("utf-16"),
    "byte-order-mark": b"\xef\xbb\xbf" + _text(reservation()),
    "half-surrogate": b'{"buyer":"\\ud800","lines":[]}',
    "raw-newline-in-text": b'{"buyer":"a\nb","lines":[]}',
    "raw-nul": b'{"buyer":"a\x00b","lines":[]}',
    "bad-escape": b'{"buyer":"\\x41","lines":[]}',
    "nan": _with_quantity(b"NaN"),
    "infinity": _with_quantity(b"-Infinity"),
    "leading-zero": _with_quantity(b"01"),
    "plus": _with_quantity(b"+1"),
    "hex": _with_quantity(b"0x10"),
    "bare-minus": _with_quantity(b"-"),
    "half-number": _with_quantity(b"1."),
    "xml": b"<reservation/>",
    "form": b"buyer=ada&sku=goods",
}

QUANTITIES = {
    "zero": b"0",
    "minus-zero": b"-0",
    "minus-one": b"-1",
    "fraction": b"1.5",
    "whole-fraction": b"1.0",
    "exponent": b"1e3",
    "huge-exponent": b"1e400",
    "ten-to-the-30": b"1" + b"0" * 30,
    "ten-to-the-5000": b"1" + b"0" * 5000,
    "two-to-the-63": b"9223372036854775808",
    "over-the-limit": b"1000001",
    "text": b'"1"',
    "flag": b"true",
    "null": b"null",
    "array": b"[1]",
    "object": b'{"n":1}',
}

SKUS = {
    "braces": "a{b}",
    "hash-tag": "{sg:0}:sku:goods",
    "leading-colon": ":goods",
    "leading-dash": "-goods",
    "nul": "goods\x00",
    "newline-inside": "goo\nds",
    "newline-after": "goods\n",
    "carriage-return": "goods\r",
    "emoji": "goods😀",
    "accent": "gööds",
    "fullwidth": "ｇoods",
    "space": "goo ds",
    "space-after": "goods ",
    "pipe": "a|b",
    "star": "a*b",
    "comma": "a,b",
    "slash": "a/b",
    "quote": 'a"b',
    "empty": "",
    "65-characters": "g" * 65,
    "ten-kilobytes": "g" * 10_240,
}

BUYERS = {
    "empty": "",
    "pipe": "a|b",
    "newline": "ada\n",
    "nul": "a\x00b",
    "emoji": "ada😀",
    "leading-space": " ada",
    "129-characters": "a" * 129,
    "ten-kilobytes": "a" * 10_240,
}

VALUES: dict[str, tuple[Any, str]] = {
    "null-body": (None, ""),
    "array-body": ([], ""),
    "text-body": ("x", ""),
    "number-body": (1, ""),
    "empty-object": ({}, "/lines"),
    "no-buyer": (reservation(buyer=...), "/buyer"),
    "null-buyer": (reservation(buyer=None), "/buyer"),
    "number-buyer": (reservation(buyer=7), "/buyer"),
    "no-lines": (reservation(lines=...), "/lines"),
    "null-lines": (reservation(lines=None), "/lines"),
    "object-lines": (reservation(lines={}), "/lines"),
    "empty-lines": (reservation(lines=[]), "/lines"),
    "51-lines": (reservation(lines=[{"sku": SKU, "quantity": 1}] * 51), "/lines"),
    "1000-lines": (reservation(lines=[{"sku": SKU, "quantity": 1}] * 1000), "/lines"),
    "null-line": (reservation(lines=[None]), "/lines/0"),
    "text-line": (reservation(lines=["goods"]), "/lines/0"),
    "array-line": (reservation(lines=[[]]), "/lines/0"),
    "bad-third-line": (
        reservation(lines=[{"sku": SKU, "quantity": 1}] * 2 + [{"sku": SKU, "quantity": 0}]),
        "/lines/2/quantity",
    ),
    "unknown-field": (reservation(coupon="x"), "/coupon"),
    "unknown-field-case": (reservation(Buyer="ada"), "/Buyer"),
    "unknown-field-escaped": (reservation(**{"a/b~c": 1}), "/a~1b~0c"),
    "unknown-field-of-line": (
        reservation(lines=[{"sku": SKU, "quantity": 1, "price": 0}]),
        "/lines/0/price",
    ),
    "prototype": (reservation(__proto__={}), "/__proto__"),
    "ttl-zero": (reservation(ttl_s=0), "/ttl_s"),
    "ttl-negative": (reservation(ttl_s=-1), "/ttl_s"),
    "ttl-over": (reservation(ttl_s=14_401), "/ttl_s"),
    "ttl-fraction": (reservation(ttl_s=1.5), "/ttl_s"),
    "ttl-text": (reservation(ttl_s="60"), "/ttl_s"),
    "ttl-null": (reservation(ttl_s=None), "/ttl_s"),
    "channel-empty": (reservation(channel=""), "/channel"),
    "channel-long": (reservation(channel="c" * 33), "/channel"),
    "channel-space": (reservation(channel="the app"), "/channel"),
}

REPEATED: dict[str, tuple[bytes, str]] = {
    "buyer-twice": (
        b'{"buyer":"ada","buyer":"ada","lines":[{"sku":"goods","quantity":1}]}',
        "/buyer",
    ),
    "buyer-twice-escaped": (
        b'{"buyer":"ada","b\\u0075yer":"bob","lines":[{"sku":"goods","quantity":1}]}',
        "/buyer",
    ),
    "sku-twice": (
        b'{"buyer":"ada","lines":[{"sku":"goods","sku":"goods","quantity":1}]}',
        "/lines/0/sku",
    ),
    "quantity-twice": (
        b'{"buyer":"ada","lines":[{"sku":"goods","quantity":9,"quantity":1}]}',
        "/lines/0/quantity",
    ),
    "lines-twice": (
        b'{"buyer":"ada","lines":[],"lines":[{"sku":"goods","quantity":1}]}',
        "/lines",
    ),
}

KEYS: dict[str, tuple[bytes | None, str]] = {
    "missing": (None, "idempotency-key-missing"),
    "empty": (b"", "idempotency-key-malformed"),
    "empty-quoted": (b'""', "idempotency-key-malformed"),
    "unterminated": (b'"abc', "idempotency-key-malformed"),
    "after-the-quotes": (b'"abc" d', "idempotency-key-malformed"),
    "bad-escape": (b'"a\\bc"', "idempotency-key-malformed"),
    "256-characters": (b"k" * 256, "idempotency-key-malformed"),
    "ten-kilobytes": (b"k" * 10_240, "idempotency-key-malformed"),
    "utf-8": ("schlüssel".encode(), "idempotency-key-malformed"),
    "latin-1": (b"schl\xfcssel", "idempotency-key-malformed"),
    "tab-inside": (b"a\tb", "idempotency-key-malformed"),
}

TYPES: dict[str, bytes | None] = {
    "missing": None,
    "empty": b"",
    "text": b"text/plain",
    "form": b"application/x-www-form-urlencoded",
    "multipart": b"multipart/form-data; boundary=x",
    "problem": b"application/problem+json",
    "json-lines": b"application/json-lines",
    "latin-1": b"application/json; charset=iso-8859-1",
    "utf-16": b'application/json; charset="utf-16"',
    "two": b"application/json, text/plain",
}


def reservations() -> Iterator[Bad]:
    """Everything that is wrong with one reservation."""

    def bad(
        name: str, body: Any, status: int, code: str, pointer: str | None = None, **more: Any
    ) -> Bad:
        return Bad(name, "POST", RESERVATION, _text(body), status, code, pointer, **more)

    for name, body in MALFORMED.items():
        yield bad(f"malformed-{name}", body, 400, "malformed-json", "")
    for name, text in QUANTITIES.items():
        place = "/lines/0/quantity"
        yield bad(f"quantity-{name}", _with_quantity(text), 422, "invalid-request", place)
    for name in ("sku", "quantity"):
        body, place = _one_line(**{name: ...}), f"/lines/0/{name}"
        yield bad(f"{name}-missing", body, 422, "invalid-request", place)
    for name, sku in SKUS.items():
        yield bad(f"sku-{name}", _one_line(sku=sku), 422, "invalid-request", "/lines/0/sku")
    for name, buyer in BUYERS.items():
        yield bad(f"buyer-{name}", reservation(buyer=buyer), 422, "invalid-request", "/buyer")
    for name, (value, pointer) in VALUES.items():
        yield bad(f"value-{name}", value, 422, "invalid-request", pointer)
    for name, (text, pointer) in REPEATED.items():
        yield bad(f"repeated-{name}", text, 422, "invalid-request", pointer)
    for name, (key, code) in KEYS.items():
        yield bad(f"key-{name}", reservation(), 400, code, key=key)
    for name, media in TYPES.items():
        code = "unsupported-media-type"
        yield bad(f"type-{name}", reservation(), 415, code, content_type=media)
    padded = _text(reservation()) + b" " * 1_048_576
    yield bad("a-body-over-the-limit", padded, 413, "body-too-large")
