"""What the gateway is measured against: a bare ASGI application on the same web server.

It reads the whole body, as the gateway must, and answers JSON of the length it was told. With
`--sink`, instead of it: a socket that answers whatever comes, which shows how fast the load
generator itself is. `python -m loadtests.bench.echo BYTES [--sink]` prints its port.
"""

import socket
import sys
from typing import Any

import uvicorn

from gateway.runtime.eventloop import run
from loadtests.bench.polling import READABLE, make_poller

CONNECTIONS_MAX = 1024
KEEP_ALIVE_S = 65
READ_BYTES = 1 << 16
FRAME = b'{"echo":""}'


def payload(size: int) -> bytes:
    """JSON of exactly `size` bytes, or of the fewest possible."""
    return FRAME[:-2] + b"x" * (size - len(FRAME)) + FRAME[-2:]


class Echo:
    """The bare application."""

    def __init__(self, size: int) -> None:
        self._body = payload(size)
        self._headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(self._body)),
        ]

    async def __call__(self, _scope: Any, receive: Any, send: Any) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body})


def settings(app: Any) -> uvicorn.Config:
    """The web server as the gateway runs it; a test keeps the two equal."""
    return uvicorn.Config(
        app,
        loop="none",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
    )


def serve(size: int, listener: socket.socket) -> None:
    """Serve the bare application until terminated."""
    run(uvicorn.Server(settings(Echo(size))).serve(sockets=[listener]))


def sink(size: int, listener: socket.socket) -> None:
    """Answer each read at once, without looking at it: requests must come one at a time."""
    body = payload(size)
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    incoming = bytearray(READ_BYTES)
    poller = make_poller()
    poller.register(listener.fileno(), READABLE)
    peers: dict[int, socket.socket] = {}
    while True:
        for number, _ in poller.wait():
            peer = peers.get(number)
            if peer is None:
                peer, _address = listener.accept()
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                peers[peer.fileno()] = peer
                poller.register(peer.fileno(), READABLE)
            elif not _answered(peer, incoming, answer):
                poller.unregister(number)
                peers.pop(number).close()


def _answered(peer: socket.socket, incoming: bytearray, answer: bytes) -> bool:
    try:
        if peer.recv_into(incoming):
            peer.sendall(answer)
            return True
    except OSError:
        pass
    return False


def main() -> None:
    """Serve on a free loopback port."""
    size = int(sys.argv[1])
    with socket.create_server(("127.0.0.1", 0), backlog=CONNECTIONS_MAX) as listener:
        print(listener.getsockname()[1], flush=True)
        answer = sink if "--sink" in sys.argv else serve
        answer(size, listener)


if __name__ == "__main__":
    main()
