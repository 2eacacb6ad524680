"""The bytes that the load generator sends. Every reservation has a key and a buyer of its own."""

import json
from collections.abc import Iterator

HEAD = (
    b"POST %s HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    b"%scontent-length: %d\r\n\r\n"
)
CONFIRM_BODY = b'{"payment_ref":"%s"}'
ID_LENGTH = 26
ID_MARK = b'"id":"'


def reserve(sku: str, tag: str, count: int) -> Iterator[bytes]:
    """Single reservations of one unit, one after the other."""
    key, entry = f"{tag}-%08d", _entry(sku, tag)
    size = len(entry % 0)
    template = HEAD % (b"/v1/reservations", f"idempotency-key: {key}\r\n".encode(), size) + entry
    for n in range(count):
        yield template % (n, n)


def batch(sku: str, tag: str, count: int, size: int) -> Iterator[bytes]:
    """Batches of `size` reservations of one unit each."""
    one = b'{"key":"' + f"{tag}-%08d".encode() + b'",' + _entry(sku, tag)[1:]
    for first in range(0, count * size, size):
        body = b'{"reservations":[' + b",".join([one % (n, n) for n in range(first, first + size)])
        yield HEAD % (b"/v1/reservations/batch", b"", len(body) + 2) + body + b"]}"


def stock(sku: str) -> bytes:
    """One read of a SKU's stock."""
    return f"GET /v1/stock/{sku} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode()


def confirm(answer: bytes) -> bytes:
    """The confirmation of the reservation that `answer` granted, with a payment of its own."""
    begin = answer.index(ID_MARK) + len(ID_MARK)
    name = answer[begin : begin + ID_LENGTH]
    body = CONFIRM_BODY % name
    return HEAD % (b"/v1/reservations/" + name + b"/confirm", b"", len(body)) + body


def _entry(sku: str, tag: str) -> bytes:
    body = {"buyer": f"{tag}-b%08d", "lines": [{"sku": sku, "quantity": 1}]}
    return json.dumps(body, separators=(",", ":")).encode()
