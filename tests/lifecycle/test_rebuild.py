"""A running gateway whose Redis lost everything, and the command that rebuilds it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.http.api import Api, line
from tests.http.gateways import Gateway, until
from tests.support.servers import RedisServer

EXIT_SETUP = 2


@pytest.fixture
def server(start_server: Callable[..., RedisServer]) -> RedisServer:
    return start_server()


@pytest.fixture
def gateway(server: RedisServer, tmp_path: Path) -> Iterator[Gateway]:
    with Gateway(tmp_path / "shop", store=server.url) as started:
        yield started


@pytest.fixture
def api(gateway: Gateway) -> Iterator[Api]:
    api = Api(gateway.url)
    yield api
    api.close()


def is_ready(api: Api) -> bool:
    return bool(api.get("/readyz").status_code == 200)


def test_selling_stops_and_goes_on(gateway: Gateway, server: RedisServer, api: Api) -> None:
    sku = api.new_sku(5)
    held = api.reserve(sku).json()
    server.call("FLUSHALL")
    refused = api.reserve(sku)
    assert (refused.status_code, refused.json()["code"]) == (503, "store-unavailable")
    assert int(refused.headers["retry-after"]) >= 1
    until(lambda: not is_ready(api))
    told = api.get("/readyz").json()["not_ready"]["store"]
    command = f"stockgate rebuild --config {gateway.config}"
    assert "lost" in told
    assert command in told
    until(lambda: command in gateway.output())
    other = gateway.cli("stock", "list")
    assert other.returncode == EXIT_SETUP
    assert "stockgate rebuild" in other.stderr

    dry = gateway.cli("rebuild", "--dry-run")
    assert (dry.returncode, is_ready(api)) == (0, False), dry.stderr
    assert "would be rebuilt" in dry.stdout
    done = gateway.cli("rebuild")
    assert done.returncode == 0, done.stderr
    assert "1 SKU rebuilt" in done.stdout
    until(lambda: is_ready(api))
    assert api.terms(sku)["available"] == 5
    body = {"payment_ref": "pay-1", "receipt": held["receipt"]}
    paid = api.step(held["id"], "confirm", body)
    assert (paid.status_code, paid.json()["state"]) == (200, "settled"), "its receipt is honoured"
    assert api.reserve([line(sku, 4)]).status_code == 201
    again = gateway.cli("rebuild")
    assert (again.returncode, "nothing to rebuild" in again.stdout) == (0, True), again.stdout
    assert gateway.cli("verify").returncode == 0


def test_a_gateway_that_starts_on_an_empty_redis_sells_nothing(
    gateway: Gateway, server: RedisServer, api: Api
) -> None:
    sku = api.new_sku(5)
    gateway.stop()
    server.call("FLUSHALL")
    gateway.start()
    late = Api(gateway.url)
    assert not is_ready(late)
    assert late.reserve(sku).status_code == 503
    assert gateway.cli("rebuild", "--sku", sku).returncode == 0
    until(lambda: is_ready(late))
    assert late.reserve(sku).status_code == 201
    late.close()


def test_it_rebuilds_by_itself_where_that_is_allowed(server: RedisServer, tmp_path: Path) -> None:
    with Gateway(tmp_path / "auto", store=server.url, auto_rebuild=True) as gateway:
        api = Api(gateway.url)
        sku = api.new_sku(5)
        server.call("FLUSHALL")
        until(lambda: api.reserve(sku).status_code == 201)
        assert api.terms(sku)["available"] == 4
        api.close()
    assert "rebuilding, attempt 1" in gateway.output()


def test_a_sku_that_is_not_there(gateway: Gateway) -> None:
    asked = gateway.cli("rebuild", "--sku", "ghost")
    assert asked.returncode == EXIT_SETUP
    assert "no SKU ghost" in asked.stderr
