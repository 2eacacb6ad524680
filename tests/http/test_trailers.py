"""What a client sends behind a body in chunks: no headers, and bounded."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest
import uvicorn

from gateway.runtime.protocol import HEAD_BYTES_MAX, Protocol
from tests.http.api import Api
from tests.http.gateways import until
from tests.http.raw import Answer, Connection

CHUNKED = (
    b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
)


def trailers(size: int) -> bytes:
    """So many bytes of them, in lines of about a thousand, without the end."""
    return b"".join(b"X-%04d: %s\r\n" % (n, b"y" * 992) for n in range(size // 1000))


def test_trailers_are_no_headers(memory_api: Api) -> None:
    """What comes after the body has passed no filter in front, and nobody waits for it."""
    with Connection(memory_api.http.base_url.port or 0) as connection:
        connection.send(CHUNKED % b"/v1/reservations" + b"Idempotency-Key: smuggled\r\n\r\n")
        answer = connection.receive()
    assert (answer.status, answer.json["code"]) == (400, "idempotency-key-missing")


def test_trailers_have_a_bound(memory_api: Api) -> None:
    with Connection(memory_api.http.base_url.port or 0) as connection:
        connection.send(CHUNKED % b"/v1/reservations" + trailers(80_000))
        answer = connection.receive()
    assert (answer.status, answer.closes) == (431, True)


class Unbounded(Protocol):
    """Lets go of trailers without counting them."""

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            super().on_header(name, value)


async def _yes(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
    )
    await send({"type": "http.response.body", "body": b""})


@contextmanager
def serving(protocol: type[Protocol]) -> Iterator[int]:
    """The port of a server that says yes to whatever the protocol lets through."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(_yes, http=protocol, ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        until(lambda: server.started)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


def answered(protocol: type[Protocol], size: int) -> Answer:
    with serving(protocol) as port, Connection(port) as connection:
        connection.send(CHUNKED % b"/anything" + trailers(size) + b"\r\n")
        return connection.receive()


@pytest.mark.parametrize(
    ("size", "status"), [(0, 200), (HEAD_BYTES_MAX - 5_000, 200), (HEAD_BYTES_MAX + 5_000, 431)]
)
def test_the_bound_is_that_of_a_head(size: int, status: int) -> None:
    assert answered(Protocol, size).status == status


def test_uncounted_trailers_would_have_no_end() -> None:
    """Negative control: nothing else stops them."""
    assert answered(Unbounded, 100 * HEAD_BYTES_MAX).status == 200
