"""HTTP/1.1 on the wire: uvicorn's protocol with the bounds that it lacks.

A request's head has a size and a deadline, requests that cannot be read are refused with a
problem, and a request that offers to upgrade (`Upgrade: h2c`, as Java's client does by itself)
keeps its body: the offer is ignored, which HTTP allows.
"""

import asyncio
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.api.direct import PATH, STOCK, DirectCreate, DirectStock, Reserving
from gateway.api.endpoint import ANSWER
from gateway.runtime.cycle import Cycle, DirectCycle, HeaderLines

HEAD_BYTES_MAX = 65_536
"""Of request line and headers together."""

HEAD_TIMEOUT_S = 10.0
"""For a head that has begun to be complete."""

RESERVE_URL = PATH.encode()
STOCK_URL = STOCK.encode()

_LEFT_OUT = (b"upgrade", b"connection", b"http2-settings")

_default_lines = HeaderLines()


class Protocol(HttpToolsProtocol):
    """One connection."""

    _hosts = 0
    _head_bytes = 0
    _piece_bytes = 0
    _in_head = False
    _head_began = False
    _deadline: asyncio.TimerHandle | None = None
    _active_at = 0.0
    _kept: bytes | None = None  # the body so far of a request that may be answered directly

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._active_at = self.loop.time()
        self._watch_idleness(self.timeout_keep_alive)

    def connection_lost(self, exc: Exception | None) -> None:
        self._clear_deadline()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def _watch_idleness(self, seconds: float) -> None:
        """One timer in all that time, not one a request: that costs more than reading the clock."""
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection if nothing came for so long; else look again when that may be."""
        cycle: Any = self.cycle  # None before the first request
        idle_s = self.loop.time() - self._active_at
        if self.transport.is_closing():
            return
        if cycle is not None and not cycle.response_complete:
            self._watch_idleness(self.timeout_keep_alive)
        elif idle_s < self.timeout_keep_alive:
            self._watch_idleness(self.timeout_keep_alive - idle_s)
        else:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        self._head_began = False
        self._piece_bytes = len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            if self._head_bytes <= HEAD_BYTES_MAX:
                detail = "This is not a request in HTTP/1.1, which names one Host."
                self._refuse(400, "malformed-http", detail)
        if self._kept is not None:
            self._hand_over()  # the rest may take its time, which the application watches
        if self._in_head and not self._head_began:  # all of this piece belongs to the head
            self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES_MAX:
            detail = f"Request line and headers are larger than {HEAD_BYTES_MAX} bytes together."
            self._refuse(431, "headers-too-large", detail)
        elif self._in_head and self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_TIMEOUT_S, self._give_up)

    def on_message_begin(self) -> None:
        self._in_head = self._head_began = True
        self._active_at = self.loop.time()
        self._head_bytes = self._hosts = 0
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or after the head a trailer: nobody waits for those, but they count."""
        if self._in_head:
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            elif name == b"host":
                self._hosts += 1
            self.headers.append((name, value))
            return
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > HEAD_BYTES_MAX:
            raise ValueError("the trailers are too large")

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._deadline is not None:
            self._clear_deadline()
        if not self._head_began or self._piece_bytes > HEAD_BYTES_MAX:
            self._check_size()  # a head that came in one small piece is small
        self._head_bytes = 0
        if self._hosts != 1 and (self._hosts or self.parser.get_http_version() != "1.0"):
            raise ValueError("not exactly one Host")  # RFC 9112, 3.2
        if self.parser.should_upgrade():
            return
        if self._may_be_direct():
            self._kept = b""
        else:
            self._begin()

    def _check_size(self) -> None:
        """Recount a head that may be too large: the pieces it came in held a body, too."""
        size = len(self.url) + sum([len(name) + len(value) for name, value in self.headers])
        if size > HEAD_BYTES_MAX:
            self._head_bytes = size
            raise ValueError("the head is too large")

    def _may_be_direct(self) -> bool:
        method = self.parser.get_method()
        if method == b"POST":
            known = self.url == RESERVE_URL
        else:
            known = method == b"GET" and self.url.startswith(STOCK_URL)
        if not known or self.expect_100_continue or self.flow.write_paused:
            return False  # the application waits with its answer until the last ones are read
        before: Any = self.cycle  # None before the first request
        return before is None or before.response_complete

    def on_body(self, body: bytes) -> None:
        if self._kept is None:
            super().on_body(body)
        else:
            self._kept += body

    def _hand_over(self) -> None:
        """Leave a request that was kept back to the application."""
        body, self._kept = self._kept, None
        self._begin()
        if body:
            super().on_body(body)

    def _answer_directly(self) -> bool:
        """Whether the request that was kept back needs no application, and is on its way."""
        if self.url == RESERVE_URL:
            return self._reserve()
        stock: DirectStock = self.app.direct_stock
        answer = stock.read(self.url, self.headers)
        if answer is None:
            return False
        self._direct_cycle().deliver(answer)
        return True

    def _reserve(self) -> bool:
        direct: DirectCreate = self.app.direct_create
        request = direct.read(self.headers, self._kept or b"")
        if request is None:
            return False
        Reserving(direct, self.headers, request, self._direct_cycle()).ask()
        return True

    def _direct_cycle(self) -> DirectCycle:
        self._kept = None
        keep_alive = self.parser.should_keep_alive() and self.parser.get_http_version() != "1.0"
        cycle = DirectCycle(self, keep_alive=keep_alive)
        self.cycle = cycle  # type: ignore[assignment]
        return cycle

    def default_head(self) -> bytes:
        """Headers of every answer, as lines: the date."""
        return _default_lines(self.server_state.default_headers)

    def on_response_complete(self) -> None:
        """The next one that waits may begin."""
        self.server_state.total_requests += 1
        self._active_at = self.loop.time()
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self.pipeline and not self.transport.is_closing():
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)

    def _begin(self) -> None:
        """Start the application on the request, or queue it behind the one before."""
        scope: Any = self._make_scope()
        version = scope["http_version"]
        before: Any = self.cycle  # None before the first request
        cycle = Cycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        scope["extensions"] = {ANSWER: cycle.answer}
        self.cycle = cycle
        if before is None or before.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def _make_scope(self) -> dict[str, Any]:
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        return {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": self.parser.get_http_version(),
            "method": self.parser.get_method().decode("ascii"),
            "scheme": self.scheme,
            "path": unquote(path) if "%" in path else path,
            "raw_path": url.path,
            "query_string": url.query or b"",
            "root_path": "",
            "headers": self.headers,
            "server": self.server,
            "client": self.client,
        }

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        if self._kept is not None:
            if self._answer_directly():
                return
            self._hand_over()
        super().on_message_complete()

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Read the request again without its offer: the parser has left out its body."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(400, "malformed-http", "This is not a proxy.")
            return
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (method, self.url, version)]
        lines += [b"%s: %s" % pair for pair in self.headers if pair[0] not in _LEFT_OUT]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self.data_received(b"\r\n".join([*lines, b"", rest]))

    def _give_up(self) -> None:
        """The head did not come; an answer still owed to the request before it goes out first."""
        cycle: Any = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.keep_alive = False
        else:
            self.transport.close()

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, status: int, code: str, detail: str) -> None:
        """Answer in place of the application, which sees nothing of this, and hang up.

        While the application still works on an earlier request, the answer is that request's.
        """
        cycle: Any = self.cycle  # None before the first request
        if cycle is not None and not cycle.response_complete:
            if self.pipeline or not cycle.more_body:
                cycle.keep_alive = False
                self.flow.pause_reading()
                return
        title = HTTPStatus(status).phrase
        body = msgspec.json.encode(
            {
                "type": "about:blank",
                "title": title,
                "status": status,
                "detail": f"{detail} Nothing was changed.",
                "code": code,
                "retryable": False,
            }
        )
        head = (
            f"HTTP/1.1 {status} {title}\r\n"
            "content-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
