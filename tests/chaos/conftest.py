"""Servers to be killed, and both kinds of ledger."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.deployment import LedgerBooks, LedgerFile, LedgerServer
from tests.conftest import make_postgres
from tests.support.postgres import PostgresServer

MakeLedger = Callable[[str], LedgerBooks]


@pytest.fixture(scope="session")
def durable_postgres() -> Iterator[PostgresServer]:
    """With fsync, as shipped. Tests stop it; it runs before and after each."""
    with make_postgres(durable=True) as server:
        yield server


@pytest.fixture
def make_ledger(request: pytest.FixtureRequest, tmp_path: Path) -> MakeLedger:
    """An empty ledger: `make_ledger("sqlite")` or `"postgresql"`."""

    def make(kind: str) -> LedgerBooks:
        if kind == "sqlite":
            return LedgerFile(tmp_path)
        return LedgerServer(request.getfixturevalue("durable_postgres"))

    return make
