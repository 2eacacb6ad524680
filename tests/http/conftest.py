"""Gateways that serve for the whole run, one a kind of store, and clients of theirs."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import make_server
from tests.http.api import Api
from tests.http.gateways import Gateway
from tests.support.servers import RedisServer

STORES = ("memory", "redis", "embedded")


@pytest.fixture(scope="session")
def http_redis() -> Iterator[RedisServer]:
    """The Redis behind `redis_gateway`; nobody else uses it."""
    with make_server("redis", extra={"enable-debug-command": "yes"}) as server:
        yield server


def _serving(folder: Path, store: str) -> Iterator[Gateway]:
    with Gateway(folder, store=store) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def memory_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    yield from _serving(tmp_path_factory.mktemp("memory"), "memory://")


@pytest.fixture(scope="session")
def redis_gateway(
    tmp_path_factory: pytest.TempPathFactory, http_redis: RedisServer
) -> Iterator[Gateway]:
    yield from _serving(tmp_path_factory.mktemp("redis"), http_redis.url)


@pytest.fixture(scope="session")
def embedded_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    yield from _serving(tmp_path_factory.mktemp("embedded"), "embedded://")


def _client(gateway: Gateway) -> Iterator[Api]:
    api = Api(gateway.url)
    yield api
    api.close()


@pytest.fixture(scope="session")
def memory_api(memory_gateway: Gateway) -> Iterator[Api]:
    """The fastest gateway, for what does not depend on the store."""
    yield from _client(memory_gateway)


@pytest.fixture(scope="session")
def redis_api(redis_gateway: Gateway) -> Iterator[Api]:
    yield from _client(redis_gateway)


@pytest.fixture(scope="session")
def embedded_api(embedded_gateway: Gateway) -> Iterator[Api]:
    yield from _client(embedded_gateway)


@pytest.fixture(scope="session", params=STORES)
def api(request: pytest.FixtureRequest) -> Api:
    """A gateway on each kind of store in turn."""
    found: Api = request.getfixturevalue(f"{request.param}_api")
    return found


@pytest.fixture
def start_gateway(tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    """Starts gateways of the test's own: what Gateway takes but for the folder."""
    gateways: list[Gateway] = []

    def start(more: str = "", /, **settings: Any) -> Gateway:
        gateway = Gateway(tmp_path / f"gateway-{len(gateways)}", more, **settings)
        gateways.append(gateway)
        return gateway.start()

    yield start
    for gateway in gateways:
        gateway.stop()
