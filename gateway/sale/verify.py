"""Proves that everything adds up: counters against rows, Redis against the ledger.

Every reservation in Redis is read and summed; the ledger recomputes itself. While a sale goes on
these are read at different moments, so a SKU that changed meanwhile is looked at again, and
what two moments may explain is no fault.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from gateway.core.clock import Clock
from gateway.core.model import HeldLine, Reservation, SkuTerms
from gateway.core.transitions import FACTS
from gateway.ledger import Ledger, LedgerCheck
from gateway.sale.catalogue import Catalogue, Place

SCAN_COUNT = 1000
ROUNDS_MAX = 5
ROUND_PAUSE_S = 0.5


class Rows(msgspec.Struct):
    """Units of one SKU summed over the reservations."""

    held: int = 0
    unsettled: int = 0
    settled: int = 0
    counted: dict[str, int] = msgspec.field(default_factory=dict)


class Finding(msgspec.Struct, frozen=True):
    """One SKU: its terms, what the rows add up to, what the ledger says, and what is wrong.

    unsure: what did not add up while the SKU kept changing; two moments differ, so it proves
    nothing.
    """

    sku: str
    terms: SkuTerms | None
    rows: Rows
    ledger: LedgerCheck | None
    faults: tuple[str, ...]
    unsure: tuple[str, ...] = ()

    @property
    def clear(self) -> bool:
        """Whether everything added up."""
        return not self.faults and not self.unsure


class Report(msgspec.Struct, frozen=True):
    """What was checked, and what was found.

    unreadable: fields of the reservations hash that hold no reservation.
    dead_letters: open ones; their reservations stay confirmed and their units unsettled.
    """

    findings: tuple[Finding, ...]
    reservations: int
    rounds: int
    unreadable: tuple[str, ...] = ()
    dead_letters: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.unreadable and not any(finding.faults for finding in self.findings)

    @property
    def unsure(self) -> tuple[str, ...]:
        """SKUs that changed too fast to be recounted; look again when it is quieter."""
        return tuple(f.sku for f in self.findings if f.unsure and not f.faults)


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
        """Look until everything adds up, at most ROUNDS_MAX times; what the last look found."""
        clear: dict[str, Finding] = {}
        report = await self._round(clear)
        for number in range(2, ROUNDS_MAX + 1):
            if all(finding.clear for finding in report.findings):
                break
            clear.update((f.sku, f) for f in report.findings if f.clear)
            await self._clock.sleep(ROUND_PAUSE_S)
            report = msgspec.structs.replace(await self._round(clear), rounds=number)
        letters = await self._ledger.letters.open_by_reason()
        return msgspec.structs.replace(report, dead_letters=sum(letters.values()))

    async def _round(self, clear: dict[str, Finding]) -> Report:
        before = {t.sku: t for t in await self._all_terms()}
        rows, seen, unreadable = await self._sum_rows()
        ledger = {check.sku: check for check in await self._ledger.audit()}
        after = {t.sku: t for t in await self._all_terms()}
        findings = []
        for sku in sorted({*after, *rows, *ledger}):
            look = Look(before.get(sku), rows.get(sku, Rows()), ledger.get(sku), after.get(sku))
            finding = await self._check(sku, look)
            # A SKU once found clear stays so: what changed since was checked when it was written.
            findings.append(finding if finding.clear else clear.get(sku, finding))
        return Report(tuple(findings), seen, 1, tuple(sorted(unreadable)))

    async def _check(self, sku: str, look: "Look") -> Finding:
        sure, unsure = look.faults()
        if look.after is not None and look.after.settings.buyer_limit:
            unsure += await self._buyer_faults(sku, look.rows)
        if not look.changed:
            sure, unsure = [*sure, *unsure], []
        return Finding(sku, look.after, look.rows, look.ledger, tuple(sure), tuple(unsure))

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

    async def _sum_rows(self) -> tuple[dict[str, Rows], int, set[str]]:
        rows: defaultdict[str, Rows] = defaultdict(Rows)
        seen: set[str] = set()
        unreadable: set[str] = set()
        for place in self._places:
            cursor = -1
            while cursor != 0:
                page = await place.listing.reservations(max(cursor, 0), SCAN_COUNT)
                cursor = page.cursor
                _add_rows(rows, (r for r in page.items if r.id not in seen))
                seen.update(r.id for r in page.items)
                unreadable.update(page.unreadable)
        return rows, len(seen), unreadable


def _add_rows(rows: defaultdict[str, Rows], reservations: Iterable[Reservation]) -> None:
    for r in reservations:
        for line in r.lines:
            sums, facts = rows[line.sku], FACTS[r.state]
            if facts.units == "held":
                sums.held += line.quantity
            elif facts.units == "unsettled":
                sums.unsettled += line.quantity
            elif facts.units == "sold":
                sums.settled += line.quantity
            if isinstance(line, HeldLine) and line.counted and facts.counted:
                sums.counted[r.buyer] = sums.counted.get(r.buyer, 0) + line.quantity


class Look(NamedTuple):
    """One SKU as it was read in one round, in this order."""

    before: SkuTerms | None
    rows: Rows
    ledger: LedgerCheck | None
    after: SkuTerms | None

    @property
    def changed(self) -> bool:
        """Whether its terms changed while it was read."""
        return self.after is not None and (
            self.before is None or self.before.version != self.after.version
        )

    def faults(self) -> tuple[list[str], list[str]]:
        """What is wrong for sure, and what may be due to reading at different moments."""
        sure = [*(self.ledger.faults if self.ledger else ())]
        unsure = [] if self.ledger else ["the ledger does not have it"]
        if self.after is None:
            return [*sure, "Redis does not have it"], unsure
        if not self.after.balanced:
            sure.append("on_hand is not available + held + unsettled + safety_stock")
        unsure += _row_faults(self.after, self.rows)
        if self.ledger is not None:
            # The rows were read first: what they call settled, the ledger had sold.
            if self.rows.settled > self.ledger.sold_lines:
                sold = self.ledger.sold_lines
                sure.append(f"{self.rows.settled} units are settled, the ledger sold {sold}")
            (unsure if self._moved(self.ledger) else sure).extend(
                _pair_faults(self.after, self.ledger)
            )
            unsure += _pending_faults(self.after, self.ledger)
        return sure, unsure

    def _moved(self, ledger: LedgerCheck) -> bool:
        """Whether units came or went, other than by sale, while it was read."""
        same = self.before and self.after and self.before.move_seq == self.after.move_seq
        return ledger.moves_pending > 0 or not same


def _row_faults(terms: SkuTerms, rows: Rows) -> list[str]:
    faults = []
    if terms.held != rows.held:
        faults.append(f"held is {terms.held}, its reservations hold {rows.held}")
    if terms.unsettled != rows.unsettled:
        faults.append(f"unsettled is {terms.unsettled}, its reservations say {rows.unsettled}")
    return faults


def _pair_faults(terms: SkuTerms, check: LedgerCheck) -> list[str]:
    """What Redis has not mirrored yet is still in its unsettled units."""
    if terms.on_hand + terms.sold != check.on_hand + check.sold:
        return [
            f"on_hand and sold: Redis {terms.on_hand} and {terms.sold}, "
            f"ledger {check.on_hand} and {check.sold}"
        ]
    ahead = terms.on_hand - check.on_hand
    if ahead > terms.unsettled:
        return [f"the ledger deducted {ahead} units, of {terms.unsettled} unsettled"]
    return []


def _pending_faults(terms: SkuTerms, check: LedgerCheck) -> list[str]:
    faults = []
    if check.on_hand > terms.on_hand and check.on_hand + check.sold == terms.on_hand + terms.sold:
        faults.append(f"Redis sold {terms.sold} units, the ledger {check.sold}")
    if check.moves_pending:
        faults.append(f"{check.moves_pending} stock moves are unfinished")
    return faults
