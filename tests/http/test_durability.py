"""What a confirm's answer promises, under the faults that it is promised to survive."""

import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from tests.http.api import Api, refused
from tests.http.gateways import Gateway, until
from tests.support.replication import Pair, start_pair
from tests.support.servers import RedisServer

StartServer = Callable[..., RedisServer]
StartGateway = Callable[..., Gateway]

WAIT_MS = 1_500
BOUND_S = 10.0
"""Far above the two waits that a confirm has, on a busy machine."""


def api_of(gateway: Gateway) -> Api:
    return Api(gateway.url)


def kept(server: RedisServer, reservation: str) -> str:
    """The state that a server's record says: its letter."""
    return str(server.call("HGET", "{sg:0}:reservations", reservation[12:]))[0]


def replicated(start_gateway: StartGateway, pair: Pair, **settings: Any) -> Gateway:
    named = {"confirm__replicas_wait_ms": WAIT_MS, "confirm__durability": "replicated", **settings}
    return start_gateway(store=pair.primary.url, **named)


def test_a_confirm_that_replicas_do_not_have_is_not_answered_as_one(
    start_server: StartServer, start_gateway: StartGateway
) -> None:
    pair = start_pair(start_server)
    api = api_of(replicated(start_gateway, pair))
    sku = api.new_sku(5)
    assert api.confirm(api.held(sku)).status_code == 200
    waits = api.held(sku)
    pair.replica.pause()
    begun = time.monotonic()
    for _ in range(2):
        refused(api.confirm(waits), 503, "outcome-unknown", retryable=True)
    assert time.monotonic() - begun < BOUND_S
    pair.replica.resume()
    pair.wait_until_in_step()
    assert api.confirm(waits).status_code in (200, 202)
    api.until_state(waits, "settled")
    assert api.terms(sku)["sold"] == 2, "it was done once"
    api.close()


def test_an_answered_confirm_is_there_after_a_failover(
    start_server: StartServer, start_gateway: StartGateway
) -> None:
    pair = start_pair(start_server)
    api = api_of(replicated(start_gateway, pair))
    sku = api.new_sku(50)
    made = [api.held(sku) for _ in range(20)]
    for one in made:
        assert api.confirm(one, prefer="respond-async").status_code in (200, 202)
    promoted = pair.promote()
    assert {kept(promoted, one) for one in made} <= {"c", "s"}
    api.close()


def test_without_the_promise_the_same_fault_loses_it(
    start_server: StartServer, start_gateway: StartGateway
) -> None:
    """The negative control: the replica is cut off, and the confirm answered all the same."""
    pair = start_pair(start_server)
    api = api_of(replicated(start_gateway, pair, confirm__durability="accepted"))
    made = api.held(api.new_sku(5))
    pair.wait_until_in_step()
    pair.cut()
    assert api.confirm(made, prefer="respond-async").status_code == 202
    assert kept(pair.primary, made) in "cs"
    assert kept(pair.promote(), made) == "h"
    api.close()


def test_with_the_promise_the_same_fault_is_told(
    start_server: StartServer, start_gateway: StartGateway
) -> None:
    pair = start_pair(start_server)
    api = api_of(replicated(start_gateway, pair))
    made = api.held(api.new_sku(5))
    pair.wait_until_in_step()
    pair.cut()
    refused(api.confirm(made, prefer="respond-async"), 503, "outcome-unknown")
    assert kept(pair.promote(), made) == "h"
    api.close()


def test_confirms_that_come_together_wait_once(
    start_server: StartServer, start_gateway: StartGateway
) -> None:
    pair = start_pair(start_server)
    api = api_of(replicated(start_gateway, pair, confirm__replicas_wait_ms=2_000))
    sku = api.new_sku(50)
    made = [api.held(sku) for _ in range(24)]
    pair.replica.pause()
    before = waits(pair.primary)
    with ThreadPoolExecutor(24) as pool:
        answers = [pool.submit(api.confirm, one, prefer="respond-async") for one in made]
        until(lambda: waiting(pair.primary) >= 1)
        time.sleep(0.3)  # the others queue behind the one that waits
        pair.replica.resume()
        assert {it.result().status_code for it in answers} <= {200, 202}
    assert waits(pair.primary) - before <= 6
    api.close()


def waits(server: RedisServer) -> int:
    found = server.call("INFO", "commandstats").get("cmdstat_wait", {"calls": 0})
    return int(found["calls"])


def waiting(server: RedisServer) -> int:
    return int(server.call("INFO", "clients")["blocked_clients"])


def test_settled_means_committed_or_not_answered(start_gateway: StartGateway) -> None:
    gateway = start_gateway(store="embedded://", confirm__durability="settled", confirm__wait_s=0.3)
    api = api_of(gateway)
    sku = api.new_sku(5)
    assert api.confirm(api.held(sku), prefer="respond-async").json()["state"] == "settled"
    made = api.held(sku)
    with closing(sqlite3.connect(gateway.data / "ledger.sqlite3")) as ledger:
        ledger.isolation_level = None
        ledger.execute("BEGIN IMMEDIATE")
        for prefer in ("respond-async", "wait=0", "wait=1"):
            told = refused(api.confirm(made, prefer=prefer), 503, "outcome-unknown", retryable=True)
            assert told["retry_after_s"] >= 1
        assert api.state(made) == "confirmed", "it is confirmed all the same"
        ledger.execute("ROLLBACK")
    api.until_state(made, "settled")
    assert api.confirm(made).status_code == 200
    assert api.terms(sku)["sold"] == 2
    api.close()


def test_a_promise_that_cannot_be_kept_is_no_start(start_gateway: StartGateway) -> None:
    gateway = start_gateway(store="memory://")
    gateway.stop()
    with gateway.config.open("a", encoding="utf-8") as config:
        config.write('[confirm]\ndurability = "replicated"\n')
    job = gateway.try_to_serve()
    assert job.wait(20) == 2
    assert "has no replicas" in job.stderr
