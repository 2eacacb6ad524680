"""One request and its answer, with a way to give the answer in one piece.

ASGI sends head and body apart, and the server writes each by itself: two system calls, which
together cost more than the gateway's own work for a hold. An application that has the whole
answer finds it as `stockgate.answer` among the scope's extensions and calls it instead of `send`.
"""

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle


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
        parts: list[bytes] = [STATUS_LINE[status]]
        for name, value in (*self.default_headers, *headers):
            if name == b"connection":  # the gateway's own is always `close`; said once, below
                self.keep_alive = False
            else:
                parts += (name, b": ", value, b"\r\n")
        if not self.keep_alive:
            parts.append(b"connection: close\r\n")
        parts += (b"\r\n", body)
        self.transport.write(b"".join(parts))
        self._complete()

    def _complete(self) -> None:
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
