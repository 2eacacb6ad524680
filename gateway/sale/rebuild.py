"""Rebuilds a lost or stale Redis from the ledger and the records that survived in it.

look -> close the SKUs that are not what they should be -> begin a new generation, if the mark was
lost -> mend records -> give each SKU its terms and open it. A SKU is closed until it is right, so
every step may be cut off and all of it done again; what is right is not touched.
"""

import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Literal, NamedTuple

import msgspec

from gateway.core.clock import Clock
from gateway.core.codes import Reply
from gateway.core.errors import StoreUnavailable
from gateway.core.events import Event, EventKind, Tell, tell_nobody
from gateway.core.marks import Mark, fault_of
from gateway.core.model import State
from gateway.ledger import Ledger
from gateway.sale.rebuild_plan import buyers, choose
from gateway.sale.survey import Found, Look, Site, Surveyor
from gateway.store import keys
from gateway.store.marks import Marks
from gateway.store.rebuilding import ENDED, OUTBOX, Mend, Opening, RebuildCommands
from gateway.store.records import with_state

LOOKS_MAX = 10
"""Looks at SKUs that change while they are read, and rounds of mending."""

LOOK_PAUSE_S = 0.2

Outcome = Literal["sound", "rebuilt", "kept closed", "would be rebuilt", "unsure"]
Terms = tuple[str, ...]


class Verdict(msgspec.Struct, frozen=True):
    """What became of one SKU. before, after: on_hand, available, held, unsettled, safety, sold."""

    sku: str
    outcome: Outcome
    before: Terms | None
    after: Terms | None
    note: str = ""


class Rebuilt(msgspec.Struct, frozen=True):
    """What a rebuild did, or would do. mended: records and reminders; mark: what was wrong with it.

    unreadable: fields of the reservations hash that hold no reservation; they are left there.
    """

    verdicts: tuple[Verdict, ...]
    records: int
    mended: int
    mark: str
    unreadable: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether every SKU is open and right, and every record was read."""
        bad = ("kept closed", "unsure")
        return not self.unreadable and not any(v.outcome in bad for v in self.verdicts)


class Part(NamedTuple):
    """One shard, to be rebuilt. commands: for a token."""

    site: Site
    marks: Marks
    commands: Callable[[str], RebuildCommands]


class Progress(NamedTuple):
    """How far a rebuild is."""

    step: str
    done: int
    of: int


class Rebuilder:
    """Rebuilds. One at a time is enough: a second one takes the SKUs over from the first.

    on_step: told before each step; tests end the process there. progress: for people.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        ledger: Ledger,
        clock: Clock,
        *,
        tell: Tell = tell_nobody,
        on_step: Callable[[str], None] = lambda _step: None,
        progress: Callable[[Progress], None] = lambda _progress: None,
    ) -> None:
        self._parts = parts
        self._ledger = ledger
        self._clock = clock
        self._tell = tell
        self._on_step = on_step
        self._progress = progress
        self._surveyor = Surveyor([part.site for part in parts], ledger)

    async def plan(self, skus: Iterable[str] = ()) -> Rebuilt:
        """What `run` would do. Reads only."""
        wrong = await self._mark_fault()
        look = await self._steady_look(with_bought=False)
        targets = _targets(look, set(skus), lost=bool(wrong))
        verdicts = [self._foreseen(sku, look, sku in targets) for sku in _all_skus(look)]
        return _rebuilt(verdicts, look, 0, wrong)

    async def run(self, skus: Iterable[str] = ()) -> Rebuilt:
        """Rebuild what is wrong, of `skus` or of all. Raises StoreUnavailable, LedgerUnavailable
        or OutcomeUnknown: run it again.
        """
        wanted, token = set(skus), secrets.token_hex(8)
        self._step("look", 0, 1)
        wrong = await self._mark_fault()
        first = await self._steady_look(with_bought=False)
        targets = sorted(_targets(first, wanted, lost=bool(wrong)))
        rebuild = [part.marks for part in self._parts if (await part.marks.read()).rebuild]
        if not targets and not wrong and not _has_mends(first) and not rebuild:
            return _rebuilt([_as_found(s, first) for s in _all_skus(first)], first, 0, "")
        await self._close(targets, token)
        if wrong and targets == sorted(_targets(first, set(), lost=True)):
            await self._renew_marks(token)
        mended, look = await self._mend(set(targets), token)
        opened = {sku: v async for sku, v in self._open(targets, first, look, token)}
        for part in self._parts:
            await part.marks.end_rebuild()
        verdicts = [opened.get(s) or _as_found(s, look) for s in _all_skus(look)]
        return _rebuilt(verdicts, look, mended, wrong)

    def _step(self, name: str, done: int, of: int) -> None:
        self._progress(Progress(name, done, of))
        self._on_step(name)

    async def _mark_fault(self) -> str:
        """What is wrong with the marks; '' when ledger and Redis agree."""
        for part in self._parts:
            recorded = await self._ledger.mark(part.site.shard)
            fault = fault_of(await part.marks.read(), recorded)
            if fault:
                return fault
        return ""

    async def _steady_look(self, *, with_bought: bool, of: set[str] | None = None) -> Look:
        """Look until what is not sound stood still (of: until these did)."""
        for _ in range(LOOKS_MAX):
            look = await self._surveyor.look(with_bought=with_bought)
            asked = _all_skus(look) if of is None else of
            if all(look.stood_still(s) or (of is None and look.is_sound(s)) for s in asked):
                break
            await self._clock.sleep(LOOK_PAUSE_S)
        return look

    async def _close(self, targets: Sequence[str], token: str) -> None:
        for part in self._parts:
            await part.marks.begin_rebuild(token)
        for number, sku in enumerate(targets):
            self._step("close", number, len(targets))
            await self._part_of(sku).commands(token).close_sku(sku)

    async def _renew_marks(self, token: str) -> None:
        """From here on gateways sell again what is open. The ledger first: it is what they ask."""
        for part in self._parts:
            shard, new = part.site.shard, Mark(secrets.token_hex(16), 0)
            self._step("mark in the ledger", shard, len(self._parts))
            before = await self._ledger.mark(shard)
            now = await self._ledger.replace_mark(shard, new, before.generation)
            self._step("mark in Redis", shard, len(self._parts))
            if now == new:
                await part.marks.replace(new)
            else:
                raise StoreUnavailable(f"another rebuild of shard {shard} goes on (not {token})")

    async def _mend(self, closed: set[str], token: str) -> tuple[int, Look]:
        """Mend until nothing is left to mend; how much that was, and the last look."""
        mended = 0
        for number in range(LOOKS_MAX):
            self._step("look again", number, LOOKS_MAX)
            look = await self._steady_look(with_bought=True, of=closed)
            mends = await self._mends(look, closed)
            if not any(mends.values()):
                break
            self._step("mend", 0, sum(map(len, mends.values())))
            done = 0
            for part in self._parts:
                commands = part.commands(token)
                done += await commands.mend(mends[part.site.shard])
            mended += done
            if not done:
                break
        else:
            look = await self._steady_look(with_bought=True, of=closed)
        return mended, look

    async def _mends(self, look: Look, closed: set[str]) -> dict[int, list[Mend]]:
        mends: dict[int, list[Mend]] = {part.site.shard: [] for part in self._parts}
        replaced = set()
        for shard, relic in look.overtaken:
            if _within(relic.reservation, closed):
                mends[shard].append(await self._overtaken(Found(shard, relic)))
        for shard, relic in look.due:
            if _within(relic.reservation, closed):
                expired = with_state(relic.text, State.EXPIRED)
                mends[shard].append(Mend(relic.field, relic.text, expired, ENDED))
                replaced.add(relic.field)
        for shard, relic in look.unsent:
            mends[shard].append(Mend(relic.field, relic.text, relic.text, OUTBOX))
        for shard, relic in look.unreminded:
            if relic.reservation and relic.field not in replaced:
                at = str(relic.reservation.deadline_ms)
                mends[shard].append(Mend(relic.field, relic.text, relic.text, at))
        return mends

    async def _overtaken(self, found: Found) -> Mend:
        """What the ledger has sold was confirmed: the settler mirrors the rest."""
        relic = found.relic
        ref = ""
        if relic.reservation is not None:
            recorded = await self._ledger.deduction(relic.reservation.id)
            ref = recorded.payment_ref if recorded else ""
        confirmed = with_state(relic.text, State.CONFIRMED, payment_ref=ref)
        return Mend(relic.field, relic.text, confirmed, OUTBOX)

    async def _open(
        self, targets: Sequence[str], first: Look, look: Look, token: str
    ) -> AsyncIterator[tuple[str, Verdict]]:
        for number, sku in enumerate(targets):
            self._step("open", number, len(targets))
            yield sku, await self._open_one(sku, first, look, token)

    async def _open_one(self, sku: str, first: Look, look: Look, token: str) -> Verdict:
        before = _terms(first, sku)
        note = _why_closed(sku, look)
        if not note:
            row, move = look.owned[sku]
            sums = look.sums_of(sku)
            opening = choose(row, move, sums, look.kept.get(sku))
            note = _excess(opening, sku, look)
        if note:
            self._tell(Event(EventKind.SKU_KEPT_CLOSED, sku=sku, detail=note))
            return Verdict(sku, "kept closed", before, None, note)
        counts = buyers(sums, look.bought.get(sku, {}), limited=bool(row.settings.buyer_limit))
        await self._part_of(sku).site.relics.write_buyers(sku, counts)
        self._on_step("buyers written")
        code = await self._part_of(sku).commands(token).open_sku(opening)
        if code is Reply.OUT_OF_ORDER:
            raise StoreUnavailable(f"another rebuild has taken over SKU {sku}")
        if code is not Reply.DONE:
            raise StoreUnavailable(f"Redis refuses the rebuilt terms of SKU {sku}: {code.name}")
        return Verdict(sku, "rebuilt", before, tuple(map(str, opening.terms)))

    def _foreseen(self, sku: str, look: Look, target: bool) -> Verdict:
        if not target:
            return _as_found(sku, look)
        note = "" if sku in look.owned else _UNOWNED
        if note:
            return Verdict(sku, "kept closed", _terms(look, sku), None, note)
        opening = choose(*look.owned[sku], look.sums_of(sku), look.kept.get(sku))
        after = tuple(map(str, opening.terms))
        return Verdict(sku, "would be rebuilt", _terms(look, sku), after, "")

    def _part_of(self, sku: str) -> Part:
        return self._parts[keys.shard_of(sku, len(self._parts))]


_UNOWNED = "the ledger does not have it"


def _all_skus(look: Look) -> list[str]:
    return sorted({*look.owned, *look.kept})


def _targets(look: Look, wanted: set[str], *, lost: bool) -> set[str]:
    """SKUs to be closed and rebuilt: not what they should be, or closed already.

    lost: also those that changed while they were read. Those that share a reservation to be mended
    go together.
    """
    targets = set()
    for sku in _all_skus(look):
        kept = look.kept.get(sku)
        closed = kept is not None and kept.closed
        wrong = not look.is_sound(sku) and (lost or look.stood_still(sku))
        if (closed or wrong) and (not wanted or sku in wanted):
            targets.add(sku)
    return _with_neighbours(targets, look)


def _with_neighbours(targets: set[str], look: Look) -> set[str]:
    carts = [
        {x.sku for x in f.relic.reservation.lines} for f in look.overtaken if f.relic.reservation
    ]
    grown = set(targets)
    while True:
        touched = [cart for cart in carts if cart & grown and not cart <= grown]
        if not touched:
            return grown
        grown.update(*touched)


def _has_mends(look: Look) -> bool:
    return bool(look.unsent or look.unreminded)


def _within(reservation: object, closed: set[str]) -> bool:
    lines = getattr(reservation, "lines", ())
    return bool(lines) and all(line.sku in closed for line in lines)


def _as_found(sku: str, look: Look) -> Verdict:
    terms = _terms(look, sku)
    outcome: Outcome = "sound" if look.is_sound(sku) else "unsure"
    note = "" if outcome == "sound" else "it kept changing, or was not asked for"
    return Verdict(sku, outcome, terms, terms, note)


def _terms(look: Look, sku: str) -> Terms | None:
    kept = look.kept.get(sku)
    return kept.terms if kept else None


def _why_closed(sku: str, look: Look) -> str:
    if sku not in look.owned:
        return _UNOWNED
    return "" if look.stood_still(sku) else "it kept changing while it was read: run this again"


def _excess(opening: Opening, sku: str, look: Look) -> str:
    if opening.available >= 0:
        return ""
    return (
        f"reservations hold {-opening.available} units more than the ledger owns;"
        " run this again when holds have run out or the settler has decided"
    )


def _rebuilt(verdicts: Sequence[Verdict], look: Look, mended: int, mark: str) -> Rebuilt:
    return Rebuilt(tuple(verdicts), look.records, mended, mark, tuple(sorted(look.unreadable)))
