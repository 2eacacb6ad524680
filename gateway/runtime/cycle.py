"""One request and its answer, with a way to give the answer in one piece.

ASGI sends head and body apart, and the server writes each by itself: two system calls, which
together cost more than the gateway's own work for a hold. An application that has the whole
answer finds it as `stockgate.answer` among the scope's extensions and calls it instead of `send`.
"""

import asyncio
from collections.abc import Iterable
from typing import Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from gateway.api.direct import Wire, as_lines


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


class HeaderLines:
    """Headers as they go over the wire, rendered once a list: the server makes a new one when
    the date changes.
    """

    def __init__(self) -> None:
        self._list: list[tuple[bytes, bytes]] = []
        self._lines = b""

    def __call__(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        if headers is not self._list:
            self._list = headers
            self._lines = as_lines(headers)
        return self._lines


class _NobodyWaits:
    """In the place of an event that no task waits for."""

    def set(self) -> None:
        return None


class Connection(Protocol):
    """What an answer needs of the connection it goes out on."""

    transport: asyncio.Transport

    def default_head(self) -> bytes: ...
    def on_response_complete(self) -> None: ...


class DirectCycle:
    """Stands where uvicorn looks for the request at work, while it is answered without a task."""

    __slots__ = ("_connection", "disconnected", "keep_alive", "response_complete")

    more_body = False
    message_event = _NobodyWaits()

    def __init__(self, connection: Connection, *, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        self.disconnected = False
        self.response_complete = False
        self._connection = connection

    def deliver(self, answer: Wire) -> None:
        """Send the answer, if anybody is still there."""
        connection = self._connection
        self.response_complete = True
        if self.disconnected or connection.transport.is_closing():
            return
        status, head, body = answer
        end = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        connection.transport.write(
            b"".join((STATUS_LINE[status], connection.default_head(), head, end, body))
        )
        if not self.keep_alive:
            connection.transport.close()
        connection.on_response_complete()
