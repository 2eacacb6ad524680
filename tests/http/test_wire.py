"""HTTP as it comes off the wire: broken, repeated, enormous, in pieces, or given up."""

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import redis

from tests.http.api import Api, fresh
from tests.http.gateways import until
from tests.http.raw import JSON_TYPE, Answer, Connection, Pairs, request
from tests.support.servers import RedisServer


@pytest.fixture
def connection(memory_api: Api) -> Iterator[Connection]:
    with Connection(memory_api.http.base_url.port or 0) as found:
        yield found


def body_for(sku: str, buyer: str = "ada") -> bytes:
    return json.dumps({"buyer": buyer, "lines": [{"sku": sku, "quantity": 1}]}).encode()


def create(sku: str, key: bytes, more: Pairs = (), buyer: str = "ada") -> bytes:
    headers = [JSON_TYPE, (b"Idempotency-Key", key), *more]
    return request("POST", "/v1/reservations", headers, body_for(sku, buyer))


def refused(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.json["code"]) == (status, code), answer
    assert answer.headers["content-type"] == "application/problem+json"
    members = ("type", "title", "status", "detail", "code", "retryable")
    assert all(name in answer.json for name in members)


BROKEN = {
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "words": b"hello there\r\n\r\n",
    "future": b"GET /livez HTTP/9.9\r\n\r\n",
    "unknown-method": b"BREW /livez HTTP/1.1\r\n\r\n",
    "proxy": b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "raw-utf-8-path": b"GET /v1/stock/caf\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n",
    "raw-bytes-query": b"GET /v1/stock?sku=\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    "header-without-colon": b"GET /livez HTTP/1.1\r\nHost\r\n\r\n",
    "space-before-colon": b"GET /livez HTTP/1.1\r\nHost : x\r\n\r\n",
    "nul-in-header": b"GET /livez HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
    "two-lengths": b"POST /v1/reservations HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n"
    b"\r\n{}",
    "length-and-chunks": b"POST /v1/reservations HTTP/1.1\r\nContent-Length: 2\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "length-of-letters": b"POST /v1/reservations HTTP/1.1\r\nContent-Length: two\r\n\r\n{}",
    "negative-length": b"POST /v1/reservations HTTP/1.1\r\nContent-Length: -2\r\n\r\n{}",
    "endless-path": b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_what_is_not_http_is_a_problem_and_the_end(connection: Connection, data: bytes) -> None:
    connection.send(data)
    answer = connection.receive()
    assert answer.status in (400, 431)
    refused(answer, answer.status, answer.json["code"])
    assert answer.closes
    assert connection.closed_by_server()


@pytest.mark.parametrize(
    "headers",
    [
        [(b"X-Long", b"a" * 66_000)],
        [(b"X-Long", b"a" * 5_000_000)],
        [(b"A" * 70_000, b"a")],
        [(b"X-%d" % number, b"value") for number in range(10_000)],
    ],
)
def test_headers_have_a_size(connection: Connection, headers: Pairs) -> None:
    connection.send(request("GET", "/livez", headers))
    refused(connection.receive(), 431, "headers-too-large")
    assert connection.closed_by_server()


def test_a_head_that_never_ends_is_cut_off_early(connection: Connection) -> None:
    connection.send(b"GET /livez HTTP/1.1\r\n")
    for _ in range(20):
        connection.send(b"X-More: " + b"a" * 8_000 + b"\r\n")
    refused(connection.receive(), 431, "headers-too-large")


def test_headers_below_the_size_are_fine(connection: Connection) -> None:
    headers = [(b"X-Long", b"a" * 60_000)]
    for _ in range(3):
        assert connection.request("GET", "/livez", headers).status == 200


def test_what_comes_with_the_end_of_a_head_does_not_count(
    memory_api: Api, connection: Connection
) -> None:
    """Pieces of the stream do not end where heads end."""
    headers = [JSON_TYPE, (b"Idempotency-Key", fresh("key").encode())]
    body = body_for(memory_api.new_sku()) + b" " * 90_000
    data = request("POST", "/v1/reservations", headers, body)
    first, second = data[:60], data[60:]
    for _ in range(3):
        connection.send(first)
        until(lambda: memory_api.get("/livez").status_code == 200)
        connection.send(second + first)
        assert connection.receive().status == 201
        connection.send(second)
        assert connection.receive().status == 201


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        (b"Idempotency-Key", 400, "idempotency-key-malformed"),
        (b"Content-Type", 415, "unsupported-media-type"),
    ],
)
def test_a_header_that_comes_twice(
    memory_api: Api, connection: Connection, name: bytes, status: int, code: str
) -> None:
    sku = memory_api.new_sku()
    value = b"application/json" if name == b"Content-Type" else b"same"
    connection.send(create(sku, b"same", [(name, value)]))
    refused(connection.receive(), status, code)
    assert connection.is_usable()
    assert memory_api.terms(sku)["held"] == 0


def test_headers_in_any_bytes_do_no_harm(memory_api: Api, connection: Connection) -> None:
    names = (b"Accept-Language", b"Prefer", b"X-Request-Id", b"Traceparent", b"If-None-Match")
    for value in (b"\xff\xfe", b"\xe4\xb8\xad", b"," * 300, b";q=" * 100, b'"' * 50, b""):
        headers = [(name, value) for name in names]
        assert connection.request("GET", "/v1/stock/nowhere", headers).status == 404
        assert connection.request("GET", "/nowhere", headers).status == 404
        assert connection.request("GET", "/problems/sold-out", headers).status == 200
        assert connection.request("GET", "/docs", headers).status in (200, 304)
    assert connection.is_usable()


@pytest.mark.parametrize("what", [b"h2c", b"websocket", b"h2c, TLS/1.0"])
def test_an_offer_to_upgrade_is_ignored_and_the_body_read(
    memory_api: Api, connection: Connection, what: bytes
) -> None:
    sku, key = memory_api.new_sku(), fresh("key").encode()
    offer = [(b"Connection", b"Upgrade, HTTP2-Settings"), (b"Upgrade", what)]
    for data in (create(sku, key, [*offer, (b"HTTP2-Settings", b"AAMAAABk")]), create(sku, key)):
        connection.send(data)
        assert connection.receive().status == 201
    assert connection.request("GET", "/livez", offer).status == 200
    assert connection.is_usable()
    assert memory_api.terms(sku)["held"] == 1


def test_a_body_in_small_pieces(memory_api: Api, connection: Connection) -> None:
    data = create(memory_api.new_sku(), fresh("key").encode())
    for number in range(len(data)):
        connection.send(data[number : number + 1])
    assert connection.receive().status == 201
    assert connection.is_usable()


def test_a_body_in_chunks(memory_api: Api, connection: Connection) -> None:
    body = body_for(memory_api.new_sku())
    head = b"POST /v1/reservations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    connection.send(head + b"Idempotency-Key: " + fresh("key").encode() + b"\r\n")
    connection.send(b"Transfer-Encoding: chunked\r\n\r\n")
    for start in range(0, len(body), 7):
        piece = body[start : start + 7]
        connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
    connection.send(b"0\r\n\r\n")
    assert connection.receive().status == 201
    assert connection.is_usable()


def test_a_client_that_asks_before_it_sends(memory_api: Api, connection: Connection) -> None:
    data = create(memory_api.new_sku(), fresh("key").encode(), [(b"Expect", b"100-continue")])
    head, _, body = data.partition(b"\r\n\r\n")
    connection.send(head + b"\r\n\r\n")
    assert connection.receive().status == 100
    connection.send(body)
    assert connection.receive().status == 201


def test_requests_sent_at_once_are_answered_in_order(
    memory_api: Api, connection: Connection
) -> None:
    sku = memory_api.new_sku(100)
    buyers = [fresh("buyer") for _ in range(20)]
    connection.send(b"".join(create(sku, b.encode(), buyer=b) for b in buyers))
    assert [connection.receive().json["buyer"] for _ in buyers] == buyers


def test_garbage_behind_a_request_does_not_take_its_answer(
    memory_api: Api, connection: Connection
) -> None:
    """The hold is made: its answer must not be the garbage's 400."""
    sku = memory_api.new_sku()
    connection.send(create(sku, fresh("key").encode()) + b"\x00\x01garbage\r\n\r\n")
    assert connection.receive().status == 201
    assert connection.closed_by_server()


def test_http_1_0_and_close(memory_api: Api, connection: Connection) -> None:
    connection.send(b"GET /livez HTTP/1.0\r\n\r\n")
    assert connection.receive().status == 200
    assert connection.closed_by_server()


def test_head_of_everything_that_can_be_read(memory_api: Api, connection: Connection) -> None:
    sku = memory_api.new_sku()
    made = memory_api.held(sku)
    paths = (
        f"/v1/stock/{sku}",
        f"/v1/stock?sku={sku}",
        f"/v1/reservations/{made}",
        f"/v1/admin/skus/{sku}",
        "/v1/admin/skus",
        "/v1/admin/reservations",
        "/v1/admin/config",
        "/livez",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/docs",
        "/problems",
        "/problems/sold-out",
        "/",
        "/v1/stock/nowhere",
    )
    for path in paths:
        wanted = 404 if "nowhere" in path else 200
        head = connection.request("HEAD", path)
        assert (head.status, int(head.headers["content-length"]) > 0) == (wanted, True), path
        assert connection.request("GET", path).status == wanted


def test_a_client_that_hangs_up_does_not_take_its_neighbours_along(memory_api: Api) -> None:
    """Half of the clients leave before their answer: some of those are held, and some were still
    to be sent and are not. Whoever comes again with the key hears the truth.
    """
    sku, port = memory_api.new_sku(100), memory_api.http.base_url.port or 0
    keys = [fresh("key") for _ in range(40)]
    connections = [Connection(port) for _ in keys]
    for connection, key in zip(connections, keys, strict=True):
        connection.send(create(sku, key.encode(), buyer=key))
    for connection in connections[::2]:
        connection.close()
    for connection in connections[1::2]:
        assert connection.receive().status == 201
        connection.close()
    for key in keys[1::2]:
        again = memory_api.reserve(sku, key=key, buyer=key)
        assert again.headers["idempotent-replayed"] == "true"
    for key in keys[::2]:
        assert memory_api.reserve(sku, key=key, buyer=key).status_code == 201
    assert memory_api.terms(sku)["held"] == len(keys)


def test_clients_that_dawdle_hold_nobody_up(memory_api: Api) -> None:
    sku, port = memory_api.new_sku(100), memory_api.http.base_url.port or 0
    slow = [Connection(port) for _ in range(20)]
    data = [create(sku, fresh("key").encode()) for _ in slow]
    for connection, sent in zip(slow, data, strict=True):
        connection.send(sent[:-10])
    made = [memory_api.held(sku) for _ in range(20)]
    assert len(set(made)) == 20
    assert memory_api.terms(sku)["held"] == 20
    for connection in slow[::2]:
        connection.close()
    for connection, sent in list(zip(slow, data, strict=True))[1::2]:
        connection.send(sent[-10:])
        assert connection.receive().status == 201
        connection.close()
    assert memory_api.terms(sku)["held"] == 30


def test_a_record_that_cannot_be_read_is_the_fault_of_one_request(
    redis_api: Api, http_redis: RedisServer
) -> None:
    """Those who are answered from the same reply of Redis are told, whatever another one is."""
    api, sku, key = redis_api, redis_api.new_sku(100), fresh("key")
    name = "{sg:0}:reservations"
    with redis.Redis.from_url(http_redis.url) as client:
        field = api.held(sku, key=key, buyer="ada")[12:]
        sound = client.hget(name, field)
        client.hset(name, field, sound.rpartition(b"*")[0] + b"*?")
        try:
            with ExitStack() as stack:
                port = api.http.base_url.port or 0
                crowd = [stack.enter_context(Connection(port)) for _ in range(30)]
                keys = [fresh("key").encode() for _ in crowd]
                keys[10] = key.encode()
                for buyer, connection in enumerate(crowd):
                    connection.send(create(sku, keys[buyer]))
                answers = [connection.receive() for connection in crowd]
        finally:
            client.hset(name, field, sound)
    refused(answers.pop(10), 503, "stock-inconsistent")
    assert {answer.status for answer in answers} == {201}
