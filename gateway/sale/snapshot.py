"""Stock as the gateway's memory has it: what reads are answered from.

Refreshed by every reply of a command that touched the SKU, and by a bounded poll of the SKUs that
somebody asked for lately. Its age is stated in `as_of`.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from heapq import nsmallest
from itertools import takewhile
from typing import Literal

import msgspec

from gateway.core.clock import Clock
from gateway.core.model import SkuSettings, SkuTerms
from gateway.store.commands import Pulse

SaleStatus = Literal["upcoming", "on_sale", "sold_out", "ended"]

WINDOW_S = 1800.0
"""How far `expected_occupancy_30m` looks ahead."""

RATE_MEMORY_S = 60.0
"""Holds older than this count little in the rate of demand."""

PRIOR_SALES = 1.0
"""Weight of the assumption that every second hold is bought, before any has ended."""

STALE_S = 1.0
"""What is older is fetched before it is shown: nobody asked for it lately, so nobody polled."""

ASKED_MEMORY_S = 60.0
"""A SKU nobody read for this long is no longer polled."""


class Shown(msgspec.Struct):
    """One SKU in memory. Counts are units, `as_of_ms` is Redis's clock, `asked_at` monotonic."""

    sku: str
    available: int
    held: int
    unsettled: int
    sold: int
    version: int
    as_of_ms: int
    settings: SkuSettings
    asked_at: float
    seen_at: float = 0.0
    """When this gateway last heard of it, monotonic."""
    taken_per_s: float = 0.0
    """Units taken from sale a second, an exponential average."""
    ended_unsold: float = 0.0
    """Units that came back on sale since this gateway has watched."""
    ended_sold: float = 0.0
    """Units sold since this gateway has watched."""
    rendered: object = None
    """The answer that was made of all this; None again once something changed."""

    def status(self, now_ms: int) -> SaleStatus:
        """upcoming, on_sale, sold_out or ended."""
        settings = self.settings
        if now_ms < settings.sale_starts_ms:
            return "upcoming"
        if settings.sale_ends_ms and now_ms >= settings.sale_ends_ms:
            return "ended"
        return "on_sale" if self.available > 0 else "sold_out"

    def expected_occupancy(self, default_ttl_ms: int) -> int:
        """Units expected to be held or newly sold half an hour from now, of those held or on sale.

        With c the share of ended holds that were bought, r the units taken a second and t the
        hold's time to live (at most 30 min): of the units held now, c are bought; of those that
        will be taken, the ones of the last t are still held and c of the earlier ones bought:
        held*c + r*t + r*(1800 - t)*c, at most held + available.
        """
        bought = (self.ended_sold + PRIOR_SALES / 2) / (
            self.ended_sold + self.ended_unsold + PRIOR_SALES
        )
        ttl_s = min((self.settings.hold_ttl_ms or default_ttl_ms) / 1000, WINDOW_S)
        to_come = self.taken_per_s * (ttl_s + (WINDOW_S - ttl_s) * bought)
        return min(self.held + self.available, round(self.held * bought + to_come))


class Snapshot:
    """What is known of SKUs, at most `skus_max` of them; those not asked for longest go first."""

    def __init__(self, clock: Clock, *, skus_max: int = 100_000) -> None:
        self._clock = clock
        self._skus_max = skus_max
        self._shown: OrderedDict[str, Shown] = OrderedDict()  # by `asked_at`

    def get(self, sku: str) -> Shown | None:
        """What is known of the SKU; None when it has to be fetched first."""
        shown = self._shown.get(sku)
        if shown is not None:
            shown.asked_at = self._clock.monotonic()
            self._shown.move_to_end(sku)
        return shown

    def is_stale(self, shown: Shown) -> bool:
        """Whether neither a command nor the poll has told of it for STALE_S."""
        return self._clock.monotonic() - shown.seen_at > STALE_S

    def on_pulse(self, pulses: Sequence[Pulse], now_ms: int) -> None:
        """Take in the terms that came with a command's reply."""
        for pulse in pulses:
            shown = self._shown.get(pulse.sku)
            if shown is not None and _is_newer(pulse, now_ms, shown):
                self._refresh(shown, pulse, now_ms)

    def put(self, terms: Iterable[SkuTerms], now_ms: int) -> None:
        """Take in what a poll or a fetch read."""
        for t in terms:
            shown = self._shown.get(t.sku)
            if shown is None:
                self._add(t, now_ms)
            elif _is_newer(t, now_ms, shown):
                shown.settings = t.settings
                self._refresh(shown, t, now_ms)

    def forget(self, sku: str) -> None:
        """The SKU no longer exists in the store."""
        self._shown.pop(sku, None)

    def lately_asked(self, limit: int) -> list[str]:
        """Up to `limit` SKUs that somebody read lately, the stalest first."""
        since = self._clock.monotonic() - ASKED_MEMORY_S
        asked = takewhile(lambda shown: shown.asked_at >= since, reversed(self._shown.values()))
        return [shown.sku for shown in nsmallest(limit, asked, key=lambda shown: shown.as_of_ms)]

    def _add(self, terms: SkuTerms, now_ms: int) -> None:
        if len(self._shown) >= self._skus_max:
            self._shown.popitem(last=False)
        self._shown[terms.sku] = Shown(
            sku=terms.sku,
            available=terms.available,
            held=terms.held,
            unsettled=terms.unsettled,
            sold=terms.sold,
            version=terms.version,
            as_of_ms=now_ms,
            settings=terms.settings,
            asked_at=self._clock.monotonic(),
            seen_at=self._clock.monotonic(),
        )

    def _refresh(self, shown: Shown, now: Pulse | SkuTerms, now_ms: int) -> None:
        _refresh(shown, now, now_ms)
        shown.seen_at = self._clock.monotonic()


def _is_newer(now: Pulse | SkuTerms, now_ms: int, shown: Shown) -> bool:
    """Whether to believe it. A lower version is an older reply that came late, unless Redis said
    it later: then Redis itself has gone back, to a replica or to its last file.
    """
    return now.version >= shown.version or now_ms > shown.as_of_ms


def _refresh(shown: Shown, now: Pulse | SkuTerms, now_ms: int) -> None:
    elapsed_s = max(0.0, (now_ms - shown.as_of_ms) / 1000)
    _learn(shown, now, elapsed_s)
    shown.available, shown.held = now.available, now.held
    shown.unsettled, shown.sold = now.unsettled, now.sold
    shown.version = now.version
    shown.as_of_ms = max(shown.as_of_ms, now_ms)
    shown.rendered = None


def _learn(shown: Shown, now: Pulse | SkuTerms, elapsed_s: float) -> None:
    """Demand and conversion, from how the counters moved since they were last seen."""
    sold = max(0, now.sold - shown.sold)
    gone = (now.held + now.unsettled + now.sold) - (shown.held + shown.unsettled + shown.sold)
    shown.ended_sold += sold
    shown.ended_unsold += max(0, -gone)
    keep = RATE_MEMORY_S / (RATE_MEMORY_S + elapsed_s)
    shown.taken_per_s = shown.taken_per_s * keep + max(0, gone) / RATE_MEMORY_S * keep
