"""The command line beside a running gateway, without one, and with mistakes."""

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from redis import Redis

from gateway.cli.common import operator
from tests.http.api import Api, fresh, line, refused
from tests.http.gateways import Gateway, environment, stockgate
from tests.lifecycle.conftest import nothing_runs_in
from tests.lifecycle.crowd import Crowd

Result = subprocess.CompletedProcess[str]

SKU_KEY = "{sg:0}:sku:"


def together(gateway: Gateway, **calls: str) -> dict[str, Result]:
    """Several command lines at the same time, by name."""
    with ThreadPoolExecutor(4) as pool:
        running = {name: pool.submit(gateway.cli, *words.split()) for name, words in calls.items()}
        return {name: one.result() for name, one in running.items()}


def row(result: Result, sku: str) -> list[str]:
    """The cells of a SKU's row."""
    assert result.returncode == 0, result.stdout + result.stderr
    return next(text.split() for text in result.stdout.splitlines() if text.split()[:1] == [sku])


def failed(result: Result, code: int, *words: str) -> None:
    """It ended with a message of its own, and this code."""
    assert result.returncode == code, result.stdout + result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    for word in words:
        assert word in result.stderr, result.stderr


def test_stock_and_reservations_beside_a_running_gateway(gateway: Gateway, api: Api) -> None:
    sku, new = api.new_sku(10, 2, buyer_limit=5), fresh("new")
    kept, freed = api.held([line(sku, 3)], buyer="ada"), api.held(sku, buyer="bob")
    found = together(
        gateway,
        list="stock list",
        verify="verify",
        show=f"reservation show {kept}",
        release=f"reservation release {freed}",
        make=f"stock set {new} --on-hand 7 --safety-stock 1 --hold-ttl-s 60",
    )
    assert row(found["list"], sku)[1] == "10"
    assert row(found["verify"], sku)[-1] == "ok"
    assert "OK: nothing oversold" in found["verify"].stdout
    for word in (kept, "held", "ada", f"3 x {sku}"):
        assert word in found["show"].stdout
    assert "released" in found["release"].stdout
    assert row(found["make"], new)[1:3] == ["7", "6"]
    assert api.state(freed) == "released"
    assert api.terms(new)["hold_ttl_s"] == 60

    second = together(
        gateway,
        adjust=f"stock adjust {sku} 5 --reason found",
        keep=f"stock set {new} --on-hand 9 --sale-ends-at 2090-01-01T08:00:00+08:00",
        held=f"stock set {fresh('other')} --on-hand 1",
    )
    assert row(second["adjust"], sku)[1:3] == ["15", "10"]
    assert row(second["keep"], new)[1:] == ["9", "8", "0", "0", "1", "0", "none", "60", "s"]
    assert (api.terms(sku)["on_hand"], api.terms(new)["on_hand"]) == (15, 9)
    assert api.terms(new)["sale_ends_at"] == "2090-01-01T00:00:00.000Z"
    third = together(
        gateway,
        fewer=f"stock adjust {sku} -2 --reason lost",
        open=f"stock set {new} --on-hand 9 --sale-ends-at none",
    )
    assert row(third["fewer"], sku)[1:3] == ["13", "8"]
    assert row(third["open"], new)[1] == "9"
    assert "sale_ends_at" not in api.terms(new)
    assert api.get(f"/v1/stock/{new}").json()["available"] == 8


def test_a_catalogue_is_imported(gateway: Gateway, api: Api) -> None:
    old, new = api.new_sku(5), fresh("new")
    file = gateway.folder / "more.csv"
    file.write_text(f"sku,on_hand,buyer_limit\n{old},50,\n{new},60,2\n", encoding="utf-8")
    first = gateway.cli("stock", "import", str(file))
    assert "1 SKU imported, 1 left as it is." in first.stdout
    assert (api.terms(old)["on_hand"], api.terms(new)["on_hand"]) == (5, 60)
    replaced = gateway.cli("stock", "import", "--replace", str(file))
    assert "2 SKUs imported" in replaced.stdout
    assert api.terms(old)["on_hand"] == 50
    refused(api.reserve([line(new, 3)]), 409, "buyer-limit")


def test_mistakes_are_told_beside_a_running_gateway(gateway: Gateway, api: Api) -> None:
    sku = api.new_sku(10)
    api.held([line(sku, 6)])
    before = api.terms(sku)
    bad = gateway.folder / "bad.toml"
    bad.write_text('[[sku]]\nsku = "a b"\non_hand = -1\n', encoding="utf-8")
    found = together(
        gateway,
        unknown_sku="stock adjust nowhere 5 --reason found",
        bad_sku="stock set {a} --on-hand 5",
        below=f"stock set {sku} --on-hand 5",
        safety=f"stock set {sku} --on-hand 10 --safety-stock 11",
        zero=f"stock adjust {sku} 0 --reason none",
        too_many=f"stock adjust {sku} -5 --reason lost",
        no_number=f"stock adjust {sku} -five --reason lost",
        no_time=f"stock set {sku} --on-hand 10 --sale-starts-at 2026-11-11",
        no_sale=f"stock set {sku} --on-hand 10 "
        "--sale-starts-at 2026-11-11T10:00:00Z --sale-ends-at 2026-11-11T12:00:00+08:00",
        huge=f"stock adjust {sku} {10**30} --reason found",
        negative=f"stock set {sku} --on-hand -5",
        no_reason=f"stock adjust {sku} 5",
        long_reason=f"stock adjust {sku} 5 --reason {'r' * 201}",
        unknown_id="reservation show 01KZ3V9Q2M00X4T7B2N8R6W1CD",
        no_id="reservation release not-an-id",
        no_file="stock import gone.toml",
        bad_file=f"stock import {bad}",
    )
    failed(found["unknown_sku"], 1, "unknown-sku")
    failed(found["bad_sku"], 2, "cannot be a SKU")
    failed(found["below"], 1, "adjustment-refused", "4 units are available")
    failed(found["safety"], 2, "more than the 10 units on hand")
    failed(found["zero"], 2, "changes nothing")
    failed(found["too_many"], 1, "adjustment-refused")
    failed(found["no_number"], 2, "DELTA", "'-five' is no number of units")
    failed(found["no_time"], 2, "--sale-starts-at", "2026-11-11T10:00:00Z")
    failed(found["no_sale"], 2, "must end after it starts")
    failed(found["huge"], 2, "DELTA", "1000000000000")
    failed(found["negative"], 2, "--on-hand")
    failed(found["no_reason"], 2, "--reason")
    failed(found["long_reason"], 2, "1 to 200 characters")
    failed(found["unknown_id"], 1, "unknown-reservation")
    failed(found["no_id"], 1, "unknown-reservation")
    failed(found["no_file"], 2, "gone.toml")
    failed(found["bad_file"], 2, "bad.toml:2", "bad.toml:3")
    assert api.terms(sku) == before


def test_what_cannot_be_kept_on_record_is_refused(gateway: Gateway, api: Api) -> None:
    """Half a letter comes from a terminal with another encoding than it says."""
    sku, half = api.new_sku(10), "\udcff"
    found = together(
        gateway,
        sku=f"stock set {sku}{half} --on-hand 5",
        adjusted=f"stock adjust {sku}{half} 5 --reason found",
        reason=f"stock adjust {sku} 5 --reason {half}",
        note=f"dead-letters dismiss 1 --yes --note {half}",
        long_note=f"dead-letters dismiss 1 --yes --note {'n' * 201}",
        number=f"dead-letters retry {10**20}",
    )
    failed(found["sku"], 2, "cannot be a SKU")
    failed(found["adjusted"], 2, "cannot be a SKU")
    failed(found["reason"], 2, "the reason must be 1 to 200 characters")
    failed(found["note"], 2, "the note must be 1 to 200 characters")
    failed(found["long_note"], 2, "the note must be 1 to 200 characters")
    failed(found["number"], 2, "LETTER_ID")
    assert api.terms(sku)["on_hand"] == 10


def test_the_operator_of_any_name_is_on_record(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "ren\udce9e")
    assert operator() == "cli:ren?e"


def test_the_stores_are_looked_at_while_they_change(gateway: Gateway, api: Api) -> None:
    """SKUs appear, and a crowd buys: neither is a contradiction between the stores."""
    stop = threading.Event()

    def create() -> None:
        client = Api(gateway.url)
        while not stop.is_set():
            client.new_sku(3)
        client.close()

    crowd = Crowd(gateway.url, api.new_sku(20_000))
    with ThreadPoolExecutor(4) as pool, crowd.buying():
        creating = [pool.submit(create) for _ in range(4)]
        try:
            for _ in range(5):
                listed = gateway.cli("stock", "list")
                assert listed.returncode == 0, listed.stderr
        finally:
            stop.set()
        for one in creating:
            one.result()
        verified = gateway.cli("verify")
        assert verified.returncode == 0, verified.stderr


def test_without_a_gateway_it_opens_the_stores_itself(gateway: Gateway, api: Api) -> None:
    sku = api.new_sku(10)
    made = api.held([line(sku, 2)], ttl_s=3600)
    gateway.terminate()
    assert row(gateway.cli("stock", "list"), sku)[1:4] == ["10", "8", "2"]
    released = gateway.cli("reservation", "release", made)
    assert released.returncode == 0, released.stderr
    assert "released" in released.stdout
    verified = gateway.cli("verify")
    assert row(verified, sku)[1:4] == ["10", "10", "0"]
    assert nothing_runs_in(gateway.folder)


def test_a_store_in_memory_has_nothing_to_show(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, store="memory://")
    found = together(gateway, list="stock list", verify="verify")
    for result in found.values():
        failed(result, 2, "memory://", "HTTP API")


def test_where_nothing_is_kept_nothing_is_begun(tmp_path: Path) -> None:
    """A look in the wrong folder is told so: an empty store would look like a sound one."""
    gateway = Gateway(tmp_path)
    found = together(
        gateway,
        verify="verify",
        list="stock list",
        adjust="stock adjust phone 5 --reason found",
        show="reservation show 01KZ3V9Q2M00X4T7B2N8R6W1CD",
        release="reservation release 01KZ3V9Q2M00X4T7B2N8R6W1CD",
    )
    for result in found.values():
        failed(result, 2, f"nothing is kept in {gateway.data}", "--config", "stockgate serve")
        assert result.stdout == ""
    assert not gateway.data.exists()
    assert gateway.cli("stock", "set", "phone", "--on-hand", "5").returncode == 0
    assert row(gateway.cli("stock", "list"), "phone")[1] == "5"


def test_help_and_version(tmp_path: Path) -> None:
    assert stockgate("--version", cwd=tmp_path).stdout.startswith("stockgate, version")
    command = [sys.executable, "-m", "gateway", "--help"]
    told = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    for name in ("serve", "stock", "reservation", "lease", "verify", "config", "demo"):
        assert name in told.stdout
    failed(stockgate("sell", cwd=tmp_path), 2, "sell")


def with_redis(gateway: Gateway, change: Callable[["Redis"], object]) -> None:
    socket = str(gateway.data / "valkey" / "valkey.sock")
    with Redis(unix_socket_path=socket) as client:
        change(client)


def in_ledger(gateway: Gateway, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(gateway.data / "ledger.sqlite3")) as ledger, ledger:
        ledger.execute(statement, values)


def test_verify_finds_what_was_tampered_with(gateway: Gateway, api: Api) -> None:
    """A counter in Redis and one in the ledger are changed behind the gateway's back."""
    sound, counter, booked = api.new_sku(10), api.new_sku(10), api.new_sku(10)
    api.held(counter)
    key = f"{SKU_KEY}{counter}"
    ledger = "UPDATE stock SET on_hand = on_hand + ?1, received = received + ?1 WHERE sku = ?2"
    with_redis(gateway, lambda redis: redis.hincrby(key, "available", 1))
    in_ledger(gateway, ledger, 1, booked)
    try:
        found = gateway.cli("verify")
        breach = api.reserve(counter)
        refused(breach, 503, "stock-inconsistent", sku=counter, retryable=False)
        assert "retry-after" not in breach.headers
        assert api.reserve(sound).status_code == 201
        assert "stockgate_invariant_breaches_total 0.0" not in api.get("/metrics").text
    finally:
        with_redis(gateway, lambda redis: redis.hincrby(key, "available", -1))
        in_ledger(gateway, ledger, -1, booked)
    failed(found, 1, f"{counter}: on_hand is not", f"{booked}: ", "BREACH: 2 SKUs")
    rows = [text.split() for text in found.stdout.splitlines() if text.strip()]
    verdicts = {cells[0]: cells[-1] for cells in rows}
    assert (verdicts[counter], verdicts[booked], verdicts[sound]) == ("BREACH", "BREACH", "ok")
    api.held(counter)
    assert gateway.cli("verify").returncode == 0


def test_verify_recounts_the_rows(gateway: Gateway, api: Api) -> None:
    """Counters that add up among themselves are still held against the reservations."""
    sku = api.new_sku(10)
    api.held(sku)
    key = f"{SKU_KEY}{sku}"

    def move(units: int) -> None:
        with_redis(gateway, lambda redis: redis.hincrby(key, "available", -units))
        with_redis(gateway, lambda redis: redis.hincrby(key, "held", units))

    move(1)
    found = gateway.cli("verify")
    move(-1)
    failed(found, 1, f"{sku}: held is 2, its reservations hold 1")
