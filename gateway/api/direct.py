"""The two calls that make up a rush, without a task of their own.

POST /v1/reservations: from the body to the batcher in one call, from the batcher's reply to the
answer in another. GET /v1/stock/{sku}: from memory, at once. Only the usual case goes this way: a
request that is whole and in order. Whatever is wrong with one, it is left to the endpoint.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from gateway.api import decoders
from gateway.api import headers as h
from gateway.api.auth import STOREFRONT
from gateway.api.body import check_content_type, decode
from gateway.api.endpoint import Call, Endpoint, Message, Reply
from gateway.api.problems import BadRequest, Headers
from gateway.api.services import Services
from gateway.api.storefront import created
from gateway.api.views import WINDOW_CACHE, hold_json, stock_answer
from gateway.core.codes import Reply as Code
from gateway.core.errors import Overloaded
from gateway.core.ids import make_id
from gateway.sale.outcomes import Answer
from gateway.sale.reservations import hold_answer, hold_request
from gateway.store.commands import HoldAnswer, HoldRequest

PATH: Final = "/v1/reservations"
METHOD: Final = "POST"
STOCK: Final = "/v1/stock/"

HELD_HEAD: Final = (
    b"content-type: application/json\r\ncontent-length: %d\r\ncache-control: no-store\r\n"
    b"location: " + PATH.encode() + b"/%s\r\nx-request-id: %s\r\n"
)


class Wire(NamedTuple):
    """An answer on its way out; `head`: lines of headers, each with its end."""

    status: int
    head: bytes
    body: bytes


class DirectStock:
    """Shows SKUs that are known; `endpoint` is the one that takes all that are irregular."""

    def __init__(self, services: Services, endpoint: Endpoint) -> None:
        self._services = services
        self._endpoint = endpoint
        self._ttl_ms = services.config.hold.ttl_s * 1000

    def read(self, path: bytes, headers: Sequence[tuple[bytes, bytes]]) -> Wire | None:
        """The answer; None when the endpoint has to look at it."""
        found = dict(headers)
        if len(found) != len(headers):
            return None
        try:
            self._services.auth.require(found.get(b"authorization"), STOREFRONT)
        except BadRequest:
            return None
        shown = self._services.stock.known(path[len(STOCK) :].decode("latin-1"))
        if shown is None:
            return None
        answer = stock_answer(shown, self._ttl_ms)
        if h.etag_matches(found.get(b"if-none-match"), answer.etag):
            return self._wire(found, 304, [(b"etag", answer.etag), WINDOW_CACHE], b"")
        return self._wire(found, 200, answer.headers, answer.body)

    def _wire(
        self,
        found: dict[bytes, bytes],
        status: int,
        headers: Iterable[tuple[bytes, bytes]],
        body: bytes,
    ) -> Wire:
        request_id = self._endpoint.counted(status, found.get(b"x-request-id"))
        head = as_lines((*headers, (b"x-request-id", request_id)))
        trace = h.traceparent(found.get(b"traceparent"))
        return Wire(status, head + (b"traceparent: %s\r\n" % trace if trace else b""), body)


class DirectCreate:
    """Takes requests to reserve; `endpoint` is the one that takes all that are irregular."""

    def __init__(self, services: Services, endpoint: Endpoint) -> None:
        self.services = services
        self.endpoint = endpoint
        self._body_max_bytes = services.config.server.body_max_bytes
        self._ttl_max_s = services.config.hold.ttl_max_s
        self._again: set[asyncio.Task[None]] = set()

    def read(self, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> HoldRequest | None:
        """What is asked for; None when the endpoint has to look at it."""
        found = dict(headers)
        if len(found) != len(headers) or len(body) > self._body_max_bytes:
            return None
        try:
            caller = self.services.auth.require(found.get(b"authorization"), STOREFRONT)
            key = h.idempotency_key(found.get(b"idempotency-key"))
            check_content_type(found.get(b"content-type"))
            wanted = decode(body, decoders.RESERVATION)
        except BadRequest:
            return None
        if wanted.ttl_s > self._ttl_max_s:
            return None
        return hold_request(
            caller.name, key, wanted.buyer, wanted.lines, wanted.ttl_s, wanted.channel
        )

    def call(self, headers: Headers) -> Call:
        """The request as an endpoint has it."""
        scope = {"headers": headers, "path": PATH, "method": METHOD}
        return Call(scope, _nothing_more, self.services)

    def ask_again(self, reserving: "Reserving") -> None:
        """Finish a request in a task: it takes several calls."""
        task = asyncio.get_running_loop().create_task(reserving.ask_again())
        self._again.add(task)
        task.add_done_callback(self._again.discard)


class Client(Protocol):
    """Whoever waits for an answer."""

    @property
    def disconnected(self) -> bool: ...
    def deliver(self, answer: Wire) -> None: ...


class Reserving:
    """One request to reserve on its way; takes the batcher's result and delivers the answer."""

    __slots__ = ("_client", "_direct", "_headers", "_request", "_shard")

    def __init__(
        self, direct: DirectCreate, headers: Headers, request: HoldRequest, client: Client
    ) -> None:
        self._direct = direct
        self._headers = headers
        self._request = request
        self._client = client

    def done(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self._client.disconnected

    def ask(self) -> None:
        """Send the request on to the batcher."""
        try:
            self._shard = self._direct.services.reservations.ask(self._request, self)
        except Overloaded as error:
            self.set_exception(error)

    def set_result(self, held: HoldAnswer) -> None:
        """What became of it. A record that cannot be read is this request's misfortune alone."""
        try:
            if held.code == Code.HELD and len(self._request.lines) == 1:
                self._granted(held)
            elif held.code == Code.MORE_DUE:
                self._direct.ask_again(self)
            else:
                self._answer(hold_answer(self._shard, self._request, held))
        except Exception as error:
            self.set_exception(error)

    def set_exception(self, error: BaseException) -> None:
        """It could not be asked for, or nobody knows."""
        self._deliver(self._direct.endpoint.failed(self._direct.call(self._headers), error))

    def cancel(self) -> None:
        """The gateway ends while the request is in flight."""
        self.set_exception(asyncio.CancelledError())

    async def ask_again(self) -> None:
        """Ask until the result is final."""
        try:
            self._answer(await self._direct.services.reservations.ask_again(self._request))
        except BaseException as error:
            self.set_exception(error)

    def _granted(self, held: HoldAnswer) -> None:
        """The usual answer, written by hand: that of `created` and `Endpoint`, in less time."""
        made = make_id(held.now_ms, self._shard, self._request.field)
        request, services = self._request, self._direct.services
        receipt = services.receipts.sign(made, held.a, request.middle, request.lines)
        body = hold_json(made, request, held.a, held.now_ms, receipt)
        incoming = dict(self._headers)
        request_id = self._direct.endpoint.counted(201, incoming.get(b"x-request-id"))
        head = HELD_HEAD % (len(body), made.encode(), request_id)
        trace = h.traceparent(incoming.get(b"traceparent"))
        if trace is not None:
            head += b"traceparent: %s\r\n" % trace
        self._client.deliver(Wire(201, head, body))

    def _answer(self, answer: Answer) -> None:
        call = self._direct.call(self._headers)
        self._deliver(self._direct.endpoint.finished(call, created(call, answer, self._request)))

    def _deliver(self, reply: Reply) -> None:
        self._client.deliver(Wire(reply.status, as_lines(reply.headers), reply.body))


def as_lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Headers as they go over the wire. They hold no line break."""
    return b"".join([b"%s: %s\r\n" % pair for pair in headers])


async def _nothing_more() -> Message:
    """The body is here already."""
    nothing: dict[str, Any] = {"type": "http.disconnect"}
    return nothing
