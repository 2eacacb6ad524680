"""Bodies: read within limits, decode strictly, refuse with a reason.

A decoder accepts a body at msgspec's speed. Only when msgspec refuses it, or when a name may
have come twice, does `explain` look again and say what is wrong.

Names that come twice: in valid JSON each string takes two quote bytes, and an escaped quote
adds one. The decoded value tells how many strings the body must have held; a repeated name
adds at least one more. So exactly as many quotes as expected means that no name came twice.
"""

import re
from collections.abc import Awaitable, Callable, Generator, Iterable, MutableMapping
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import inspect

from gateway.api.explain import explain
from gateway.api.problems import BadRequest, FieldError
from gateway.core.clock import Clock

T = TypeVar("T")
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

UNSURE: Final = -1  # never the number of quotes: look properly
JSON: Final = b"application/json"
DIGITS_MAX: Final = 15

_json_type = re.compile(
    rb'^application/json[ \t]*(?:;[ \t]*charset=(?:utf-8|"utf-8")[ \t]*)?;?\Z', re.IGNORECASE
).search


class ClientGone(Exception):
    """The client closed the connection before its body was complete: nobody awaits an answer."""


class BodyDecoder(Generic[T]):
    """Decodes one type of body.

    Args:
        kind: the struct.
        quotes: how many quote bytes a body must have had to become this value without a
            repeated name; UNSURE (or no function): look properly each time.
        rules: what msgspec cannot check: rules between fields.
    """

    __slots__ = ("kind", "parse", "quotes", "rules")

    def __init__(
        self,
        kind: type[T],
        *,
        quotes: Callable[[T], int] = lambda _: UNSURE,
        rules: Callable[[T], Iterable[FieldError]] | None = None,
    ) -> None:
        self.kind: inspect.Type = inspect.type_info(kind)
        self.parse: Callable[[bytes], T] = msgspec.json.Decoder(kind).decode
        self.quotes = quotes
        self.rules = rules


def decode(body: bytes, decoder: BodyDecoder[T]) -> T:
    """The body as its struct. Raises BadRequest: malformed-json, invalid-request."""
    try:
        value = decoder.parse(body)
    except (ValueError, RecursionError) as refusal:
        raise explain(body, decoder.kind, refusal) or _unexplained(refusal) from None
    if body.count(b'"') != decoder.quotes(value):
        fault = explain(body, decoder.kind, None)
        if fault is not None:
            raise fault
    if decoder.rules is not None:
        errors = list(decoder.rules(value))
        if errors:
            raise BadRequest("invalid-request", errors)
    return value


def _unexplained(refusal: Exception) -> BadRequest:
    return BadRequest("invalid-request", [FieldError("", "other", {"message": str(refusal)})])


def check_content_type(value: bytes | None) -> None:
    """Raises BadRequest unsupported-media-type unless it is JSON in UTF-8."""
    if value == JSON:
        return
    if value is None or not _json_type(value.strip()):
        raise BadRequest("unsupported-media-type")


def check_content_length(value: bytes | None, size_max: int) -> None:
    """Raises BadRequest body-too-large as soon as the header announces it."""
    if value is not None and value.isdigit() and (len(value) > DIGITS_MAX or int(value) > size_max):
        raise too_large(size_max)


def too_large(size_max: int) -> BadRequest:
    """The refusal of a body of more than `size_max` bytes."""
    return BadRequest("body-too-large", params={"limit": size_max})


class ReadBody:
    """Awaitable: the whole body, at most `size_max` bytes, within `timeout_s`.

    A body that has already arrived, as most have, is taken without a deadline: setting one
    costs ten times as much as reading. Awaiting raises BadRequest (body-too-large,
    request-timeout) and ClientGone.
    """

    __slots__ = ("_clock", "_receive", "_size_max", "_timeout_s")

    def __init__(self, receive: Receive, *, size_max: int, clock: Clock, timeout_s: float) -> None:
        self._receive = receive
        self._size_max = size_max
        self._clock = clock
        self._timeout_s = timeout_s

    def __await__(self) -> Generator[Any, Any, bytes]:
        steps = _read(self._receive, self._size_max).__await__()
        try:
            awaited = next(steps)
        except StopIteration as finished:
            return bytes(finished.value)
        rest = _Rest(awaited, steps)
        return (yield from _in_time(rest, self._clock, self._timeout_s).__await__())


async def _in_time(rest: "_Rest", clock: Clock, timeout_s: float) -> bytes:
    try:
        async with clock.timeout(timeout_s):
            return await rest
    except TimeoutError:
        raise BadRequest("request-timeout", params={"timeout_s": f"{timeout_s:g}"}) from None


class _Rest:
    """A coroutine begun by hand: waits for what it awaits, then goes on with it."""

    __slots__ = ("_awaited", "_steps")

    def __init__(self, awaited: Any, steps: Generator[Any, Any, bytes]) -> None:
        self._awaited = awaited
        self._steps = steps

    def __await__(self) -> Generator[Any, Any, bytes]:
        awaited, steps = self._awaited, self._steps
        while True:
            thrown: BaseException | None = None
            sent: Any = None
            try:
                sent = yield awaited
            except BaseException as error:
                thrown = error
            try:
                awaited = steps.send(sent) if thrown is None else steps.throw(thrown)
            except StopIteration as finished:
                return bytes(finished.value)


async def _read(receive: Receive, size_max: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > size_max:
            raise too_large(size_max)
        if not message.get("more_body", False):
            return b"".join([*parts, part]) if parts else part
        parts.append(part)
