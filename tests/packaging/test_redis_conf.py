"""deploy/redis.conf starts a server, and that server keeps the promises the file is written for."""

from pathlib import Path

import pytest

from tests.conftest import make_server
from tests.support.servers import Kind

CONF = Path(__file__).resolve().parents[2] / "deploy" / "redis.conf"
PROMISED = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "maxmemory-policy": "noeviction",
    "save": "",
}


@pytest.mark.parametrize("kind", ["redis", "valkey"])
def test_shipped_settings_are_in_force(kind: Kind) -> None:
    with make_server(kind, conf=CONF) as server:
        for name, value in PROMISED.items():
            assert server.call("CONFIG", "GET", name) == {name: value}
