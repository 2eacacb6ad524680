"""Sales to test with: fast ones in memory, and real ones on Valkey and a SQLite file."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.config import BatchConfig, RedisConfig
from tests.sale.steps import Sale, config_for, open_sale
from tests.support.servers import RedisServer

PATIENT = {
    "batch": BatchConfig(deadline_ms=30_000),
    "redis": RedisConfig(call_timeout_ms=30_000),
}
"""A machine that stands still for a moment fails no test."""


@pytest.fixture
async def sale(tmp_path: Path) -> AsyncIterator[Sale]:
    """memory:// and SQLite in memory."""
    async with open_sale(config_for("memory://", tmp_path, **PATIENT)) as opened:
        yield opened


@pytest.fixture
def valkey_url(valkey_server: RedisServer) -> str:
    """An empty Valkey, shared with other tests: not to be killed."""
    valkey_server.call("FLUSHALL")
    return valkey_server.url


@pytest.fixture
async def real_sale(valkey_url: str, tmp_path: Path) -> AsyncIterator[Sale]:
    """Valkey and a SQLite file."""
    async with open_sale(config_for(valkey_url, tmp_path, **PATIENT)) as opened:
        yield opened


@pytest.fixture(params=["memory", "valkey"])
async def any_sale(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Sale]:
    """Both, in turn."""
    memory = request.param == "memory"
    url = "memory://" if memory else request.getfixturevalue("valkey_url")
    async with open_sale(config_for(url, tmp_path, **PATIENT)) as opened:
        yield opened
