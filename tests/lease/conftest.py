import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.lease.bench import Bench
from tests.support.servers import RedisServer

ROOT = Path(__file__).parents[2]


class Holder:
    """A child of tests.lease.holding_child; `say` lets it go on, `hear` waits for a line."""

    def __init__(self, mode: str, redis_url: str, ledger_url: str) -> None:
        command = [sys.executable, "-m", "tests.lease.holding_child", mode, redis_url, ledger_url]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def say(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> int:
        code = self.process.wait(45)
        self.close()
        return code

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture(params=["redis", "valkey"])
def server_url(request: pytest.FixtureRequest) -> str:
    server: RedisServer = request.getfixturevalue(f"{request.param}_server")
    server.call("FLUSHALL")
    return server.url


@pytest.fixture
def start_holder(ledger_url: str) -> Iterator[Callable[[str, str], Holder]]:
    """Starts processes with leases of their own: `start_holder(mode, redis_url)`."""
    holders: list[Holder] = []

    def start(mode: str, redis_url: str) -> Holder:
        holders.append(Holder(mode, redis_url, ledger_url))
        return holders[-1]

    yield start
    for holder in holders:
        holder.close()
