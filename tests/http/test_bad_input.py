"""Whatever is wrong with a request, it is a 4xx problem that points at the field, and nothing is
written: not in Redis, not in the ledger.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.http import corpus, corpus_steps
from tests.http.api import Api
from tests.http.corpus import SKU, Bad, reservation
from tests.http.gateways import Gateway
from tests.http.raw import Connection, request
from tests.support.servers import RedisServer

CORPUS = [
    *corpus.reservations(),
    *corpus_steps.batches(),
    *corpus_steps.steps(),
    *corpus_steps.administration(),
    *corpus_steps.queries(),
]


class Kept:
    """Everything that the gateway keeps, but for the beats of its mark, so a change is seen."""

    def __init__(self, server: RedisServer, gateway: Gateway, ledger: sqlite3.Connection) -> None:
        self._server = server
        self._ledger = ledger
        self.port = gateway.port

    def look(self) -> tuple[str, int]:
        """A digest of all keys of Redis, and one of all rows of the ledger."""
        keys = sorted(k for k in self._server.call("KEYS", "*") if not k.endswith(":marker"))
        digest = str([keys, self._server.call("DEBUG", "DIGEST-VALUE", *keys)])
        rows = (line for line in self._ledger.iterdump() if 'INTO "marks"' not in line)
        return digest, hash("\n".join(rows))


@pytest.fixture(scope="module")
def held(redis_api: Api) -> str:
    """A reservation that bad steps are tried on."""
    redis_api.put_sku(SKU, 100)
    return redis_api.held(SKU, ttl_s=3600)


@pytest.fixture(scope="module")
def kept(http_redis: RedisServer, redis_gateway: Gateway, held: str) -> Iterator[Kept]:
    path = redis_gateway.data / "ledger.sqlite3"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as ledger:
        yield Kept(http_redis, redis_gateway, ledger)


@pytest.fixture(scope="module")
def connection(redis_gateway: Gateway) -> Iterator[list[Connection]]:
    """One connection for all that may share it; replaced when the server hangs up."""
    shared: list[Connection] = []
    yield shared
    for one in shared:
        one.close()


def send(kept: Kept, shared: list[Connection], bad: Bad, held: str) -> Any:
    headers = []
    if bad.key is not None:
        headers.append((b"Idempotency-Key", bad.key))
    if bad.content_type is not None:
        headers.append((b"Content-Type", bad.content_type))
    if not shared:
        shared.append(Connection(kept.port))
    path = bad.path.replace("{held}", held)
    answer = shared[0].request(bad.method, path, headers, bad.body)
    if answer.closes:
        shared.pop().close()
    return answer


@pytest.mark.parametrize("bad", CORPUS, ids=[bad.name for bad in CORPUS])
def test_bad_input_is_refused_and_nothing_is_written(
    kept: Kept, connection: list[Connection], held: str, redis_api: Api, bad: Bad
) -> None:
    before = kept.look()
    answer = send(kept, connection, bad, held)
    problem = answer.json
    assert (answer.status, problem["code"]) == (bad.status, bad.code), problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["retryable"] is False
    places = [(e["pointer"], e.get("parameter")) for e in problem.get("errors", [])]
    if bad.pointer is None:
        assert places == []
    else:
        assert (bad.pointer, bad.parameter) in places
    assert all(error["detail"] for error in problem.get("errors", []))
    assert len(answer.body) < 4000
    assert kept.look() == before
    assert not answer.closes or bad.status == 413


def test_the_corpus_was_refused_for_its_faults_alone(kept: Kept, redis_api: Api, held: str) -> None:
    """The same requests without their faults are accepted, and what they write is noticed."""
    digest, version = kept.look()
    redis_api.put_sku(SKU, 100)
    assert (
        redis_api.call(
            "POST", corpus.RESERVATION, reservation(), headers={"Idempotency-Key": "good"}
        ).status_code
        == 201
    )
    assert redis_api.step(held, "extend", {"ttl_s": 4000}).status_code == 200
    assert redis_api.adjust(SKU, 1).status_code == 201
    assert redis_api.confirm(held).status_code == 200
    assert kept.look()[0] != digest
    assert kept.look()[1] != version


@pytest.mark.parametrize("depth", [100, 1000, 100_000])
@pytest.mark.parametrize(
    ("start", "end"), [(b"[", b"]"), (b'{"buyer":', b"}"), (b'{"buyer":"a","lines":[', b"]}")]
)
def test_nesting_without_end(
    kept: Kept, connection: list[Connection], held: str, depth: int, start: bytes, end: bytes
) -> None:
    before = kept.look()
    for body in (start * depth + end * depth, start * depth):
        bad = Bad("", "POST", corpus.RESERVATION, body, 0, "")
        answer = send(kept, connection, bad, held)
        assert answer.status in (400, 413, 422), answer
        assert answer.json["code"] in ("malformed-json", "invalid-request", "body-too-large")
    assert kept.look() == before


def test_every_fault_is_named_at_once(redis_api: Api) -> None:
    body = {"buyer": "", "lines": [{"sku": "{}", "quantity": 0, "x": 1}], "ttl_s": 0, "y": 1}
    answer = redis_api.call("POST", corpus.RESERVATION, body, headers={"Idempotency-Key": "k"})
    assert {error["pointer"] for error in answer.json()["errors"]} == {
        "/buyer",
        "/lines/0/sku",
        "/lines/0/quantity",
        "/lines/0/x",
        "/ttl_s",
        "/y",
    }


def test_errors_are_in_chinese_for_those_who_ask(redis_api: Api) -> None:
    answer = redis_api.call(
        "POST",
        corpus.RESERVATION,
        reservation(ttl_s=0),
        headers={"Idempotency-Key": "k", "Accept-Language": "zh"},
    )
    assert answer.json()["errors"][0]["detail"] == "应在 1 与 14400 之间。"


@pytest.mark.parametrize("path", [corpus.RESERVATION, corpus.BATCH, corpus.ADMIN])
def test_a_body_over_the_limit_in_pieces(kept: Kept, path: str) -> None:
    """Its length is not known beforehand: chunks are counted as they come."""
    method = b"PUT" if path == corpus.ADMIN else b"POST"
    head = b" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nIdempotency-Key: k\r\n"
    before = kept.look()
    with Connection(kept.port) as connection:
        connection.send(method + b" " + path.encode() + head)
        connection.send(b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(40):
            connection.send(b"8000\r\n" + b" " * 0x8000 + b"\r\n")
        answer = connection.receive()
    assert (answer.status, answer.json["code"]) == (413, "body-too-large")
    assert answer.json["limit"] == 1_048_576
    assert kept.look() == before


def test_a_body_that_is_announced_too_large_is_refused_before_it_is_sent(kept: Kept) -> None:
    headers = [(b"Content-Type", b"application/json"), (b"Idempotency-Key", b"k")]
    with Connection(kept.port) as connection:
        connection.send(request("POST", corpus.RESERVATION, headers, length=10**18))
        assert connection.receive().status == 413
        assert connection.closed_by_server()
