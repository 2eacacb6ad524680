"""SKUs on sale on a private server, and reservations that nobody made before."""

import itertools
import random
from collections.abc import Sequence
from typing import cast

from gateway.core.codes import Reply
from gateway.core.model import Line, SkuSettings
from gateway.sale.reservations import hold_request
from gateway.store.client import ScriptChannel
from gateway.store.commands import HoldAnswer, HoldRequest, StockCommands, StockMove
from loadtests.bench.link import Link, result

UNITS = 10**11
BUYER_LIMIT = 2
HOLD_TTL_MS = 900_000
HOT = "phone-x-256"
GONE = "phone-x-512"
CATALOGUE = tuple(f"sku-{n:03d}" for n in range(200))


class Shop:
    """The gateway's own commands on one link.

    clock_ms: the time imposed on Redis; 0 leaves its own.
    """

    def __init__(self, link: Link, seed: int) -> None:
        self.link = link
        self.clock_ms = 0
        self.commands = StockCommands(cast(ScriptChannel, link), 0, clock_ms=lambda: self.clock_ms)
        self._numbers = itertools.count(seed * 10**9)
        self._chance = random.Random(seed)
        self._zipf = list(itertools.accumulate(1 / rank for rank in range(1, len(CATALOGUE) + 1)))

    def open(self, skus: Sequence[str] = (HOT, *CATALOGUE)) -> None:
        """Empty the server, then put SKUs on sale, each with a buyer limit; GONE has no units."""
        self.link.call("FLUSHALL", "SYNC")  # freeing in the background would be noise
        for sku in skus:
            self.put(sku, UNITS)
        self.put(GONE, 0)

    def put(self, sku: str, units: int) -> None:
        """One SKU with that many units."""
        move = StockMove(sku, 1, units, 0, SkuSettings(buyer_limit=BUYER_LIMIT))
        code, _ = result(self.commands.move_stock(move))
        if code is not Reply.DONE:
            raise RuntimeError(f"{sku} could not be put on sale: {code.name}")

    def one_line(self, sku: str = HOT, ttl_s: int = 0) -> HoldRequest:
        """One unit of one SKU, for a new buyer under a new key."""
        return self._request((Line(sku, 1),), ttl_s)

    def from_catalogue(self) -> HoldRequest:
        """One unit of a SKU drawn by Zipf's law: the n-th sells 1/n as often as the first."""
        (sku,) = self._chance.choices(CATALOGUE, cum_weights=self._zipf)
        return self._request((Line(sku, 1),), 0)

    def cart(self, lines: int = 3) -> HoldRequest:
        """One unit each of several SKUs."""
        skus: set[str] = set()
        while len(skus) < lines:
            skus.update(self._chance.choices(CATALOGUE, cum_weights=self._zipf))
        return self._request(tuple([Line(sku, 1) for sku in sorted(skus)]), 0)

    def hold(self, batch: Sequence[HoldRequest], expected: Reply = Reply.HELD) -> list[HoldAnswer]:
        """Sends a batch; every answer must be the expected one."""
        answers = result(self.commands.hold(batch, HOLD_TTL_MS))
        for answer in answers:
            if answer.code != expected:
                raise RuntimeError(f"a hold was answered {Reply(answer.code).name}")
        return answers

    def _request(self, lines: tuple[Line, ...], ttl_s: int) -> HoldRequest:
        n = next(self._numbers)
        return hold_request("", f"cart-{n:012d}", f"buyer-{n:012d}", lines, ttl_s, "")
