"""What a rebuild finds in a shard: records with their text, reminders, outbox entries, terms."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

from redis.asyncio import Redis

from gateway.core.clock import Clock
from gateway.core.errors import InvariantBreach
from gateway.core.model import Reservation
from gateway.store import keys
from gateway.store.client import execute
from gateway.store.listing import guarded
from gateway.store.records import parse_record

SCAN_COUNT = 1000
CLOSED = "closed"
"""The settings of a SKU that is closed for a rebuild."""

_TERMS = ("on_hand", "available", "held", "unsettled", "safety_stock", "sold")
_FIELDS = (*_TERMS, "version", "settings", "move_seq", "move_refused")


class Relic(NamedTuple):
    """One record as it is kept; reservation None when it cannot be read."""

    field: str
    text: str
    reservation: Reservation | None


class KeptSku(NamedTuple):
    """A SKU as it is kept. terms: on_hand, available, held, unsettled, safety_stock, sold."""

    terms: tuple[str, ...]
    version: str
    settings: str
    move_seq: int
    move_refused: int

    @property
    def closed(self) -> bool:
        """Whether a rebuild has closed it."""
        return self.settings == CLOSED


class Relics:
    """Reads of one shard, each bounded. Raises StoreUnavailable."""

    def __init__(self, client: Redis, shard: int, clock: Clock, *, call_timeout_s: float) -> None:
        self._client = client
        self._shard = shard
        self._clock = clock
        self._call_timeout_s = call_timeout_s

    async def skus(self, names: Sequence[str]) -> dict[str, KeptSku]:
        """Those of the SKUs that exist."""
        found = {}
        for start in range(0, len(names), SCAN_COUNT):
            part = names[start : start + SCAN_COUNT]
            for name, values in zip(part, await self._hashes(part), strict=True):
                if any(values):
                    found[name] = _kept(values)
        return found

    async def records(self) -> AsyncIterator[list[Relic]]:
        """All records in pages; one may come twice."""
        cursor = -1
        while cursor != 0:
            name = keys.reservations(self._shard)
            cursor, flat = await self._call("HSCAN", name, max(cursor, 0), "COUNT", SCAN_COUNT)
            pairs = (
                flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
            )
            cursor = int(cursor)
            yield [self._relic(field, text) for field, text in pairs]

    async def reminded(self) -> set[str]:
        """Fields of which some list of deadlines reminds."""
        fields: set[str] = set()
        for name in await self._call("ZRANGE", keys.due(self._shard), 0, -1):
            key = f"{keys.due(self._shard)}:{name.decode()}"
            fields.update(field.decode() for field in await self._call("LRANGE", key, 0, -1))
        return fields

    async def outbox_fields(self) -> set[str]:
        """Fields of the reservations in the outbox."""
        fields: set[str] = set()
        start = "-"
        while rows := await self._call(
            "XRANGE", keys.outbox(self._shard), start, "+", "COUNT", SCAN_COUNT
        ):
            fields.update(_field_of(values) for _, values in rows)
            start = f"({rows[-1][0].decode()}"
        return fields

    async def write_buyers(self, sku: str, counts: dict[str, int]) -> None:
        """Replace all counts of a SKU; not at one moment, so only while it is closed."""
        key = keys.buyers(self._shard, sku)
        await self._call("DEL", key)
        flat = [part for buyer, count in counts.items() for part in (buyer, count)]
        for start in range(0, len(flat), 2 * SCAN_COUNT):
            await self._call("HSET", key, *flat[start : start + 2 * SCAN_COUNT])

    def _relic(self, field: bytes, text: bytes) -> Relic:
        name, record = field.decode(errors="replace"), text.decode(errors="replace")
        try:
            return Relic(name, record, parse_record(name, self._shard, text))
        except InvariantBreach:
            return Relic(name, record, None)

    async def _hashes(self, names: Sequence[str]) -> list[list[Any]]:
        pipeline = self._client.pipeline(transaction=False)
        for name in names:
            pipeline.hmget(keys.sku(self._shard, name), _FIELDS)
        return await guarded(pipeline.execute(), self._clock, self._call_timeout_s)

    async def _call(self, *command: Any) -> Any:
        return await guarded(execute(self._client, *command), self._clock, self._call_timeout_s)


def _kept(values: Sequence[bytes | None]) -> KeptSku:
    words = [(value or b"").decode(errors="replace") for value in values]
    return KeptSku(
        terms=tuple(words[:6]),
        version=words[6],
        settings=words[7],
        move_seq=_whole(words[8]),
        move_refused=_whole(words[9]),
    )


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _field_of(values: Any) -> str:
    flat = values if isinstance(values, dict) else dict(zip(values[::2], values[1::2], strict=True))
    text: str = flat.get(b"r", b"").decode(errors="replace")
    return text.partition("|")[0]
