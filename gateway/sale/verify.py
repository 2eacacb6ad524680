"""Proves that everything adds up: counters against rows, Redis against the ledger.

Every reservation in Redis is read and summed; the ledger recomputes itself. While a sale goes on
the two are read at different moments, so a SKU that changed meanwhile is looked at again.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from gateway.core.clock import Clock
from gateway.core.model import HeldLine, Reservation, SkuTerms, State
from gateway.ledger import Ledger, LedgerCheck
from gateway.sale.catalogue import Catalogue, Place

SCAN_COUNT = 1000
ROUNDS_MAX = 5
ROUND_PAUSE_S = 0.5

_HELD = (State.HELD, State.PAYING)
_BOUGHT = (*_HELD, State.CONFIRMED, State.SETTLED)


class Rows(msgspec.Struct):
    """Units of one SKU summed over the reservations."""

    held: int = 0
    unsettled: int = 0
    settled: int = 0
    counted: dict[str, int] = msgspec.field(default_factory=dict)


class Finding(msgspec.Struct, frozen=True):
    """One SKU: its terms, what the rows add up to, what the ledger says, and what is wrong."""

    sku: str
    terms: SkuTerms | None
    rows: Rows
    ledger: LedgerCheck | None
    faults: tuple[str, ...]


class Report(msgspec.Struct, frozen=True):
    """What was checked, and what was found."""

    findings: tuple[Finding, ...]
    reservations: int
    rounds: int

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not any(finding.faults for finding in self.findings)


class Verifier:
    """Recounts all SKUs. Reads only."""

    def __init__(
        self, catalogue: Catalogue, places: Sequence[Place], ledger: Ledger, clock: Clock
    ) -> None:
        self._catalogue = catalogue
        self._places = places
        self._ledger = ledger
        self._clock = clock

    async def verify(self) -> Report:
        """Look until nothing is wrong, or a fault has been seen in every round."""
        sound: dict[str, Finding] = {}
        report = await self._round(sound)
        for number in range(2, ROUNDS_MAX + 1):
            if report.ok:
                break
            sound.update((f.sku, f) for f in report.findings if not f.faults)
            await self._clock.sleep(ROUND_PAUSE_S)
            report = msgspec.structs.replace(await self._round(sound), rounds=number)
        return report

    async def _round(self, sound: dict[str, Finding]) -> Report:
        before = {t.sku: t for t in await self._all_terms()}
        rows, seen = await self._sum_rows()
        ledger = {check.sku: check for check in await self._ledger.audit()}
        after = {t.sku: t for t in await self._all_terms()}
        findings = []
        for sku in sorted({*after, *rows, *ledger}):
            finding = await self._check(sku, before, after, rows, ledger)
            # A SKU once found sound stays so: what changed since was checked when it was written.
            findings.append(sound.get(sku, finding) if finding.faults else finding)
        return Report(tuple(findings), seen, 1)

    async def _check(
        self,
        sku: str,
        before: dict[str, SkuTerms],
        after: dict[str, SkuTerms],
        rows: dict[str, Rows],
        ledger: dict[str, LedgerCheck],
    ) -> Finding:
        terms, sums, check = after.get(sku), rows.get(sku, Rows()), ledger.get(sku)
        faults = [*(check.faults if check else ("the ledger does not have it",))]
        if terms is None:
            faults.append("Redis does not have it")
        else:
            faults += _terms_faults(terms, sums)
            if check is not None:
                faults += _pair_faults(terms, sums, check)
            if terms.settings.buyer_limit:
                faults += await self._buyer_faults(sku, sums)
        earlier = before.get(sku)
        if faults and terms is not None and (earlier is None or earlier.version != terms.version):
            faults.append("(it changed while it was read)")
        return Finding(sku, terms, sums, check, tuple(faults))

    async def _buyer_faults(self, sku: str, sums: Rows) -> list[str]:
        kept: dict[str, int] = {}
        for place in self._places:
            kept.update(await place.listing.buyers(sku))
        # Purchases that were forgotten with their reservations still count: kept may be more.
        short = [b for b, units in sums.counted.items() if kept.get(b, 0) < units]
        return [f"{len(short)} buyers' counts are less than their reservations"] if short else []

    async def _all_terms(self) -> list[SkuTerms]:
        found: list[SkuTerms] = []
        while page := await self._catalogue.page(found[-1].sku if found else "", SCAN_COUNT):
            found += page
        return found

    async def _sum_rows(self) -> tuple[dict[str, Rows], int]:
        rows: defaultdict[str, Rows] = defaultdict(Rows)
        seen: set[str] = set()
        for place in self._places:
            cursor = -1
            while cursor != 0:
                page = await place.listing.reservations(max(cursor, 0), SCAN_COUNT)
                cursor = page.cursor
                _add_rows(rows, (r for r in page.items if r.id not in seen))
                seen.update(r.id for r in page.items)
        return rows, len(seen)


def _add_rows(rows: defaultdict[str, Rows], reservations: Iterable[Reservation]) -> None:
    for r in reservations:
        for line in r.lines:
            sums = rows[line.sku]
            if r.state in _HELD:
                sums.held += line.quantity
            elif r.state is State.CONFIRMED:
                sums.unsettled += line.quantity
            elif r.state is State.SETTLED:
                sums.settled += line.quantity
            if isinstance(line, HeldLine) and line.counted and r.state in _BOUGHT:
                sums.counted[r.buyer] = sums.counted.get(r.buyer, 0) + line.quantity


def _terms_faults(terms: SkuTerms, rows: Rows) -> list[str]:
    faults = []
    if not terms.balanced:
        faults.append("on_hand is not available + held + unsettled + safety_stock")
    if terms.held != rows.held:
        faults.append(f"held is {terms.held}, its reservations hold {rows.held}")
    if terms.unsettled != rows.unsettled:
        faults.append(f"unsettled is {terms.unsettled}, its reservations say {rows.unsettled}")
    return faults


def _pair_faults(terms: SkuTerms, rows: Rows, check: LedgerCheck) -> list[str]:
    """What Redis has not mirrored yet is still in its unsettled units."""
    ahead = terms.on_hand - check.on_hand
    faults = []
    if rows.settled > check.sold_lines:
        faults.append(f"{rows.settled} units are settled, the ledger sold {check.sold_lines}")
    if ahead != check.sold - terms.sold:
        faults.append(
            f"on_hand and sold: Redis {terms.on_hand} and {terms.sold}, "
            f"ledger {check.on_hand} and {check.sold}"
        )
    elif not 0 <= ahead <= terms.unsettled:
        faults.append(f"the ledger deducted {ahead} units, of {terms.unsettled} unsettled")
    if check.moves_pending:
        faults.append(f"{check.moves_pending} stock moves are unfinished")
    return faults
