"""The crowd's HTTP client against servers that answer well, badly, late and not at all."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from gateway.cli.demo_client import Answer, HttpCaller, parse_url
from gateway.core.clock import SystemClock
from gateway.core.errors import SetupError

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
CREATED = b'{"id":"x","state":"held"}'


@asynccontextmanager
async def served(handler: Handler, **options):
    async def guarded(reader, writer):
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    caller = HttpCaller(f"http://127.0.0.1:{port}", SystemClock(), **options)
    try:
        yield caller
    finally:
        caller.close()
        server.close()


async def read_request(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next(
        (int(line.split(":")[1]) for line in head.splitlines() if line.startswith("Content-L")), 0
    )
    return head, await reader.readexactly(length)


async def test_many_calls_share_one_connection():
    connections = 0

    async def serve(reader, writer):
        nonlocal connections
        connections += 1
        while True:
            head, body = await read_request(reader)
            assert head.startswith("POST /v1/reservations HTTP/1.1\r\n")
            assert "Idempotency-Key: k" in head
            assert body == b'{"buyer":"b"}'
            writer.write(
                b"HTTP/1.1 201 Created\r\nIdempotent-Replayed: true\r\nRetry-After: 2\r\n"
                b"Content-Length: 25\r\n\r\n" + CREATED
            )

    async with served(serve) as caller:
        for _ in range(3):
            answer = await caller.call(
                "POST", "/v1/reservations", {"buyer": "b"}, {"Idempotency-Key": "k"}
            )
            assert answer == Answer(201, {"id": "x", "state": "held"}, True, 2.0)
    assert connections == 1
    assert caller.calls == 3


async def test_a_chunked_answer_is_read():
    async def serve(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n")
        await writer.drain()
        writer.write(b'{"a":\r\n2\r\n1}\r\n0\r\n\r\n')

    async with served(serve) as caller:
        assert (await caller.call("GET", "/")).body == {"a": 1}


async def test_a_kept_connection_that_closed_is_replaced():
    async def serve(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with served(serve) as caller:
        for _ in range(5):
            assert (await caller.call("GET", "/")).status == 200


@pytest.mark.parametrize("sent", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Le"])
async def test_a_broken_answer_is_no_answer(sent):
    async def serve(reader, writer):
        await read_request(reader)
        writer.write(sent)

    async with served(serve) as caller:
        answer = await caller.call("GET", "/")
    assert (answer.status, answer.code) == (0, "no-answer")


async def test_a_silent_server_costs_one_deadline():
    release = asyncio.Event()

    async def serve(reader, writer):
        await release.wait()

    async with served(serve, call_timeout_s=0.05) as caller:
        assert (await caller.call("GET", "/")).status == 0
        release.set()


async def test_nobody_listening_is_no_answer():
    caller = HttpCaller("http://127.0.0.1:1", SystemClock())
    assert (await caller.call("GET", "/")).status == 0


async def test_a_body_that_is_no_object_is_empty():
    async def serve(reader, writer):
        while True:
            await read_request(reader)
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\n\xff<p>")

    async with served(serve) as caller:
        answer = await caller.call("GET", "/")
    assert (answer.status, answer.body, answer.code) == (502, {}, "http-502")


def test_addresses():
    plain = parse_url("http://127.0.0.1:8080/shop/")
    assert (plain.host, plain.port, plain.tls, plain.prefix) == ("127.0.0.1", 8080, None, "/shop")
    assert parse_url("https://shop.example").port == 443
    for wrong in ("shop:8080", "ftp://x", "http://", "http://x:99999", ""):
        with pytest.raises(SetupError, match="not a gateway address"):
            parse_url(wrong)
