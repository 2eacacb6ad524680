"""A small keep-alive HTTP/1.1 client for simulated crowds: cheap per call, every call bounded.

A general client spends about a millisecond of processor time a request, which would make the
crowd, not the gateway, the slowest part of a sale. This one spends a tenth of that.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import httptools
import msgspec

from gateway.core.clock import Clock
from gateway.core.errors import SetupError

NO_ANSWER = 0


class Answer(msgspec.Struct, frozen=True):
    """What came back. `status` is 0 when nothing did; `body` is {} unless a JSON object came."""

    status: int
    body: dict[str, Any] = {}
    replayed: bool = False
    retry_after_s: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the call did what it asked for."""
        return 200 <= self.status < 300

    @property
    def code(self) -> str:
        """The problem's code, or a name made from the status where there is none."""
        if self.status == NO_ANSWER:
            return "no-answer"
        return str(self.body.get("code") or f"http-{self.status}")


class Caller(Protocol):
    """Whatever answers the HTTP contract: a gateway over HTTP, or a stand-in in tests."""

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make one call. Never raises for what the other side does."""
        ...


class _Lost(ConnectionError):
    """The connection ended before an answer; `untouched` when no byte of one had come."""

    def __init__(self, untouched: bool) -> None:
        super().__init__("connection lost")
        self.untouched = untouched


class _Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request in flight."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[Answer] | None = None
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._touched = False
        self.usable = False
        self.served = 0

    async def send(self, request: bytes) -> Answer:
        """Write one request and wait for its answer; raises ConnectionError when none comes."""
        if self._transport is None or not self.usable:
            raise _Lost(untouched=True)
        self._headers, self._body, self._touched = {}, bytearray(), False
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._waiter
        finally:
            self._waiter = None
            self.served += 1

    def close(self) -> None:
        """Drop the connection, with whatever is in flight."""
        self.usable = False
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport, self.usable = transport, True

    def data_received(self, data: bytes) -> None:
        self._touched = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._lose()
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        self._lose()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self.usable = self._parser.should_keep_alive()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(self._answer())

    def _answer(self) -> Answer:
        return Answer(
            status=self._parser.get_status_code(),
            body=_json_object(bytes(self._body)),
            replayed=self._headers.get("idempotent-replayed", "").lower() == "true",
            retry_after_s=_seconds(self._headers.get("retry-after", "")),
        )

    def _lose(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(_Lost(untouched=not self._touched))


class HttpCaller:
    """Calls one gateway over at most `connections_max` connections.

    Args:
        url: where the gateway listens, `http://host:port` or `https://…`.
        key: bearer key, empty for none.
        call_timeout_s: the longest a call may take, connecting included.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        key: str = "",
        connections_max: int = 200,
        call_timeout_s: float = 10.0,
    ) -> None:
        self._address = parse_url(url)
        self._clock = clock
        self._timeout_s = call_timeout_s
        self._slots = asyncio.Semaphore(connections_max)
        self._idle: list[_Connection] = []
        self._common = _common_headers(self._address, key)
        self.calls = 0

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make one call; an answer with status 0 when the gateway gave none in time."""
        payload = b"" if body is None else msgspec.json.encode(body)
        request = self._head(method, path, headers or {}, len(payload)) + payload
        async with self._slots:
            self.calls += 1
            try:
                async with self._clock.timeout(self._timeout_s):
                    return await self._exchange(request)
            except (OSError, TimeoutError):
                return Answer(NO_ANSWER)

    def close(self) -> None:
        """Close every idle connection."""
        while self._idle:
            self._idle.pop().close()

    async def _exchange(self, request: bytes) -> Answer:
        """Send on a kept connection; once more on a new one if the kept one had just closed."""
        try:
            async with self._connection() as connection:
                reused = connection.served > 0
                return await connection.send(request)
        except _Lost as lost:
            if not (reused and lost.untouched):
                raise
        async with self._connection(fresh=True) as connection:
            return await connection.send(request)

    @asynccontextmanager
    async def _connection(self, fresh: bool = False) -> AsyncIterator[_Connection]:
        connection = await self._connect() if fresh else (self._take() or await self._connect())
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        if connection.usable:
            self._idle.append(connection)
        else:
            connection.close()

    def _take(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        return None

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        host, port, tls, _ = self._address
        _, connection = await loop.create_connection(_Connection, host, port, ssl=tls)
        return connection

    def _head(self, method: str, path: str, headers: Mapping[str, str], length: int) -> bytes:
        lines = [f"{method} {self._address.prefix}{path} HTTP/1.1", *self._common]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if length or method in ("POST", "PUT"):
            lines.append(f"Content-Length: {length}")
        if length:
            lines.append("Content-Type: application/json")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Address(NamedTuple):
    """A parsed gateway URL; `tls` is None for plain http, `prefix` a path without final slash."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    prefix: str


def parse_url(url: str) -> Address:
    """Split a gateway URL. Raises SetupError when it is not an http(s) address."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:  # not a number, or above 65535
        port = -1
    if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
        raise SetupError(f"not a gateway address: {url!r}", hint="write it as http://host:port")
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    return Address(parts.hostname, port or (443 if tls else 80), tls, parts.path.rstrip("/"))


def _common_headers(address: Address, key: str) -> list[str]:
    host = f"[{address.host}]" if ":" in address.host else address.host
    common = [f"Host: {host}:{address.port}", "Accept: application/json"]
    return [*common, f"Authorization: Bearer {key}"] if key else common


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}


def _seconds(text: str) -> float:
    return float(text) if text.isascii() and text.isdigit() else 0.0
