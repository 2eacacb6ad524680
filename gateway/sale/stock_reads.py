"""Stock reads: from memory; a SKU nobody asked for lately is fetched first."""

from collections.abc import Sequence

from gateway.core.clock import Clock
from gateway.core.errors import StockgateError
from gateway.core.model import SkuTerms
from gateway.sale.batcher import Batcher, Limits
from gateway.sale.catalogue import Catalogue
from gateway.sale.snapshot import Shown, Snapshot

UNKNOWN_MEMORY_S = 1.0
"""For how long a SKU that does not exist is answered from memory."""

UNKNOWN_MAX = 10_000
"""How many such SKUs are remembered."""

FETCH = Limits(size_max=256, weight_max=256, queue_max=10_000, deadline_s=1.0)


class StockReads:
    """What shop windows ask. `start` before use, `stop` after."""

    def __init__(self, snapshot: Snapshot, catalogue: Catalogue, clock: Clock) -> None:
        self._snapshot = snapshot
        self._catalogue = catalogue
        self._clock = clock
        self._unknown: dict[str, float] = {}
        self._fetch: Batcher[str, SkuTerms | None] = Batcher("fetch", self._read, FETCH, clock)

    def start(self) -> None:
        """Begin fetching."""
        self._fetch.start()

    async def stop(self) -> None:
        """End fetching."""
        await self._fetch.stop()

    def known(self, sku: str) -> Shown | None:
        """What memory has of the SKU, if it is fresh."""
        shown = self._snapshot.get(sku)
        return None if shown is None or self._snapshot.is_stale(shown) else shown

    async def get(self, sku: str) -> Shown | None:
        """What is known of the SKU; None when it does not exist.

        Raises StoreUnavailable, OutcomeUnknown or Overloaded when it has to be fetched and
        cannot be.
        """
        shown = self._snapshot.get(sku)
        if shown is not None:
            return await self._refreshed(shown) if self._snapshot.is_stale(shown) else shown
        if self._is_unknown(sku):
            return None
        if await self._fetch.submit(sku) is None:
            self._remember_unknown(sku)
            return None
        return self._snapshot.get(sku)

    async def _refreshed(self, stale: Shown) -> Shown | None:
        """Fetched anew; what is known, with its age, when Redis cannot be asked."""
        try:
            if await self._fetch.submit(stale.sku) is None:
                self._snapshot.forget(stale.sku)
                return None
        except StockgateError:
            return stale
        return self._snapshot.get(stale.sku)

    async def _read(self, skus: Sequence[str]) -> list[SkuTerms | None]:
        found = {t.sku: t for t in await self._catalogue.get_many(list(dict.fromkeys(skus)))}
        return [found.get(sku) for sku in skus]

    def _is_unknown(self, sku: str) -> bool:
        since = self._unknown.get(sku)
        return since is not None and self._clock.monotonic() - since < UNKNOWN_MEMORY_S

    def _remember_unknown(self, sku: str) -> None:
        if len(self._unknown) >= UNKNOWN_MAX:
            self._unknown.clear()
        self._unknown[sku] = self._clock.monotonic()
