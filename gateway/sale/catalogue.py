"""SKUs: put, adjust, read, list. Every change is a numbered move that the ledger records first.

ledger begins the move -> Redis applies it, once, by its number -> ledger finishes it. A crash in
between leaves a pending move, which is driven on before the next one, and at start.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import msgspec

from gateway.core.clock import Clock
from gateway.core.codes import Reply
from gateway.core.errors import (
    InvariantBreach,
    LedgerUnavailable,
    OutcomeUnknown,
    Overloaded,
    StoreUnavailable,
)
from gateway.core.model import SkuSettings, SkuTerms
from gateway.ledger import (
    Ledger,
    Move,
    MoveConflict,
    MovePending,
    MoveRefused,
    MoveRequest,
    MoveUnknownSku,
)
from gateway.sale.outcomes import Refused
from gateway.sale.snapshot import Snapshot
from gateway.store import keys
from gateway.store.commands import StockCommands, StockMove
from gateway.store.listing import Listing

TRIES_MAX = 8
"""How often a change makes way for another one of the same SKU before it is refused."""

WAITING_MAX = 256
"""Calls that may wait for the same turn before the next is refused."""

WAIT_S = 2.0
"""The longest wait for a turn."""

_APPLIED = (Reply.DONE, Reply.UNCHANGED)


class Moved(msgspec.Struct, frozen=True):
    """A move that took effect, and the SKU's terms as they are now.

    replayed: its key had been used for the same move before; nothing was done again.
    """

    move: Move
    terms: SkuTerms
    replayed: bool = False


class Place(msgspec.Struct, frozen=True):
    """What the catalogue needs of one shard."""

    commands: StockCommands
    listing: Listing


class SkuClosed(StoreUnavailable):
    """The SKU is being rebuilt; its move waits."""


class Turns:
    """One at a time, first come first served."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = asyncio.Lock()
        self._waiting = 0

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Wait for the turn. Raises Overloaded when too many wait already, or it takes long."""
        if self._waiting >= WAITING_MAX:
            raise Overloaded("too many calls about SKUs wait for Redis; nothing was sent")
        self._waiting += 1
        try:
            async with self._clock.timeout(WAIT_S):
                await self._lock.acquire()
        except TimeoutError:
            raise Overloaded("Redis is too slow for calls about SKUs; nothing was sent") from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._lock.release()


class Catalogue:
    """The SKUs of all shards. Business refusals are values.

    check: raises StoreLost while nothing may be changed.

    Every call may raise StoreUnavailable, OutcomeUnknown, Overloaded, LedgerUnavailable or
    InvariantBreach. A change that raised may be sent again, but for an adjustment without a key.
    """

    def __init__(
        self,
        places: Sequence[Place],
        ledger: Ledger,
        snapshot: Snapshot,
        clock: Clock,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._places = places
        self._turns = [Turns(clock) for _ in places]  # commands of a shard have one connection
        self._changes = Turns(clock)  # those of one gateway need not get into each other's way
        self._ledger = ledger
        self._snapshot = snapshot
        self._check = check

    async def put(
        self, sku: str, on_hand: int, safety_stock: int, settings: SkuSettings, actor: str
    ) -> Moved | Refused:
        """Create the SKU, or set its stock and rules. on_hand is what the ledger owns, so units
        confirmed but not yet deducted count.
        """
        return await self._change(
            MoveRequest(
                sku=sku,
                kind="put",
                on_hand=on_hand,
                safety_stock=safety_stock,
                settings=settings,
                reason="set",
                actor=actor,
            )
        )

    async def adjust(
        self, sku: str, delta: int, reason: str, actor: str, key: str | None
    ) -> Moved | Refused:
        """Add units (or take away, delta < 0); `key` makes it happen once."""
        return await self._change(
            MoveRequest(
                sku=sku,
                kind="adjust",
                delta=delta,
                reason=reason,
                actor=actor,
                key=key if key is None else f"{actor}\x1f{key}",
                fingerprint=f"{sku}|{delta}|{reason}",
            )
        )

    async def get(self, sku: str) -> SkuTerms | None:
        """The SKU's terms, fresh from Redis."""
        terms = await self.get_many([sku])
        return terms[0] if terms else None

    async def get_many(self, skus: Sequence[str]) -> list[SkuTerms]:
        """The terms of those SKUs that exist, in the order given."""
        found: dict[str, SkuTerms] = {}
        for shard, place in enumerate(self._places):
            here = [sku for sku in skus if self._shard(sku) == shard]
            if here:
                async with self._turns[shard].take():
                    now_ms, terms = await place.commands.snapshot(here)
                self._snapshot.put(terms, now_ms)
                found.update((t.sku, t) for t in terms)
        return [found[sku] for sku in skus if sku in found]

    async def page(self, after: str, limit: int) -> list[SkuTerms]:
        """Up to `limit` SKUs after `after`, by name."""
        names: list[str] = []
        for place in self._places:
            names += await place.listing.sku_names(after, limit)
        return await self.get_many(sorted(names)[:limit])

    async def recover(self) -> int:
        """Drive on every move that a crash or an outage left pending; how many.

        Those of SKUs that are being rebuilt wait.
        """
        self._check()
        driven = 0
        for move in await self._ledger.pending_moves():
            with suppress(SkuClosed):
                await self._drive(move)
                driven += 1
        return driven

    async def _change(self, request: MoveRequest) -> Moved | Refused:
        self._check()
        async with self._changes.take():
            return await self._change_now(request)

    async def _change_now(self, request: MoveRequest) -> Moved | Refused:
        for _ in range(TRIES_MAX):
            begun = await self._ledger.begin_move(request)
            if isinstance(begun, MovePending):
                await self._drive(begun.move)
            elif not isinstance(begun, Move):
                return await self._refusal(begun)
            else:
                return await self._finish(begun)
        raise Overloaded(f"too many changes of SKU {request.sku} at once")

    async def _finish(self, move: Move) -> Moved | Refused:
        """From here on the ledger has the move: what fails may still happen."""
        replayed = move.state != "pending"
        try:
            applied = move.state == "applied" if replayed else await self._drive(move)
        except (StoreUnavailable, LedgerUnavailable) as error:
            raise OutcomeUnknown(f"the change is recorded and will be finished: {error}") from error
        terms = await self.get(move.sku)
        if terms is None:
            raise InvariantBreach(f"Redis does not have SKU {move.sku}, the ledger has")
        if applied:
            return Moved(move, terms, replayed)
        return Refused("adjustment-refused", {"sku": move.sku, "available": terms.available})

    async def _drive(self, move: Move) -> bool:
        """Apply a pending move and finish it; whether it took effect."""
        shard = self._shard(move.sku)
        async with self._turns[shard].take():
            code, _ = await self._places[shard].commands.move_stock(
                StockMove(move.sku, move.seq, move.on_hand_delta, move.safety_delta, move.settings)
            )
        if code == Reply.REBUILDING:
            raise SkuClosed(f"SKU {move.sku} is being rebuilt")
        if code == Reply.OUT_OF_ORDER:
            return await self._told(move)
        if code not in (*_APPLIED, Reply.TOO_FEW):
            raise _mismatch(move, code.name.lower())
        await self._ledger.finish_move(move.sku, move.seq, code in _APPLIED)
        return code in _APPLIED

    async def _told(self, move: Move) -> bool:
        """Others finished the move and went on: the ledger knows how it ended."""
        now = await self._ledger.move(move.sku, move.seq)
        if now is None or now.state == "pending":
            raise _mismatch(move, Reply.OUT_OF_ORDER.name.lower())
        return now.state == "applied"

    async def _refusal(self, refused: MoveConflict | MoveUnknownSku | MoveRefused) -> Refused:
        if isinstance(refused, MoveConflict):
            return Refused("idempotency-mismatch")
        if isinstance(refused, MoveUnknownSku):
            return Refused("unknown-sku", {"sku": refused.sku})
        terms = await self.get(refused.sku)
        available = terms.available if terms else 0
        return Refused("adjustment-refused", {"sku": refused.sku, "available": available})

    def _shard(self, sku: str) -> int:
        return keys.shard_of(sku, len(self._places))


def _mismatch(move: Move, why: str) -> InvariantBreach:
    return InvariantBreach(
        f"Redis refuses move {move.seq} of SKU {move.sku}: {why}; "
        "its data and the ledger's do not belong together, or its counters do not add up"
    )
