"""Stopping: readiness fails first, what was accepted is answered, and nothing is left running."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.conftest import make_server
from tests.http.api import Api, fresh
from tests.http.gateways import Gateway, environment, until
from tests.http.raw import JSON_TYPE, Connection, request
from tests.lifecycle.conftest import nothing_runs_in
from tests.lifecycle.crowd import Crowd

KEPT = "Stopped. Everything answered is kept."


def refuses_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_stop_under_load_loses_nothing(gateway: Gateway, api: Api) -> None:
    sku, rules = api.new_sku(20_000, 5), api.new_sku(7, 1, buyer_limit=3, hold_ttl_s=99)
    before = api.terms(rules)
    crowd = Crowd(gateway.url, sku)
    with crowd.buying():
        until(lambda: crowd.answers() > 200)
        assert gateway.terminate() == 0
    assert KEPT in gateway.output()
    assert "Traceback" not in gateway.output()
    assert nothing_runs_in(gateway.folder)
    assert set(crowd.refused.values()) <= {503}

    gateway.start()
    again = Api(gateway.url)
    crowd.judge(again)
    assert again.terms(rules) == before
    assert again.terms("poster")["on_hand"] == 10_000
    assert again.terms(sku)["sold"] == len(crowd.paid)
    again.close()
    assert gateway.cli("verify").returncode == 0


@pytest.fixture
def locked_ledger(gateway: Gateway) -> Iterator[sqlite3.Connection]:
    """The ledger, held by somebody else: confirms wait."""
    with closing(sqlite3.connect(gateway.data / "ledger.sqlite3", isolation_level=None)) as held:
        held.execute("BEGIN IMMEDIATE")
        yield held


@pytest.fixture
def confirming(
    gateway: Gateway, api: Api, locked_ledger: sqlite3.Connection
) -> Iterator[list["Future[httpx.Response]"]]:
    """Confirms of four holds, which wait for the ledger for as long as it is held."""
    locked_ledger.execute("ROLLBACK")
    sku = api.new_sku(10)
    ids = [api.held(sku) for _ in range(4)]
    locked_ledger.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(api.confirm, one, prefer="wait=10") for one in ids]
        until(lambda: all(api.state(one) == "confirmed" for one in ids))
        yield waiting


def test_a_stop_does_not_wait_for_a_ledger_that_is_slow(
    gateway: Gateway, confirming: list["Future[httpx.Response]"], locked_ledger: sqlite3.Connection
) -> None:
    """Who waits, and who comes while it stops, is told at once what is certain: 202."""
    with Connection(gateway.port) as latecomer:
        assert latecomer.is_usable()
        assert not any(one.done() for one in confirming)
        gateway.child.terminate()
        answers = [one.result(timeout=5) for one in confirming]
        assert [answer.status_code for answer in answers] == [202] * 4
        made = [answer.json()["id"] for answer in answers]
        assert [answer.headers["location"] for answer in answers] == [
            f"/v1/reservations/{one}" for one in made
        ]
        headers = [JSON_TYPE, (b"Prefer", b"wait=10")]
        path = f"/v1/reservations/{made[0]}/confirm"
        paid = b'{"payment_ref":"pay-%s"}' % made[0].encode()
        again = latecomer.request("POST", path, headers, paid)
        assert (again.status, again.json["state"]) == (202, "confirmed")
    assert gateway.child.wait(15) == 0
    assert nothing_runs_in(gateway.folder)

    locked_ledger.execute("ROLLBACK")
    gateway.start()
    later = Api(gateway.url)
    for one in made:
        later.until_state(one, "settled")
    later.close()


def test_what_was_accepted_is_answered_after_readiness_has_failed(
    gateway: Gateway, api: Api
) -> None:
    sku = api.new_sku(10)
    body = b'{"buyer":"ada","lines":[{"sku":"%s","quantity":1}]}' % sku.encode()
    headers = [JSON_TYPE, (b"Idempotency-Key", fresh("key").encode())]
    half = request("POST", "/v1/reservations", headers, body)
    with Connection(gateway.port) as slow, Connection(gateway.port) as watcher:
        slow.send(half[:-20])
        assert watcher.request("GET", "/readyz").status == 200

        gateway.child.terminate()
        until(lambda: watcher.request("GET", "/readyz").status == 503, timeout_s=1)
        draining = watcher.request("GET", "/readyz")
        assert draining.json == {"ready": False, "not_ready": {"gateway": "draining"}}
        assert watcher.request("GET", "/livez").status == 200
        with Connection(gateway.port) as latecomer:
            assert latecomer.request("GET", f"/v1/stock/{sku}").status == 200
        until(lambda: refuses_connections(gateway.port))
        assert watcher.closed_by_server()
        assert gateway.child.exit_code is None

        slow.send(half[-20:])
        assert slow.receive().status == 201
    assert gateway.child.wait(15) == 0
    assert nothing_runs_in(gateway.folder)


def test_a_stop_does_not_wait_for_idle_or_half_sent_requests(gateway: Gateway) -> None:
    with Connection(gateway.port) as idle, Connection(gateway.port) as half:
        assert idle.request("GET", "/livez").status == 200
        half.send(b"POST /v1/reservations HTTP/1.1\r\nHost:")
        assert gateway.terminate() == 0
        assert idle.closed_by_server()
        assert half.closed_by_server()


def test_a_stop_without_redis_is_a_stop(tmp_path: Path) -> None:
    times = {"redis.call_timeout_ms": 300, "redis.connect_timeout_ms": 300}
    with make_server("redis") as server, Gateway(tmp_path, store=server.url, **times) as gateway:
        api = Api(gateway.url)
        made = api.held(api.new_sku(5))
        server.pause()
        assert api.confirm(made).status_code == 503
        api.close()
        assert gateway.terminate() == 0
        assert "Traceback" not in gateway.output()


def test_ctrl_c_drains_once(tmp_path: Path) -> None:
    """In a terminal Ctrl-C reaches the whole foreground group; Valkey is not in it."""
    gateway = Gateway(tmp_path)
    serve = [sys.executable, "-m", "gateway", "serve", "--config", str(gateway.config)]
    terminal = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
    with (tmp_path / "terminal.log").open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-c", terminal, *serve],
            cwd=tmp_path,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    said = tmp_path / "terminal.log"
    try:
        until(lambda: "Ctrl-C drains" in said.read_text(encoding="utf-8"))
        assert child.stdin is not None
        child.stdin.write(b"\x03")
        child.stdin.flush()
        assert child.wait(15) == 0
    finally:
        child.kill()
        child.communicate()
    output = said.read_text(encoding="utf-8")
    assert output.count("Stopped.") == 1
    assert KEPT in output
    assert "Traceback" not in output
    assert nothing_runs_in(tmp_path)
    log_text = (tmp_path / "data" / "valkey" / "valkey.log").read_text(encoding="utf-8")
    assert "Received SIGTERM" in log_text
    assert "Received SIGINT" not in log_text


def test_an_impatient_ctrl_c_does_not_wait(gateway: Gateway, api: Api) -> None:
    """A second signal ends it although a request still runs."""
    with Connection(gateway.port) as slow:
        head = b"POST /v1/reservations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        slow.send(head + b"Idempotency-Key: k\r\nContent-Length: 10\r\n\r\n{")
        until(lambda: api.get("/livez").status_code == 200)
        os.kill(gateway.child.pid, signal.SIGINT)
        until(lambda: refuses_connections(gateway.port))
        assert gateway.child.exit_code is None
        os.kill(gateway.child.pid, signal.SIGINT)
        assert gateway.child.wait(8) == 0
        refused = slow.receive()
        assert (refused.status, refused.json["code"]) == (503, "outcome-unknown")
    assert "Traceback" not in gateway.output()
    assert nothing_runs_in(gateway.folder)
