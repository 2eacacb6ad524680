"""One look at all that a rebuild needs: the ledger's SKUs, Redis's, and every record between.

What is read at different moments is only believed of SKUs that did not change meanwhile.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from gateway.core.model import State
from gateway.ledger import Ledger, Move, StockRow
from gateway.sale.rebuild_plan import (
    HOLDING,
    Sums,
    add_record,
    buyers_are_short,
    is_sound,
    openings,
)
from gateway.store import keys
from gateway.store.listing import Listing
from gateway.store.relics import KeptSku, Relic, Relics

DECIDED = (State.SETTLED, State.REJECTED)
NAMES_PAGE = 1000


class Site(NamedTuple):
    """One shard, to be looked at."""

    shard: int
    relics: Relics
    listing: Listing


class Found(NamedTuple):
    """A record that needs something done."""

    shard: int
    relic: Relic


class Look(msgspec.Struct):
    """What one look found.

    overtaken: records that the ledger has sold and Redis does not call confirmed or settled;
    due: holds past their deadline; unreminded: holds of which no list reminds; unsent: confirmed
    ones that are not in the outbox. unreadable: fields whose record cannot be read.
    bought: units by SKU and buyer, of SKUs with a limit.
    """

    before: dict[str, KeptSku] = msgspec.field(default_factory=dict)
    kept: dict[str, KeptSku] = msgspec.field(default_factory=dict)
    owned_before: dict[str, tuple[StockRow, Move | None]] = msgspec.field(default_factory=dict)
    owned: dict[str, tuple[StockRow, Move | None]] = msgspec.field(default_factory=dict)
    sums: dict[str, Sums] = msgspec.field(default_factory=dict)
    overtaken: list[Found] = msgspec.field(default_factory=list)
    due: list[Found] = msgspec.field(default_factory=list)
    unreminded: list[Found] = msgspec.field(default_factory=list)
    unsent: list[Found] = msgspec.field(default_factory=list)
    unreadable: list[str] = msgspec.field(default_factory=list)
    short_of_buyers: set[str] = msgspec.field(default_factory=set)
    bought: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)
    records: int = 0

    def sums_of(self, sku: str) -> Sums:
        """What the records add up to."""
        return self.sums.get(sku) or Sums()

    def stood_still(self, sku: str) -> bool:
        """Whether nothing of the SKU changed while it was read."""
        before, after = self.before.get(sku), self.kept.get(sku)
        versions = (before and before.version, after and after.version)
        return versions[0] == versions[1] and self.owned_before.get(sku) == self.owned.get(sku)

    def is_sound(self, sku: str) -> bool:
        """Whether the SKU is what ledger and records say."""
        if sku not in self.owned or sku in self.short_of_buyers:
            return False
        return is_sound(self.kept.get(sku), list(openings(*self.owned[sku], self.sums_of(sku))))


class Surveyor:
    """Looks. Reads only."""

    def __init__(self, sites: Sequence[Site], ledger: Ledger) -> None:
        self._sites = sites
        self._ledger = ledger

    async def look(self, *, with_bought: bool) -> Look:
        """One look. Raises StoreUnavailable, LedgerUnavailable."""
        look = Look()
        look.owned_before = await self._ledger.owned()
        look.before = await self._kept(look.owned_before)
        for site in self._sites:
            await self._read_records(site, look)
        limited = [sku for sku, (row, _) in look.owned_before.items() if row.settings.buyer_limit]
        for sku in limited:
            kept = await self._site_of(sku).listing.buyers(sku)
            if buyers_are_short(look.sums_of(sku), kept):
                look.short_of_buyers.add(sku)
        if with_bought:
            look.bought = await self._ledger.bought(limited)
        look.kept = await self._kept(look.owned_before)
        look.owned = await self._ledger.owned()
        return look

    def _site_of(self, sku: str) -> Site:
        return self._sites[keys.shard_of(sku, len(self._sites))]

    async def _kept(self, owned: dict[str, tuple[StockRow, Move | None]]) -> dict[str, KeptSku]:
        found: dict[str, KeptSku] = {}
        for site in self._sites:
            names = {sku for sku in owned if self._site_of(sku) is site}
            after = ""
            while page := await site.listing.sku_names(after, NAMES_PAGE):
                names.update(page)
                after = page[-1]
            found.update(await site.relics.skus(sorted(names)))
        return found

    async def _read_records(self, site: Site, look: Look) -> None:
        live: dict[str, Relic] = {}
        seen: set[str] = set()
        async for page in site.relics.records():
            new = {relic.field: relic for relic in page if relic.field not in seen}
            seen.update(new)
            await self._add_page(site, list(new.values()), look, live)
        look.records += len(seen)
        now_ms = await site.listing.now_ms()
        outbox, reminded = await site.relics.outbox_fields(), await site.relics.reminded()
        for relic in live.values():
            _sort(look, Found(site.shard, relic), outbox, reminded, now_ms)
        look.unsent = await self._without_letters(look.unsent)

    async def _without_letters(self, unsent: list[Found]) -> list[Found]:
        """What is in a dead letter waits for an operator, not for the settler."""
        ids = [f.relic.reservation.id for f in unsent if f.relic.reservation]
        put_aside = await self._ledger.in_letters(ids) if ids else set()
        return [
            f for f in unsent if f.relic.reservation and f.relic.reservation.id not in put_aside
        ]

    async def _add_page(
        self, site: Site, page: list[Relic], look: Look, live: dict[str, Relic]
    ) -> None:
        known = [relic.reservation for relic in page if relic.reservation]
        asked = [r.id for r in known if r.state not in DECIDED]
        outcomes = await self._ledger.outcomes(asked) if asked else {}
        for relic in page:
            r = relic.reservation
            if r is None:
                look.unreadable.append(relic.field)
                continue
            sold = r.id in outcomes and outcomes[r.id].settled
            add_record(look.sums, r, deducted=sold)
            if sold and r.state is not State.CONFIRMED:
                look.overtaken.append(Found(site.shard, relic))
            elif r.state in (*HOLDING, State.CONFIRMED):
                live[relic.field] = relic


def _sort(look: Look, found: Found, outbox: set[str], reminded: set[str], now_ms: int) -> None:
    r = found.relic.reservation
    if r is None:
        return
    if r.state is State.CONFIRMED:
        if found.relic.field not in outbox:
            look.unsent.append(found)
    elif found.relic.field not in reminded:
        look.unreminded.append(found)
    if r.state in HOLDING and r.deadline_ms <= now_ms:
        look.due.append(found)
