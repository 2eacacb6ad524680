"""One HTTP call: from ASGI's scope to an answer. Every error becomes a problem here.

A handler takes a `Call` and returns a `Reply`; it may raise what `core/errors.py` lists and
`BadRequest`. It is run by `Endpoint`, whether the router or the hot path found it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import Raw

from gateway.api import headers as h
from gateway.api.auth import Caller
from gateway.api.body import (
    BodyDecoder,
    ClientGone,
    ReadBody,
    check_content_length,
    check_content_type,
    decode,
)
from gateway.api.problems import BadRequest, FieldError, Headers, Params, render
from gateway.api.services import Services
from gateway.core import metrics
from gateway.core.errors import (
    InvariantBreach,
    LedgerUnavailable,
    OutcomeUnknown,
    Overloaded,
    StoreUnavailable,
)

_log = logging.getLogger(__name__)

T = TypeVar("T")
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

ANSWER = "stockgate.answer"
"""ASGI extension: a function of status, headers and body that answers in one piece."""

BODY_TIMEOUT_S = 10.0
"""A body that takes longer to arrive is refused."""

QUERY_FIELDS_MAX = 200
"""More parameters than any call takes."""

_encode = msgspec.json.Encoder().encode


class Reply(NamedTuple):
    """Status, headers and body of an answer."""

    status: int
    headers: Headers
    body: bytes


Handler = Callable[["Call"], Awaitable[Reply]]


class Call:
    """One request, with what its handler needs."""

    __slots__ = ("_receive", "caller", "headers", "scope", "services")

    def __init__(self, scope: Scope, receive: Receive, services: Services) -> None:
        self.scope = scope
        self.services = services
        self.headers = h.index(scope["headers"])
        self._receive = receive
        self.caller: Caller

    @property
    def lang(self) -> str:
        """The language that problems speak: en or zh."""
        return h.language(self.headers.get(b"accept-language"))

    @property
    def path(self) -> str:
        """The path that was asked for."""
        return str(self.scope["path"])

    def parameter(self, name: str) -> str:
        """A parameter of the path."""
        return str(self.scope["path_params"][name])

    def query(self) -> list[tuple[str, str]]:
        """The query's parameters in order; a value may be empty."""
        text = self.scope["query_string"].decode("latin-1")
        try:
            return parse_qsl(text, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX)
        except ValueError:
            count = text.count("&") + 1
            bounds = {"low": 0, "high": QUERY_FIELDS_MAX, "count": count}
            raise BadRequest("invalid-request", [FieldError("", "size", bounds)]) from None

    async def body(self) -> bytes:
        """The raw body, within the limits of size and time."""
        size_max = self.services.config.server.body_max_bytes
        check_content_length(self.headers.get(b"content-length"), size_max)
        return await ReadBody(
            self._receive, size_max=size_max, clock=self.services.clock, timeout_s=BODY_TIMEOUT_S
        )

    async def read(self, decoder: BodyDecoder[T]) -> T:
        """The body as its struct. Raises BadRequest."""
        check_content_type(self.headers.get(b"content-type"))
        return decode(await self.body(), decoder)

    def problem(
        self, code: str, params: Params | None = None, retry_after_s: float | None = None
    ) -> Reply:
        """A refusal."""
        return Reply(
            *render(
                code,
                lang=self.lang,
                instance=self.path,
                params=params or {},
                retry_after_s=retry_after_s,
                jitter=self.services.clock.jitter(),
            )
        )


NO_STORE = (b"cache-control", b"no-store")
JSON_TYPE = (b"content-type", b"application/json")


def json_reply(status: int, value: Any, *more: tuple[bytes, bytes], store: bool = False) -> Reply:
    """An answer in JSON; not to be stored unless its headers say otherwise (`store`)."""
    body = bytes(value) if type(value) is Raw else _encode(value)
    length = (b"content-length", b"%d" % len(body))
    fixed = [JSON_TYPE, length] if store else [JSON_TYPE, length, NO_STORE]
    return Reply(status, [*fixed, *more], body)


class Endpoint:
    """An ASGI application for one operation: checks the caller, runs the handler, answers.

    scope: what the caller's key must allow; "" lets everyone in.
    """

    def __init__(self, name: str, handler: Handler, services: Services, *, scope: str) -> None:
        self._handler = handler
        self._services = services
        self._needs = scope
        self._name = name
        self._request_ids = h.RequestIds(services.clock)
        self._counters: dict[int, Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = Call(scope, receive, self._services)
        request_id = self._request_ids.name(call.headers.get(b"x-request-id"))
        try:
            if self._needs:
                call.caller = self._services.auth.require(
                    call.headers.get(b"authorization"), self._needs
                )
            reply = await self._handler(call)
        except ClientGone:
            return
        except BadRequest as refusal:
            reply = Reply(*refusal.render(lang=call.lang, instance=call.path))
        except asyncio.CancelledError:  # the server stops and waits no longer
            reply = call.problem("outcome-unknown")
        except Exception as error:
            reply = _failure(call, error, request_id)
        self._head(call, reply, request_id)
        await _send(call, send, reply)

    def finished(self, call: Call, reply: Reply) -> Reply:
        """The reply with what every answer carries, for those who answer without a task."""
        self._head(call, reply, self._request_ids.name(call.headers.get(b"x-request-id")))
        return reply

    def counted(self, status: int, request_id: bytes | None) -> bytes:
        """The name of a request that is answered by hand; its answer is counted."""
        self._count(status)
        return self._request_ids.name(request_id)

    def failed(self, call: Call, error: BaseException) -> Reply:
        """The reply to a request that ended in an error."""
        request_id = self._request_ids.name(call.headers.get(b"x-request-id"))
        if isinstance(error, Exception):
            reply = _failure(call, error, request_id)
        else:
            reply = call.problem("outcome-unknown")
        self._head(call, reply, request_id)
        return reply

    def _head(self, call: Call, reply: Reply, request_id: bytes) -> None:
        self._count(reply.status)
        reply.headers.append((b"x-request-id", request_id))
        trace = h.traceparent(call.headers.get(b"traceparent"))
        if trace is not None:
            reply.headers.append((b"traceparent", trace))

    def _count(self, status: int) -> None:
        counter = self._counters.get(status)
        if counter is None:
            counter = self._counters[status] = metrics.REQUESTS.labels(self._name, str(status))
        counter.inc()


async def _send(call: Call, send: Send, reply: Reply) -> None:
    body = b"" if call.scope["method"] == "HEAD" else reply.body
    extensions = call.scope.get("extensions")
    if extensions and ANSWER in extensions:
        await extensions[ANSWER](reply.status, reply.headers, body)
        return
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    await send({"type": "http.response.body", "body": body})


def error_code(error: Exception) -> tuple[str, float | None] | None:
    """The problem that an infrastructure error is shown as, and when to retry; None: a bug."""
    if isinstance(error, Overloaded):
        return "overloaded", error.retry_after_s
    if isinstance(error, StoreUnavailable):
        return "store-unavailable", None
    if isinstance(error, OutcomeUnknown):
        return "outcome-unknown", None
    if isinstance(error, LedgerUnavailable):
        return "ledger-unavailable", None
    if isinstance(error, InvariantBreach):
        metrics.INVARIANT_BREACHES.inc()
        _log.error("refused: %s", error)
        return "stock-inconsistent", None
    return None


def _failure(call: Call, error: Exception, request_id: bytes) -> Reply:
    known = error_code(error)
    if known is None:
        _log.error("request %s failed", request_id.decode(), exc_info=error)
        return call.problem("internal-error", {"request_id": request_id.decode()})
    return call.problem(
        known[0], {"sku": ""} if known[0] == "stock-inconsistent" else None, known[1]
    )


class Methods:
    """An ASGI application for one path: an endpoint a method, 405 with Allow for others."""

    def __init__(self, services: Services, endpoints: dict[str, Endpoint]) -> None:
        self._endpoints = dict(endpoints)
        if "GET" in endpoints:
            self._endpoints["HEAD"] = endpoints["GET"]
        allow = ", ".join(sorted(self._endpoints)).encode()

        async def refuse(_call: Call) -> Reply:
            raise BadRequest("method-not-allowed", headers=[(b"allow", allow)])

        self._refuse = Endpoint("method-not-allowed", refuse, services, scope="")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoints.get(scope["method"], self._refuse)
        await endpoint(scope, receive, send)
