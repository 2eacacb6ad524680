"""Every request in HTTP/1.1 names its host, once."""

from collections.abc import Iterator

import pytest

from tests.http.api import Api, fresh
from tests.http.raw import Connection

BODY = b'{"buyer":"ada","lines":[{"sku":"%s","quantity":1}]}'


@pytest.fixture
def connection(memory_api: Api) -> Iterator[Connection]:
    with Connection(memory_api.http.base_url.port or 0) as found:
        yield found


def create(sku: str, hosts: bytes, version: bytes = b"1.1") -> bytes:
    body = BODY % sku.encode()
    key = fresh("key").encode()
    return (
        b"POST /v1/reservations HTTP/%s\r\n%sContent-Type: application/json\r\n"
        b"Idempotency-Key: %s\r\nContent-Length: %d\r\n\r\n%s"
    ) % (version, hosts, key, len(body), body)


NOT_ONE = {
    "none": b"",
    "two": b"Host: shop\r\nHost: shop\r\n",
    "two that differ": b"Host: shop\r\nhOST: other\r\n",
}


@pytest.mark.parametrize("hosts", NOT_ONE.values(), ids=NOT_ONE)
@pytest.mark.parametrize("path", [b"/livez", b"/v1/stock/x", b"/nowhere"])
def test_a_read_without_exactly_one_host_is_refused(
    connection: Connection, path: bytes, hosts: bytes
) -> None:
    connection.send(b"GET %s HTTP/1.1\r\n%s\r\n" % (path, hosts))
    answer = connection.receive()
    assert (answer.status, answer.json["code"], answer.closes) == (400, "malformed-http", True)
    assert connection.closed_by_server()


@pytest.mark.parametrize("hosts", NOT_ONE.values(), ids=NOT_ONE)
def test_a_reservation_without_exactly_one_host_holds_nothing(
    memory_api: Api, connection: Connection, hosts: bytes
) -> None:
    sku = memory_api.new_sku()
    connection.send(create(sku, hosts))
    answer = connection.receive()
    assert (answer.status, answer.json["code"], answer.closes) == (400, "malformed-http", True)
    assert memory_api.terms(sku)["held"] == 0


def test_every_request_of_a_connection_is_looked_at(
    memory_api: Api, connection: Connection
) -> None:
    sku = memory_api.new_sku()
    connection.send(create(sku, b"Host: shop\r\n"))
    assert connection.receive().status == 201
    connection.send(create(sku, b""))
    assert connection.receive().status == 400
    assert memory_api.terms(sku)["held"] == 1


@pytest.mark.parametrize("hosts", [b"Host: shop\r\n", b"Host: [::1]:80\r\n", b"Host:\r\n"])
def test_one_host_is_enough_whatever_it_says(
    memory_api: Api, connection: Connection, hosts: bytes
) -> None:
    connection.send(create(memory_api.new_sku(), hosts))
    assert connection.receive().status == 201


def test_http_1_0_needs_none_and_may_not_have_two(connection: Connection, memory_api: Api) -> None:
    connection.send(create(memory_api.new_sku(), NOT_ONE["two"], b"1.0"))
    assert connection.receive().status == 400
    with Connection(memory_api.http.base_url.port or 0) as other:
        other.send(create(memory_api.new_sku(), b"", b"1.0"))
        assert other.receive().status == 201


def test_an_offer_to_upgrade_needs_one_as_well(connection: Connection) -> None:
    connection.send(b"GET /livez HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    assert connection.receive().status == 400
