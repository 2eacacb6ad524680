"""The commands of the audit: an exact recount, and repairs that carry a lease's fence."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

import msgspec

from gateway.core.codes import Reply
from gateway.core.errors import InvariantBreach
from gateway.core.leases import Fence
from gateway.core.model import Reservation, SkuSettings, SkuTerms
from gateway.store import keys, scripts
from gateway.store.client import Arg, ScriptChannel
from gateway.store.commands import terms_of
from gateway.store.records import parse_record

OVER = (b"j", b"r", b"x")
"""Letters of reservations that have no units: see core/transitions.py."""


CONFIRMED = b"c"


class Recount(NamedTuple):
    """One instant of a shard: its reservations, and of one SKU the terms and buyers' counts.

    reservations: without those that are over and of other SKUs. repairs: how often it was
    repaired. confirmed: told apart before the others are read, so that the ledger is asked at once.
    """

    confirmed: list[Reservation]
    reservations: Callable[[], list[Reservation]]
    buyers: dict[str, int]
    terms: SkuTerms | None
    repairs: int


class Repair(NamedTuple):
    """What one SKU is to become; units.

    repairs: how often it had been repaired; None: only if its version is still the one found.
    settings: None leaves them. buyers: (buyer, count found, right count).
    """

    found: SkuTerms
    right: SkuTerms
    settings: SkuSettings | None = None
    buyers: Sequence[tuple[str, int, int]] = ()
    repairs: int | None = None


class AuditCommands:
    """The commands of one shard over one channel, used by one caller at a time.

    Raises StoreUnavailable, OutcomeUnknown: a repair that may have happened is counted with the
    SKU, so that repeating it writes nothing.
    """

    def __init__(self, channel: ScriptChannel, shard: int) -> None:
        self.shard = shard
        self._channel = channel
        self._keys = [keys.reservations(shard)]

    async def recount(self, sku: str, most: int) -> Recount | None:
        """Everything about the SKU at one instant; None where more than `most` records are kept."""
        reply = await self._channel.run(scripts.load("recount"), self._keys, [0, most, sku])
        if reply[1] < 0:
            return None
        end = 2 + 2 * reply[1]
        buyers_end = end + 1 + 2 * reply[end]
        rows = list(zip(reply[2:end:2], reply[3:end:2], strict=True))
        counts = reply[end + 1 : buyers_end]
        terms = reply[buyers_end + 1 :]
        return Recount(
            self._parsed(sku.encode(), [p for p in rows if p[1][:1] == CONFIRMED]),
            lambda: self._parsed(sku.encode(), rows),
            {b.decode(): whole(n) for b, n in zip(counts[::2], counts[1::2], strict=True)},
            terms_of(terms) if terms else None,
            reply[buyers_end],
        )

    async def repair(self, fence: Fence, repair: Repair) -> Reply:
        """DONE, OUT_OF_ORDER (it has changed), STALE_FENCE, UNKNOWN_SKU or ILLEGAL."""
        found, settings = repair.found, repair.settings
        kept = "" if settings is None else "|".join(map(str, msgspec.structs.astuple(settings)))
        args: list[Arg] = [0, fence.name, fence.token, found.sku, found.version]
        seen = "" if repair.repairs is None else repair.repairs
        args += [*_six(found), *_six(repair.right), kept, seen, len(repair.buyers)]
        for row in repair.buyers:
            args += row
        reply = await self._channel.run(scripts.load("repair"), self._keys, args)
        return Reply(reply[1])

    async def remind(self, fence: Fence, fields: Sequence[str]) -> Reply:
        """Have due holds expired whose reminder was lost: DONE or STALE_FENCE."""
        args: list[Arg] = [0, fence.name, fence.token, *fields]
        return Reply((await self._channel.run(scripts.load("remind"), self._keys, args))[1])

    async def raise_fence(self, fence: Fence) -> Reply:
        """Have the shard refuse holders before this one: DONE or STALE_FENCE."""
        args: list[Arg] = [0, fence.name, fence.token]
        return Reply((await self._channel.run(scripts.load("raise_fence"), self._keys, args))[1])

    def _parsed(self, sku: bytes, rows: Sequence[tuple[bytes, bytes]]) -> list[Reservation]:
        """Those that may count; what cannot be read is told by the walk over all of them."""
        found = []
        for field, record in rows:
            if record[:1] in OVER or sku not in record:
                continue
            with suppress(InvariantBreach, UnicodeDecodeError):
                found.append(parse_record(field.decode(), self.shard, record))
        return found


def whole(text: bytes) -> int:
    """A count as kept; what is no number reads as -1, which no sound count is."""
    return int(text) if text.isdigit() else -1


def _six(terms: SkuTerms) -> tuple[int, ...]:
    counts = (terms.on_hand, terms.available, terms.held)
    return (*counts, terms.unsettled, terms.safety_stock, terms.sold)
