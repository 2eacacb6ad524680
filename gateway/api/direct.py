"""POST /v1/reservations without a task of its own: from the body to the batcher in one call, from
the batcher's reply to the answer in another.

Only the usual case goes this way: a request that is whole and in order. Whatever is wrong with
one, it is left to the endpoint, which says so.
"""

import asyncio
from typing import Any, Final

from gateway.api import decoders
from gateway.api import headers as h
from gateway.api.auth import STOREFRONT
from gateway.api.body import check_content_type, decode
from gateway.api.endpoint import Call, Endpoint, Message, Reply
from gateway.api.problems import BadRequest, Headers
from gateway.api.services import Services
from gateway.api.storefront import created, wanted_hold
from gateway.core.errors import Overloaded
from gateway.store.commands import HoldAnswer, HoldRequest

PATH: Final = "/v1/reservations"
METHOD: Final = "POST"


class Asked:
    """A hold on its way; `future` is done when there is something to say."""

    __slots__ = ("call", "future", "request")

    def __init__(
        self, call: Call, request: HoldRequest, future: "asyncio.Future[HoldAnswer]"
    ) -> None:
        self.call = call
        self.request = request
        self.future = future


class DirectCreate:
    """Asks for holds and answers them; `endpoint` is the one that takes all other cases."""

    def __init__(self, services: Services, endpoint: Endpoint) -> None:
        self._services = services
        self._endpoint = endpoint

    def ask(self, headers: Headers, body: bytes) -> Asked | None:
        """Send the request on to the batcher; None when the endpoint has to look at it."""
        if len(body) > self._services.config.server.body_max_bytes:
            return None
        scope = {"headers": headers, "path": PATH, "method": METHOD}
        call = Call(scope, _nothing_more, self._services)
        found = call.headers
        try:
            call.caller = self._services.auth.require(found.get(b"authorization"), STOREFRONT)
            key = h.idempotency_key(found.get(b"idempotency-key"))
            check_content_type(found.get(b"content-type"))
            wanted = decode(body, decoders.RESERVATION)
        except BadRequest:
            return None
        if wanted.ttl_s > self._services.config.hold.ttl_max_s:
            return None
        request = wanted_hold(call, key, wanted)
        return Asked(call, request, self._sent(request))

    def _sent(self, request: HoldRequest) -> "asyncio.Future[HoldAnswer]":
        try:
            return self._services.reservations.ask(request)
        except Overloaded as error:
            refused: asyncio.Future[HoldAnswer] = asyncio.get_running_loop().create_future()
            refused.set_exception(error)
            return refused

    def reply(self, asked: Asked) -> Reply | None:
        """The answer; None when it is not known yet, and `asked.future` is a new one to await."""
        try:
            held = asked.future.result()
            if self._services.reservations.is_open(held):
                asked.future = asyncio.ensure_future(
                    self._services.reservations.ask_again(asked.request)
                )
                return None
            reply = created(asked.call, self._services.reservations.answer(asked.request, held))
        except BaseException as error:
            return self._endpoint.failed(asked.call, error)
        return self._endpoint.finished(asked.call, reply)


async def _nothing_more() -> Message:
    """The body is here already."""
    nothing: dict[str, Any] = {"type": "http.disconnect"}
    return nothing
