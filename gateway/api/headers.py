"""Request headers: what they may say and what it means. Nothing here does I/O.

`index` turns ASGI's list into a dict once a request; the rest takes single values from it.
"""

import itertools
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import msgspec

from gateway.api.language import EN, ZH
from gateway.api.problems import BadRequest
from gateway.api.schemas import KEY_PATTERN
from gateway.core.clock import Clock

RawHeaders = Iterable[tuple[bytes, bytes]]

WAIT_S_MAX: Final = 3600  # larger waits in Prefer are nonsense and are ignored
LANGUAGE_LENGTH_MAX: Final = 256
# Headers that are lists: several of them mean their concatenation. Others may come only once.
LIST_HEADERS: Final = frozenset(
    {b"accept", b"accept-language", b"if-none-match", b"prefer", b"forwarded", b"via", b"cookie"}
)
TWICE: Final = b"\x00"  # joins a repeated single header, and so makes it invalid

_key = re.compile(KEY_PATTERN.encode()).search
_quoted_key = re.compile(rb'^"((?:[ !#-\[\]-~]|\\["\\]){0,510})"\Z').search
_escape = re.compile(rb"\\(.)")
_request_id = re.compile(rb"^[A-Za-z0-9._-]{1,64}\Z").search
_traceparent = re.compile(
    rb"^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]{0,64})?\Z"
).search


def index(headers: RawHeaders) -> dict[bytes, bytes]:
    """Headers by lower-case name, as ASGI gives them.

    A repeated list header is joined with commas; any other repeated header gets a value that
    no check accepts.
    """
    pairs = list(headers)
    found = dict(pairs)
    return found if len(found) == len(pairs) else _joined(pairs)


def _joined(pairs: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name, value in pairs:
        if name in found:
            glue = b", " if name in LIST_HEADERS else TWICE
            value = found[name] + glue + value
        found[name] = value
    return found


def idempotency_key(value: bytes | None) -> str:
    """The key, from its bare or its quoted form (RFC 8941 string); both name the same key.

    Raises BadRequest: idempotency-key-missing, idempotency-key-malformed.
    """
    if value is None:
        raise BadRequest("idempotency-key-missing")
    key = value.strip(b" \t")
    if key[:1] == b'"':
        key = _unquoted(key)
    if not _key(key):
        raise BadRequest("idempotency-key-malformed")
    return key.decode("ascii")


def _unquoted(value: bytes) -> bytes:
    quoted = _quoted_key(value)
    return _escape.sub(rb"\1", quoted[1]) if quoted else b""


class Prefer(msgspec.Struct, frozen=True, gc=False):
    """What a client prefers (RFC 7240); None and False: it did not say."""

    wait_s: int | None = None
    respond_async: bool = False

    def patience_s(self, default_s: float, *, most_s: float) -> float:
        """Seconds to wait for the ledger before answering 202."""
        if self.wait_s is not None:
            return min(float(self.wait_s), most_s)
        return 0.0 if self.respond_async else default_s

    def waiting(self) -> "Prefer":
        """Without the wish for an answer at once, where there is none to be had."""
        return Prefer(self.wait_s or None)

    def applied(self, *, most_s: float) -> str:
        """The text of Preference-Applied; "" when nothing was preferred."""
        parts = ["respond-async"] if self.respond_async else []
        if self.wait_s is not None:
            parts.append(f"wait={min(self.wait_s, int(most_s))}")
        return ", ".join(parts)


NO_PREFERENCE: Final = Prefer()


def prefer(value: bytes | None) -> Prefer:
    """Parses Prefer; what it does not know is ignored, and the first of a kind counts."""
    if not value:
        return NO_PREFERENCE
    wait_s: int | None = None
    respond_async = False
    for item in value.decode("latin-1").split(",")[:16]:
        name, _, argument = item.split(";", 1)[0].partition("=")
        name, argument = name.strip().lower(), argument.strip().strip('"')
        if name == "respond-async":
            respond_async = True
        elif name == "wait" and wait_s is None:
            wait_s = _seconds(argument)
    return Prefer(wait_s, respond_async)


def _seconds(text: str) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= 4):
        return None
    seconds = int(text)
    return seconds if seconds <= WAIT_S_MAX else None


def language(value: bytes | None) -> str:
    """The language of Accept-Language: "zh" when it prefers Chinese to English, else "en"."""
    if not value:
        return EN
    return _language(value[:LANGUAGE_LENGTH_MAX])


@lru_cache(maxsize=512)
def _language(value: bytes) -> str:
    weights: dict[str, float] = {}
    for item in value.decode("latin-1").lower().split(","):
        tag, _, parameters = item.strip().partition(";")
        primary = tag.strip().split("-", 1)[0]
        weights[primary] = max(weights.get(primary, 0.0), _weight(parameters))
    other = weights.get("*", 0.0)
    chinese, english = weights.get(ZH, 0.0), weights.get(EN, other)
    if chinese == english and EN in weights:
        order = list(weights)
        return ZH if chinese and order.index(ZH) < order.index(EN) else EN
    return ZH if chinese and chinese >= english else EN


def _weight(parameters: str) -> float:
    name, _, number = parameters.partition("=")
    if name.strip() != "q":
        return 1.0
    weight = re.fullmatch(r"\s*([01](?:\.[0-9]{0,3})?)\s*", number)
    return min(float(weight[1]), 1.0) if weight else 0.0


def etag_matches(if_none_match: bytes | None, etag: bytes) -> bool:
    """Whether If-None-Match names `etag` (with its quotes), by weak comparison."""
    if if_none_match is None:
        return False
    if if_none_match == etag or if_none_match.strip() == b"*":
        return True
    bare = etag.removeprefix(b"W/")
    return any(item.strip().removeprefix(b"W/") == bare for item in if_none_match.split(b",")[:32])


def traceparent(value: bytes | None) -> bytes | None:
    """The W3C trace context to echo, if it is valid."""
    return value if value is not None and _traceparent(value) else None


class RequestIds:
    """Names for requests: the client's own if it is safe to log, else a fresh one."""

    def __init__(self, clock: Clock) -> None:
        self._prefix = f"{clock.now_ms():x}-{int(clock.jitter() * 2**32):08x}-".encode()
        self._numbers = itertools.count(1)

    def name(self, incoming: bytes | None) -> bytes:
        """1 to 64 characters of letters, digits and `. _ -`."""
        if incoming is not None and _request_id(incoming):
            return incoming
        return self._prefix + b"%x" % next(self._numbers)
