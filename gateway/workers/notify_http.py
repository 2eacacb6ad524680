"""One POST to a place outside: to a checked address, without redirects, all of it bounded.

The name is looked up once, every answer is checked, and the connection is made to a checked
address: a name that answers differently the second time changes nothing. Host header, SNI and
certificate are those of the name.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpcore

from gateway.core.addresses import Address, Network, parse_address, why_not
from gateway.core.clock import Clock
from gateway.core.events import one_line

BODY_BYTES_MAX = 16 * 1024
"""Of an answer, no more than this is read."""

ADDRESSES_MAX = 4
"""Of a name, no more addresses than this are tried."""

CONNECT_SHARE = 0.5
"""Part of the time for one attempt in which one address must have been connected to."""

Resolve = Callable[[str, int], Awaitable[list[str]]]


class Outgoing(NamedTuple):
    """A request, and where it may go: allowed as for `addresses.why_not`."""

    url: str
    headers: dict[str, str]
    body: bytes
    allowed: bool | tuple[Network, ...]
    timeout_s: float


class Answer(NamedTuple):
    """What came back; `body` is its beginning, header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool


class NotSent(Exception):
    """No answer came. can_retry: whether another attempt may go better."""

    def __init__(self, reason: str, *, can_retry: bool = True) -> None:
        super().__init__(reason)
        self.can_retry = can_retry


class HttpSender:
    """Sends requests, each on a connection of its own."""

    def __init__(
        self, clock: Clock, *, resolve: Resolve | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self._clock = clock
        self._resolve = resolve or look_up
        self._tls = tls

    async def post(self, request: Outgoing) -> Answer:
        """The answer, whatever its status. Raises NotSent, within `timeout_s`."""
        try:
            async with self._clock.timeout(request.timeout_s):
                return await self._post(request)
        except TimeoutError:
            raise NotSent(f"no complete answer within {request.timeout_s:g} s") from None
        except httpcore.TimeoutException as error:
            raise NotSent(f"timed out ({type(error).__name__})") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            raise NotSent(_told(error)) from None
        except (httpcore.UnsupportedProtocol, ValueError) as error:
            raise NotSent(f"the URL cannot be used: {_told(error)}", can_retry=False) from None

    async def _post(self, request: Outgoing) -> Answer:
        backend = PinnedBackend(self._resolve, request.allowed)
        timeouts = dict.fromkeys(("read", "write", "pool"), request.timeout_s)
        timeouts["connect"] = request.timeout_s * CONNECT_SHARE
        headers = {
            "host": urlsplit(request.url).netloc,
            "accept-encoding": "identity",
            "connection": "close",
            **request.headers,
        }
        async with (
            httpcore.AsyncConnectionPool(self._context(), network_backend=backend) as pool,
            pool.stream(
                "POST",
                request.url,
                headers=[(name.encode(), value.encode()) for name, value in headers.items()],
                content=request.body,
                extensions={"timeout": timeouts},
            ) as response,
        ):
            return await _read(response)

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            import httpx  # takes longer to load than a whole test of a target

            self._tls = httpx.create_ssl_context()
        return self._tls


async def look_up(host: str, port: int) -> list[str]:
    """The addresses of a name, as the system knows them. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class PinnedBackend(httpcore.AsyncNetworkBackend):
    """Connects only to addresses that were checked; to none if one of a name's is not allowed."""

    def __init__(self, resolve: Resolve, allowed: bool | tuple[Network, ...]) -> None:
        self._resolve = resolve
        self._allowed = allowed
        self._network: httpcore.AsyncNetworkBackend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception = NotSent(f"{host} has no address")
        for address in (await self._checked(host, port))[:ADDRESSES_MAX]:
            try:
                return await self._network.connect_tcp(
                    str(address), port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise NotSent("sockets of this machine are not connected to", can_retry=False)

    async def sleep(self, seconds: float) -> None:
        raise NotSent("retries are not made here")

    async def _checked(self, host: str, port: int) -> list[Address]:
        checked = []
        for text in await self._addresses(host, port):
            address = parse_address(text)
            reason = why_not(address, self._allowed) if address else "no address"
            if address is None or reason:
                where = host if host == text else f"{host} is {text}"
                told = f"refused: {where}, {reason}; allow_private would allow it"
                raise NotSent(told, can_retry=False)
            checked.append(address)
        return checked

    async def _addresses(self, host: str, port: int) -> list[str]:
        if parse_address(host) is not None:
            return [host]
        try:
            return await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise NotSent(f"{host} cannot be looked up: {_told(error)}") from None


async def _read(response: httpcore.Response) -> Answer:
    """Status and headers, and the body as far as it goes."""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1")
               for name, value in response.headers}  # fmt: skip
    body = b""
    complete = True
    async for piece in response.aiter_stream():
        body += piece
        if len(body) > BODY_BYTES_MAX:
            complete = False
            break
    return Answer(response.status, headers, body[:BODY_BYTES_MAX], complete)


def _told(error: Exception) -> str:
    return one_line(str(error)) or type(error).__name__
