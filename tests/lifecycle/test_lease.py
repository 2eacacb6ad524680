"""`stockgate lease`, beside a running gateway."""

import sqlite3
from contextlib import closing

from redis import Redis

from gateway.core.leases import pack
from tests.http.gateways import Gateway
from tests.lifecycle.test_cli import failed, row, with_redis

TERMS = "{sg:leases}:terms"
FAR_MS = 9_999_999_999_999
TOKEN = pack(0, 7)


def occupy(redis: Redis) -> None:
    redis.hset(TERMS, "audit", f"{FAR_MS}|{TOKEN}|host-1-abc")


def test_a_lease_is_listed_shown_and_broken(gateway: Gateway) -> None:
    assert "No lease is held." in gateway.cli("lease", "list").stdout
    with_redis(gateway, occupy)
    assert row(gateway.cli("lease", "list"), "audit")[1:3] == ["host-1-abc", "0.7"]
    assert "host-1-abc" in gateway.cli("lease", "show", "audit").stdout

    failed(gateway.cli("lease", "break", "audit"), 2, "stops whoever works", "--yes")
    assert "host-1-abc" in gateway.cli("lease", "show", "audit").stdout

    broken = gateway.cli("lease", "break", "audit", "--yes")
    assert "of host-1-abc (token 0.7) is broken" in broken.stdout
    shown = gateway.cli("lease", "show", "audit").stdout
    assert "free" in shown
    assert f"0.8 ({TOKEN + 1})" in shown
    with_redis(gateway, fenced_off)
    with closing(sqlite3.connect(gateway.data / "ledger.sqlite3")) as ledger:
        assert ledger.execute("SELECT name, token FROM fences").fetchall() == [("audit", TOKEN + 1)]
    again = gateway.cli("lease", "break", "audit", "--yes")
    assert "is not held; nothing was broken" in again.stdout
    failed(gateway.cli("lease", "show", "lock"), 2, "'lock' is no lease", "audit")


def fenced_off(redis: Redis) -> None:
    seen = redis.hget("{sg:0}:fences", "audit")
    assert int(str(seen, "ascii") if isinstance(seen, bytes) else str(seen)) == TOKEN + 1
