"""Compares Redis with itself and with the ledger while a sale goes on. Reads only.

Three things that cannot be read at one instant: a SKU's counters, the reservations they sum up,
and the ledger. Nothing is frozen; instead, only what was provably read as of one instant counts:

- Every change of a SKU's units raises its `version`, in the script that makes the change. A walk
  over all reservations (HSCAN, page by page) between two reads of the counters is therefore exact
  for each SKU whose version is the same in both. A SKU whose counters contradict each other is
  refused by every command, so it always comes to rest.
- A SKU that looks wrong while it keeps changing is looked at alone: one script reads the counters,
  the buyers' counts and all reservations of the shard at one instant, if there are at most
  `audit.recount_max`. With more the SKU is *not compared* this time, which is counted and told,
  and is no drift; what needs no reservations (the counters' own balance, and
  on_hand + sold = received) is compared all the same.
- The ledger is read before and after. Its row of the SKU being the same twice, no move pending,
  it did not change in between. What it took and Redis has not mirrored is then no guess: it is
  the confirmed reservations that the ledger names as settled.

So what is called a drift was one at one instant, and a drift cannot go by itself: no command
changes a counter without what it counts. It is acted on when it was seen twice all the same.
"""

from collections.abc import Iterable, Sequence

import msgspec

from gateway.core.clock import Clock
from gateway.core.config import AuditConfig
from gateway.core.model import Reservation, SkuTerms, State
from gateway.ledger import Ledger, RunCounts, StockRow
from gateway.sale.evidence import Book, Drift, Evidence, Sums, judge, sum_up
from gateway.store.audit_commands import AuditCommands
from gateway.store.commands import StockCommands
from gateway.store.listing import Listing, Page

PAGE = 250
"""Reservations a page: about 2 ms of this process's time."""

SKUS_PAGE = 200
EXAMINED_MAX = 20
"""SKUs of a shard looked at alone in one comparison; the others get their turn in the next."""

EXAMINE_TRIES = 10
"""Looks for a moment at which the ledger holds still, between two batches of the settler."""

BUYERS_MAX = 100_000
STUCK_AFTER_MS = 5_000
"""A hold that nobody expired for so long past its deadline is stuck."""

METHOD = (
    "version-bracketed walk over all reservations; busy SKUs recounted at one instant; "
    "ledger rows unchanged before and after"
)


class Corner(msgspec.Struct, frozen=True):
    """One shard as the audit reaches it, over connections that nobody else uses."""

    commands: StockCommands
    audit: AuditCommands
    listing: Listing


class Comparison(msgspec.Struct):
    """What one look at a shard found.

    uncompared: SKUs that changed too fast. confirmed, stuck: reservations to be looked after.
    evidence: of each SKU that was looked at alone.
    """

    counts: RunCounts
    drifts: list[Drift]
    uncompared: set[str]
    confirmed: list[Reservation]
    stuck: list[Reservation]
    evidence: dict[str, Evidence]


class _Walk(msgspec.Struct):
    """All reservations of a shard, each read at a moment of its own."""

    sums: dict[str, Sums] = msgspec.field(default_factory=dict)
    seen: set[str] = msgspec.field(default_factory=set)
    unreadable: set[str] = msgspec.field(default_factory=set)
    confirmed: list[Reservation] = msgspec.field(default_factory=list)
    stuck: list[Reservation] = msgspec.field(default_factory=list)

    def add(self, page: Page) -> None:
        """Add those of a page that were not seen before."""
        new = [r for r in page.items if r.id not in self.seen]
        self.seen.update(r.id for r in new)
        self.unreadable.update(page.unreadable)
        sum_up(new, self.sums)
        for r in new:
            if r.state is State.CONFIRMED:
                self.confirmed.append(r)
            elif is_stuck(r, page.now_ms):
                self.stuck.append(r)


class _Sides(msgspec.Struct, frozen=True):
    """Both sides of the walk, by SKU."""

    before: dict[str, SkuTerms]
    after: dict[str, SkuTerms]
    rows: dict[str, StockRow]
    rows_after: dict[str, StockRow]
    moving: frozenset[str]
    buyers: dict[str, dict[str, int] | None]


class Comparer:
    """Compares one shard at a time. Raises as the store and the ledger do."""

    def __init__(self, ledger: Ledger, config: AuditConfig, clock: Clock) -> None:
        self._ledger = ledger
        self._config = config
        self._clock = clock
        self._turn = 0

    async def compare(self, corner: Corner) -> Comparison:
        """Look at every SKU and every reservation of the shard."""
        rows = {row.sku: row for row in await self._ledger.stock()}
        moving = {move.sku for move in await self._ledger.pending_moves()}
        before = await self._all_terms(corner)
        walk = await self._walk(corner.listing)
        buyers = {sku: await corner.listing.buyer_counts(sku, BUYERS_MAX) for sku in before}
        after = await self._all_terms(corner)
        rows_after = {row.sku: row for row in await self._ledger.stock()}
        moving |= {move.sku for move in await self._ledger.pending_moves()}
        sides = _Sides(before, after, rows, rows_after, frozenset(moving), buyers)
        return await self._conclude(corner, sides, walk)

    async def examine(self, corner: Corner, sku: str) -> Evidence | None:
        """The SKU at one instant, with the ledger if it held still; None: too many reservations.

        Raises LookupError: Redis does not have the SKU.
        """
        evidence = None
        for _ in range(EXAMINE_TRIES):
            rows, _, moving = await self._ledger.audits.standing([sku])
            recount = await corner.audit.recount(sku, self._config.recount_max)
            if recount is None:
                return None
            if recount.terms is None:
                raise LookupError(sku)
            ids = [reservation.id for reservation in recount.confirmed]
            book = None if moving else await self._book(recount.terms, ids, rows.get(sku))
            sums: dict[str, Sums] = {}
            sum_up(recount.reservations(), sums)
            own = sums.get(sku, Sums())
            evidence = Evidence(recount.terms, own, recount.buyers, book, recount.repairs)
            if book is not None:
                break
        return evidence

    async def _book(self, terms: SkuTerms, ids: Sequence[str], row: StockRow | None) -> Book | None:
        """What the ledger says, if it says the same as before `terms` were read.

        ids: the SKU's reservations that were confirmed then.
        """
        rows, outcomes, moving = await self._ledger.audits.standing([terms.sku], ids)
        now = rows.get(terms.sku)
        if now is None or moving or now != row or now.move_seq != terms.move_seq:
            return None
        return Book(now, outcomes)

    async def _conclude(self, corner: Corner, sides: _Sides, walk: _Walk) -> Comparison:
        drifts = _strangers(sides, walk)
        uncompared: set[str] = set()
        known: dict[str, Evidence] = {}
        for sku in self._in_turn(_suspects(sides, walk), uncompared):
            known[sku] = evidence = await self._exact(corner, sku, sides, walk)
            drifts += judge(evidence)
            if evidence.sums is None:
                uncompared.add(sku)
        counts = RunCounts(
            skus=len(sides.after),
            reservations=len(walk.seen),
            buyers=sum(len(counts) for counts in sides.buyers.values() if counts),
            ledger_rows=len(sides.rows_after),
            uncompared=len(uncompared),
        )
        return Comparison(counts, drifts, uncompared, walk.confirmed, walk.stuck, known)

    def _in_turn(self, suspects: Sequence[str], left: set[str]) -> Sequence[str]:
        """As many as one comparison may look at, other ones each time; the others are `left`."""
        if len(suspects) <= EXAMINED_MAX:
            return suspects
        self._turn = (self._turn + EXAMINED_MAX) % len(suspects)
        ordered = [*suspects[self._turn :], *suspects[: self._turn]]
        left.update(ordered[EXAMINED_MAX:])
        return ordered[:EXAMINED_MAX]

    async def _exact(self, corner: Corner, sku: str, sides: _Sides, walk: _Walk) -> Evidence:
        """The SKU at one instant, as far as there is one."""
        evidence = await self.examine(corner, sku)
        if evidence is not None:
            return evidence
        after, row = sides.after[sku], sides.rows.get(sku)
        if is_quiet(sides.before.get(sku), after):
            sums = walk.sums.get(sku, Sums())
            ids = [line.reservation_id for line in sums.confirmed]
            book = None if sku in sides.moving else await self._book(after, ids, row)
            return Evidence(after, sums, sides.buyers.get(sku), book)
        book = None
        if row and sku not in sides.moving and _same_stock(row, sides.rows_after.get(sku), after):
            book = Book(row, {})
        return Evidence(after, None, None, book)

    async def _all_terms(self, corner: Corner) -> dict[str, SkuTerms]:
        found: dict[str, SkuTerms] = {}
        last = ""
        while names := await corner.listing.sku_names(last, SKUS_PAGE):
            _, terms = await corner.commands.snapshot(names, expire_max=0)
            found.update((t.sku, t) for t in terms)
            last = names[-1]
        return found

    async def _walk(self, listing: Listing) -> _Walk:
        walk, cursor = _Walk(), -1
        while cursor != 0:
            page = await listing.reservations(max(cursor, 0), PAGE)
            walk.add(page)
            cursor = page.cursor
            await self._clock.sleep(len(page.items) / self._config.records_per_s)
        return walk


def is_quiet(before: SkuTerms | None, after: SkuTerms) -> bool:
    """Whether no unit of the SKU moved between two reads."""
    return before is not None and before.version == after.version


def is_stuck(reservation: Reservation, now_ms: int) -> bool:
    """Whether a hold is so long past its deadline that nobody will expire it."""
    holds = reservation.state in (State.HELD, State.PAYING)
    return holds and reservation.deadline_ms + STUCK_AFTER_MS <= now_ms


def _same_stock(row: StockRow, later: StockRow | None, terms: SkuTerms) -> bool:
    """Whether nothing but sales happened to the SKU between two reads of the ledger."""
    if later is None:
        return False
    same = (row.received, row.settings, row.move_seq) == (
        later.received,
        later.settings,
        later.move_seq,
    )
    return same and row.move_seq == terms.move_seq


def _suspects(sides: _Sides, walk: _Walk) -> list[str]:
    """SKUs that do not add up at first sight, which under load need not mean anything."""
    found = []
    for sku, terms in sides.after.items():
        row = sides.rows_after.get(sku)
        book = Book(row, {}) if row and sku not in sides.moving else None
        if judge(Evidence(terms, walk.sums.get(sku, Sums()), sides.buyers.get(sku), book)):
            found.append(sku)
    return sorted(found)


def _strangers(sides: _Sides, walk: _Walk) -> list[Drift]:
    """SKUs that one side does not know, and what is no reservation."""
    kept, owned = {*sides.before, *sides.after}, {*sides.rows, *sides.rows_after}
    settled = {sku for sku, row in sides.rows.items() if row.move_seq > 0} - sides.moving
    gone = [Drift(sku, "missing", 0, 1) for sku in sorted(settled - kept)]
    unknown = [Drift(sku, "unknown-to-ledger", 1, 0) for sku in sorted(kept - owned - sides.moving)]
    # A SKU comes before its first reservation, and never goes.
    orphans = [
        Drift(sku, "orphans", sums.held + sums.unsettled, 0)
        for sku, sums in sorted(walk.sums.items())
        if sku not in kept and (sums.held or sums.unsettled)
    ]
    unreadable = [Drift("", "unreadable", 1, 0, subject=ascii(f)) for f in sorted(walk.unreadable)]
    return [*gone, *unknown, *orphans, *unreadable]


def subjects(drifts: Iterable[Drift]) -> set[str]:
    """The SKUs that the drifts are about."""
    return {drift.sku for drift in drifts}
