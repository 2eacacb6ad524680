"""HTTP as bytes on a socket, for what a proper client would refuse to send."""

import contextlib
import json
import socket
from collections.abc import Iterable
from types import TracebackType
from typing import Any, NamedTuple, Self

JSON_TYPE = (b"Content-Type", b"application/json")
Pairs = Iterable[tuple[bytes, bytes]]


class Answer(NamedTuple):
    """Status, headers by lower-case name, and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def closes(self) -> bool:
        """Whether the server said that it hangs up."""
        return self.headers.get("connection", "").lower() == "close"


class HungUp(Exception):
    """The server closed the connection before a whole answer had come."""


class Connection:
    """One connection; nothing is corrected, added or retried."""

    def __init__(self, port: int, *, timeout_s: float = 10.0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self._rest = b""

    def send(self, data: bytes) -> None:
        """These bytes, as far as the server takes them."""
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def receive(self, *, head: bool = False) -> Answer:
        """The next answer; `head`: of a HEAD request, so without a body."""
        while b"\r\n\r\n" not in self._rest:
            self._more()
        block, _, self._rest = self._rest.partition(b"\r\n\r\n")
        first, *lines = block.decode("latin-1").split("\r\n")
        headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
        status = int(first.split()[1])
        size = 0 if head or status in (100, 304) else int(headers.get("content-length", 0))
        while len(self._rest) < size:
            self._more()
        body, self._rest = self._rest[:size], self._rest[size:]
        return Answer(status, headers, body)

    def request(
        self, method: str, path: str | bytes, headers: Pairs = (), body: bytes = b""
    ) -> Answer:
        """Send a request whose length is declared, and receive its answer."""
        self.send(request(method, path, headers, body))
        return self.receive(head=method == "HEAD")

    def is_usable(self) -> bool:
        """Whether another request on this connection is answered."""
        answer = self.request("GET", "/livez")
        return (answer.status, answer.body) == (200, b"alive\n")

    def finish(self) -> bytes:
        """Say that nothing more will come; all that the server still says."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while data := self._socket.recv(65536):
                self._rest += data
        return self._rest

    def closed_by_server(self) -> bool:
        """Whether the server hangs up without another word."""
        try:
            return self._socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _more(self) -> None:
        try:
            data = self._socket.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            raise HungUp(self._rest)
        self._rest += data


def request(
    method: str, path: str | bytes, headers: Pairs = (), body: bytes = b"", *, length: int = -1
) -> bytes:
    """A request as bytes; `length` is what it declares, its body's own length unless given."""
    target = path if isinstance(path, bytes) else path.encode()
    lines = [method.encode() + b" " + target + b" HTTP/1.1", b"Host: gateway"]
    lines += [name + b": " + value for name, value in headers]
    size = len(body) if length < 0 else length
    if size or method in ("POST", "PUT"):
        lines.append(b"Content-Length: %d" % size)
    return b"\r\n".join([*lines, b"", body])
