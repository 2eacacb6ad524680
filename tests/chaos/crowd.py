"""Buyers who go on until the sale is over, whatever happens to the gateway."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.chaos.book import Purchase, Told
from tests.chaos.shop import Shop

BUYERS = 20
PLENTY, SCARCE = "plenty", "scarce"
CARTS = ({PLENTY: 1}, {PLENTY: 2}, {SCARCE: 1}, {SCARCE: 2}, {PLENTY: 1, SCARCE: 1})
LOOK_MAX_S = 0.03
LONG_S, SHORT_S = 600, 1
"""How long holds last: of those who come back in time, and of those who do not."""

DELIVERED, DELIVERY_S = 2, 0.2
"""Units a delivery of what is scarce, and the pause between two: less than is asked for."""


class Crowd:
    """Each buyer goes through one purchase after another, of a kind drawn from `seed`.

    One SKU has units for all; the other is sold out most of the time, and a delivery of some units
    comes again and again.
    """

    def __init__(self, shop: Shop, seed: int) -> None:
        self._shop = shop
        self._dice = random.Random(seed)
        self._over = asyncio.Event()
        self._kinds = {
            self._pays: 4,
            self._double_clicks: 3,
            self._abandons: 2,
            self._pays_late: 2,
            self._changes_mind: 2,
        }

    @asynccontextmanager
    async def buying(self) -> AsyncIterator[None]:
        """They buy while the block runs; its end waits until each knows where they stand."""
        async with asyncio.TaskGroup() as group:
            for _ in range(BUYERS):
                group.create_task(self._buy())
            group.create_task(self._deliver())
            yield
            self._over.set()

    async def _buy(self) -> None:
        while not self._over.is_set():
            (kind,) = self._dice.choices(list(self._kinds), list(self._kinds.values()))
            await kind(dict(self._dice.choice(CARTS)))
            await self._look()

    async def _deliver(self) -> None:
        while not self._over.is_set():
            await self._shop.restock(SCARCE, DELIVERED)
            await asyncio.sleep(DELIVERY_S)

    async def _look(self) -> None:
        await asyncio.sleep(self._dice.uniform(0, LOOK_MAX_S))

    async def _hold(self, cart: dict[str, int], ttl_s: int, clicks: int = 1) -> Purchase | None:
        """The purchase, if it has its units."""
        purchase = self._shop.new_purchase(cart, ttl_s)
        await asyncio.gather(*(self._shop.reserve(purchase) for _ in range(clicks)))
        await self._look()
        return purchase if Told.HELD in purchase.told else None

    async def _pays(self, cart: dict[str, int]) -> None:
        purchase = await self._hold(cart, LONG_S)
        if purchase is not None:
            await self._shop.pay(purchase)
            await self._look()
            await self._shop.confirm(purchase)

    async def _double_clicks(self, cart: dict[str, int]) -> None:
        purchase = await self._hold(cart, LONG_S, clicks=2)
        if purchase is not None:
            await asyncio.gather(*(self._shop.confirm(purchase) for _ in range(2)))

    async def _abandons(self, cart: dict[str, int]) -> None:
        await self._hold(cart, SHORT_S)

    async def _pays_late(self, cart: dict[str, int]) -> None:
        purchase = await self._hold(cart, SHORT_S)
        if purchase is not None:
            async with asyncio.timeout(20):
                while await self._shop.state(purchase) == "held":
                    await asyncio.sleep(0.1)
            await self._shop.confirm(purchase, with_receipt=True)

    async def _changes_mind(self, cart: dict[str, int]) -> None:
        purchase = await self._hold(cart, LONG_S)
        if purchase is not None:
            await self._shop.release(purchase)
