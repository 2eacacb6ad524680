"""Two processes that share a Redis and a record of tokens, in virtual time."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.core import metrics
from gateway.core.errors import LeaseLost
from gateway.lease import Lease, MemoryTokens
from tests.lease.wire import Process, Redis, spin


class Bench:
    """Redis, a record of tokens, and two processes that share them."""

    def __init__(self) -> None:
        self.redis = Redis()
        self.tokens = MemoryTokens()
        self.one = Process(self.redis, self.tokens, name="one")
        self.two = Process(self.redis, self.tokens, name="two")

    async def pass_(self, seconds: float, step: float = 0.25) -> None:
        """Time goes on everywhere, and everybody does what is due."""
        for _ in range(round(seconds / step)):
            self.redis.advance(step)
            self.one.advance(step)
            self.two.advance(step)
            await spin()


@asynccontextmanager
async def losing(process: Process, why: str) -> AsyncIterator[Lease]:
    """A lease that is lost while the block goes on to its end, and not before it was taken."""
    ended = False
    with pytest.raises(LeaseLost, match=re.escape(why)):  # noqa: PT012 - `ended` says where
        async with process.leases.hold("audit", expected_s=1) as lease:
            yield lease
            ended = True
    assert ended


def sample(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0
