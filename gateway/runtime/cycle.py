"""One request and its answer, with a way to give the answer in one piece.

ASGI sends head and body apart, and the server writes each by itself: two system calls, which
together cost more than the gateway's own work for a hold. An application that has the whole
answer finds it as `stockgate.answer` among the scope's extensions and calls it instead of `send`.
"""

import asyncio
from collections.abc import Callable, Iterable

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from gateway.api.direct import Asked, DirectCreate


class Cycle(RequestResponseCycle):
    """uvicorn's cycle, and `answer`."""

    async def answer(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Write the whole answer. The headers are the gateway's own and hold no line break."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        self.response_started = True
        self.waiting_for_100_continue = False
        if any(name == b"connection" for name, _ in headers):  # the gateway's own means `close`
            self.keep_alive = False
        head = (*self.default_headers, *headers)
        self.transport.write(on_the_wire(status, head, body, keep_alive=self.keep_alive))
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


def on_the_wire(
    status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, *, keep_alive: bool
) -> bytes:
    """A whole answer in HTTP/1.1. The headers hold no line break."""
    parts: list[bytes] = [STATUS_LINE[status]]
    for name, value in headers:
        if name != b"connection":
            parts += (name, b": ", value, b"\r\n")
    if not keep_alive:
        parts.append(b"connection: close\r\n")
    parts += (b"\r\n", body)
    return b"".join(parts)


class _NobodyWaits:
    """In the place of an event that no task waits for."""

    def set(self) -> None:
        return None


class DirectCycle:
    """Stands where uvicorn looks for the request at work, while it is answered without a task."""

    more_body = False
    message_event = _NobodyWaits()

    def __init__(
        self,
        direct: DirectCreate,
        asked: Asked,
        transport: asyncio.Transport,
        default_headers: list[tuple[bytes, bytes]],
        on_response: Callable[[], None],
        *,
        keep_alive: bool,
    ) -> None:
        self.keep_alive = keep_alive
        self.disconnected = False
        self.response_complete = False
        self._direct = direct
        self._asked = asked
        self._transport = transport
        self._default_headers = default_headers
        self._on_response = on_response
        asked.future.add_done_callback(self._answer)

    def _answer(self, _done: object) -> None:
        reply = self._direct.reply(self._asked)
        if reply is None:
            self._asked.future.add_done_callback(self._answer)
            return
        self.response_complete = True
        if self.disconnected or self._transport.is_closing():
            return
        head = (*self._default_headers, *reply.headers)
        answer = on_the_wire(reply.status, head, reply.body, keep_alive=self.keep_alive)
        self._transport.write(answer)
        if not self.keep_alive:
            self._transport.close()
        self._on_response()
