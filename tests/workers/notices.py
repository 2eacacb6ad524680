"""What the tests of the notifier share: targets, notices, and servers that answer as told."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from gateway.core.config import NotifyConfig, TargetConfig
from gateway.core.events import EventKind, Notice
from gateway.workers.notify_http import Answer, Outgoing

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


def target(url: str = "https://ops.example/hook", **fields: Any) -> TargetConfig:
    settings: dict[str, Any] = {
        "name": "ops",
        "kind": "webhook",
        "secrets": (SECRET,),
        "severity": "info",
        "allow_private": True,
        **fields,
    }
    return TargetConfig(url=url, **settings)


def config(**fields: Any) -> NotifyConfig:
    return NotifyConfig(**fields)


def notice(**fields: Any) -> Notice:
    settings: dict[str, Any] = {
        "id": "msg_1",
        "kind": EventKind.DRIFT_FOUND,
        "skus": ("phone",),
        "reservations": (),
        "cause": "available",
        "detail": "Redis has 7, the ledger 8",
        "times": 3,
        "count": 3,
        "first_ms": 1_750_000_000_000,
        "last_ms": 1_750_000_030_000,
        **fields,
    }
    return Notice(**settings)


def outgoing(url: str, *, allowed: Any = True, timeout_s: float = 5.0) -> Outgoing:
    return Outgoing(url, {"content-type": "application/json"}, b"{}", allowed, timeout_s)


class Posts:
    """In the place of HTTP: keeps what was sent and answers as told; 204 when told nothing."""

    def __init__(self, *script: Answer | Exception) -> None:
        self.script = list(script)
        self.sent: list[Outgoing] = []

    async def post(self, request: Outgoing) -> Answer:
        self.sent.append(request)
        result = self.script.pop(0) if self.script else answer(204)
        if isinstance(result, Exception):
            raise result
        return result


def answer(status: int, body: bytes = b"", *, complete: bool = True, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, named, body, complete)


class Heard(NamedTuple):
    """A request as a server got it; header names are in lower case."""

    line: str
    headers: dict[str, str]
    body: bytes


Reply = Callable[[asyncio.StreamWriter], Awaitable[None]]


def says(status: int, body: str = "", **headers: str) -> Reply:
    """A whole answer."""
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    length = len(body.encode())
    text = f"HTTP/1.1 {status} Whatever\r\n{head}content-length: {length}\r\n\r\n{body}"

    async def reply(writer: asyncio.StreamWriter) -> None:
        writer.write(text.encode())

    return reply


class Listener:
    """An HTTP server on loopback that answers each request with the next reply, then 204."""

    def __init__(self, *replies: Reply) -> None:
        self._replies = list(replies)
        self.heard: list[Heard] = []
        self.connections = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            line, *lines = head.strip().split("\r\n")
            pairs = (text.partition(": ") for text in lines)
            headers = {name.lower(): value for name, _, value in pairs}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            self.heard.append(Heard(line, headers, body))
            reply = self._replies.pop(0) if self._replies else says(204)
            await reply(writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def open(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["Listener"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
