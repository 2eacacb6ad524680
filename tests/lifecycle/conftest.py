"""One durable gateway for the tests of a process's life, and clients of it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http.api import Api
from tests.http.gateways import Gateway
from tests.http.warm import ROOT
from tests.support.processes import processes_in


@pytest.fixture(scope="session")
def kept_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with everything of its own, as `make run` starts it. Tests stop and kill it."""
    folder = tmp_path_factory.mktemp("life")
    shutil.copy(ROOT / "demo" / "catalogue.toml", folder)
    # What a test damages must stay damaged until it has looked.
    settings = {"demo.catalogue": "catalogue.toml", "audit.repair": False}
    gateway = Gateway(folder, **settings)
    gateway.start()
    yield gateway
    gateway.stop()


@pytest.fixture
def gateway(kept_gateway: Gateway) -> Gateway:
    """The same gateway, running: started again if the test before has ended it."""
    if kept_gateway.child.exit_code is not None:
        kept_gateway.start()
    return kept_gateway


@pytest.fixture
def api(gateway: Gateway) -> Iterator[Api]:
    client = Api(gateway.url)
    yield client
    client.close()


def nothing_runs_in(folder: Path) -> bool:
    """Whether no process works in the folder any more."""
    return processes_in(folder) == []
