"""Redis gone in the middle of things: honest answers, and afterwards the one true outcome."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.conftest import make_server
from tests.http.api import Api, fresh, refused
from tests.http.gateways import Gateway, until
from tests.support.servers import RedisServer

BROKEN = ("outcome-unknown", "store-unavailable", "overloaded")
PATIENCE_MS = 400
TIMES = {
    "redis.call_timeout_ms": PATIENCE_MS,
    "redis.connect_timeout_ms": PATIENCE_MS,
    "batch.deadline_ms": PATIENCE_MS,
}


@pytest.fixture(scope="module")
def valkey() -> Iterator[RedisServer]:
    """A server to be killed, paused and restarted; it runs before and after every test."""
    with make_server("valkey") as server:
        yield server


@pytest.fixture(scope="module")
def gateway(valkey: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gone")
    with Gateway(folder, store=valkey.url, **TIMES) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def api(gateway: Gateway) -> Iterator[Api]:
    client = Api(gateway.url)
    yield client
    client.close()


@pytest.fixture(autouse=True)
def ready(api: Api) -> Iterator[None]:
    yield
    until(lambda: api.get("/readyz").status_code == 200, what="ready again")


def broken(answer: httpx.Response, *codes: str) -> str:
    """The code of an honest answer of a gateway whose store is gone."""
    assert answer.status_code == 503, answer.text
    problem = answer.json()
    assert problem["code"] in codes
    assert problem["retryable"] is True
    assert int(answer.headers["retry-after"]) >= 1
    return str(problem["code"])


def verified(gateway: Gateway) -> None:
    """Nothing lost, nothing doubled."""
    result = gateway.cli("verify")
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_store_that_died_is_said_to_be_gone(api: Api, valkey: RedisServer) -> None:
    sku = api.new_sku(10)
    made = api.held(sku)
    assert api.get(f"/v1/stock/{sku}").json()["available"] == 9
    valkey.kill()
    try:
        until(lambda: api.get("/readyz").status_code == 503)
        ready = api.get("/readyz")
        assert "redis" in ready.json()["not_ready"]
        assert ready.headers["retry-after"]
        assert api.get("/livez").status_code == 200
        assert api.get(f"/v1/stock/{sku}").json()["available"] == 9
        for _ in range(2):
            gone = ("store-unavailable", "outcome-unknown")
            broken(api.reserve(sku), *gone)
            broken(api.confirm(made), *gone)
            broken(api.get(f"/v1/reservations/{made}"), *gone)
            broken(api.step(made, "release"), *gone)
            broken(api.get("/v1/stock/never-read"), *gone)
            broken(api.get("/v1/admin/skus"), *gone)
            broken(api.get("/v1/admin/reservations"), *gone)
            broken(api.get(f"/v1/admin/skus/{sku}"), *gone)
            body = {"on_hand": 20, "safety_stock": 0}
            broken(api.call("PUT", f"/v1/admin/skus/{sku}", body), *gone)
        batch = [{"key": fresh("k"), "buyer": "a", "lines": [{"sku": sku, "quantity": 1}]}] * 3
        answer = api.call("POST", "/v1/reservations/batch", {"reservations": batch})
        assert [r["status"] for r in answer.json()["results"]] == [503] * 3
    finally:
        valkey.restart()
    until(lambda: api.get("/readyz").status_code == 200)
    assert api.get(f"/v1/reservations/{made}").json()["state"] == "held"
    assert api.put_sku(sku, 20)["on_hand"] == 20
    assert api.confirm(made).json()["state"] == "settled"


def test_a_lost_answer_is_told_as_such_and_the_key_finds_the_truth(
    api: Api, gateway: Gateway, valkey: RedisServer
) -> None:
    """Redis is paused: what was sent runs once it goes on, though nobody awaits it any more."""
    sku, key = api.new_sku(10), fresh("key")
    to_confirm, to_release = api.held(sku), api.held(sku)
    for one in (api.held(sku), api.held(sku)):  # so that every call has a connection to lose
        assert api.step(one, "release").status_code == 200
        refused(api.confirm(one), 409, "reservation-released")
    valkey.pause()
    try:
        with ThreadPoolExecutor() as pool:
            holding = pool.submit(api.reserve, sku, key=key, buyer="ada")
            confirming = pool.submit(api.confirm, to_confirm, "pay-1")
            releasing = pool.submit(api.step, to_release, "release")
            for answer in (holding, confirming, releasing):
                assert broken(answer.result(), "outcome-unknown") == "outcome-unknown"
        assert api.get("/livez").status_code == 200
        broken(api.reserve(sku, key=key, buyer="ada"), "store-unavailable", "outcome-unknown")
    finally:
        valkey.resume()
    until(lambda: api.get("/readyz").status_code == 200)
    first = api.reserve(sku, key=key, buyer="ada")
    again = api.reserve(sku, key=key, buyer="ada")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["id"] == again.json()["id"]
    assert api.confirm(to_confirm, "pay-1").json()["state"] == "settled"
    refused(api.confirm(to_confirm, "pay-2"), 409, "payment-ref-conflict")
    assert api.step(to_release, "release").json()["state"] == "released"
    terms = api.terms(sku)
    assert (terms["held"], terms["sold"], terms["available"]) == (1, 1, 8)
    verified(gateway)


class Crowd:
    """Buyers who each want one unit under a key of their own, and keep every answer."""

    def __init__(self, url: str, sku: str) -> None:
        self._url = url
        self._sku = sku
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.answers: dict[str, list[tuple[int, Any]]] = {}
        self.confirmed: dict[str, int] = {}

    def run(self) -> None:
        """Buy until told to stop; every third reservation is paid for."""
        with httpx.Client(base_url=self._url, timeout=10, trust_env=False) as http:
            while not self._stop.is_set():
                key = fresh("crowd")
                answer = self._reserve(http, key)
                if answer.status_code == 201 and len(self.answers) % 3 == 0:
                    self.confirmed[answer.json()["id"]] = self._pay(http, answer).status_code

    def _reserve(self, http: httpx.Client, key: str) -> httpx.Response:
        body = {"buyer": key, "lines": [{"sku": self._sku, "quantity": 1}]}
        answer = http.post(
            "/v1/reservations",
            content=json.dumps(body),
            headers={"Idempotency-Key": key, "Content-Type": "application/json"},
        )
        with self._lock:
            self.answers.setdefault(key, []).append((answer.status_code, answer.json()))
        return answer

    @staticmethod
    def _pay(http: httpx.Client, made: httpx.Response) -> httpx.Response:
        paid = {"payment_ref": f"pay-{made.json()['id']}"}
        return http.post(f"{made.headers['location']}/confirm", json=paid)

    def stop(self) -> None:
        self._stop.set()

    def count(self, status: int) -> int:
        with self._lock:
            return sum(answers[0][0] == status for answers in self.answers.values())


@pytest.mark.parametrize("end", [RedisServer.kill, RedisServer.pause])
def test_no_unit_is_lost_or_doubled_when_it_goes_under_load(
    api: Api, gateway: Gateway, valkey: RedisServer, end: Callable[[RedisServer], None]
) -> None:
    sku = api.new_sku(5000)
    crowd = Crowd(gateway.url, sku)
    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(crowd.run) for _ in range(8)]
        until(lambda: crowd.count(201) > 100)
        end(valkey)
        until(lambda: crowd.count(503) > 8)
        valkey.restart() if end is RedisServer.kill else valkey.resume()
        sold = crowd.count(201)
        until(lambda: crowd.count(201) > sold + 50)
        crowd.stop()
        for one in running:
            one.result()
    judge(api, sku, crowd)
    verified(gateway)


def judge(api: Api, sku: str, crowd: Crowd) -> None:
    """Each key has one answer, each buyer one unit, and what was answered holds."""
    statuses = Counter(answers[0][0] for answers in crowd.answers.values())
    assert set(statuses) == {201, 503}, statuses
    for status, body in (answers[0] for answers in crowd.answers.values()):
        assert status == 201 or body["code"] in BROKEN
    ids = set()
    for key, answers in crowd.answers.items():
        again = api.reserve(sku, key=key, buyer=key)
        assert again.status_code == 201
        ids.add(again.json()["id"])
        if answers[0][0] == 201:
            assert again.json()["id"] == answers[0][1]["id"]
            assert again.headers["idempotent-replayed"] == "true"
    assert len(ids) == len(crowd.answers)
    for made, status in crowd.confirmed.items():
        assert status in (200, 202, 503)
        assert api.confirm(made).json()["state"] == "settled"
    terms = api.terms(sku)
    assert terms["held"] + terms["sold"] == len(ids)
    assert terms["sold"] == len(crowd.confirmed)
    assert terms["available"] == 5000 - len(ids)


def test_scripts_that_redis_forgot_are_loaded_again(api: Api, valkey: RedisServer) -> None:
    sku = api.new_sku(3)
    api.held(sku)
    valkey.call("SCRIPT", "FLUSH")
    assert api.confirm(api.held(sku)).status_code == 200


def test_a_full_queue_is_refused_at_once(
    valkey: RedisServer, gateway: Gateway, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One request is on its way to a paused Redis, one waits, and the others hear at once."""
    tiny: dict[str, Any] = {
        "batch.queue_max": 1,
        "batch.size_max": 1,
        "redis.call_timeout_ms": 2000,
    }
    tiny["ledger"] = f"sqlite+aiosqlite:///{gateway.data}/ledger.sqlite3"
    folder = tmp_path_factory.mktemp("tiny")
    with Gateway(folder, store=valkey.url, **tiny) as second, ThreadPoolExecutor(12) as pool:
        api = Api(second.url)
        sku = api.new_sku(100)
        valkey.pause()
        try:
            waiting = [pool.submit(api.reserve, sku) for _ in range(10)]
            until(lambda: sum(one.done() for one in waiting) >= 8, timeout_s=1.5)
            shed = [one.result() for one in waiting if one.done()]
            assert {broken(answer, "overloaded") for answer in shed} == {"overloaded"}
            assert max(answer.elapsed.total_seconds() for answer in shed) < 1
            assert 'shed_total{command="hold",reason="queue-full"} 8.0' in api.get("/metrics").text
        finally:
            valkey.resume()
        assert sorted(one.result().status_code for one in waiting) == [201] * 2 + [503] * 8
        assert api.terms(sku)["held"] == 2
        api.close()
