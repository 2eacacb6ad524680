from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.clock import SystemClock
from gateway.ledger import Ledger


@pytest.fixture
def ledger_file(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def file_url(ledger_file: Path) -> str:
    return f"sqlite:///{ledger_file}"


@pytest.fixture(params=["file", "memory"])
def ledger_url(request: pytest.FixtureRequest, file_url: str) -> str:
    return file_url if request.param == "file" else "sqlite+aiosqlite://"


@pytest.fixture
async def ledger(ledger_url: str) -> AsyncIterator[Ledger]:
    opened = await Ledger.open(ledger_url, SystemClock(), migrate=True)
    yield opened
    await opened.close()


@pytest.fixture
async def file_ledger(file_url: str) -> AsyncIterator[Ledger]:
    opened = await Ledger.open(file_url, SystemClock(), migrate=True)
    yield opened
    await opened.close()
