"""Listings: SKUs by name, reservations by scan. Bounded pages, each a few commands."""

from collections.abc import Awaitable
from typing import Any, NamedTuple, TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from gateway.core.clock import Clock
from gateway.core.errors import InvariantBreach, StoreUnavailable
from gateway.core.model import Reservation
from gateway.store import keys
from gateway.store.client import execute, reason
from gateway.store.records import parse_record

T = TypeVar("T")


class Page(NamedTuple):
    """Reservations as they are kept, Redis's clock, and the cursor that goes on (0: the end).

    unreadable: fields under which something else than a reservation is kept.
    """

    items: list[Reservation]
    now_ms: int
    cursor: int
    unreadable: tuple[str, ...] = ()


class Listing:
    """Reads of one shard that may take long in all, but not each. Raises StoreUnavailable."""

    def __init__(self, client: Redis, shard: int, clock: Clock, *, call_timeout_s: float) -> None:
        self._client = client
        self._shard = shard
        self._clock = clock
        self._call_timeout_s = call_timeout_s

    async def sku_names(self, after: str, limit: int) -> list[str]:
        """Up to `limit` SKUs after `after`, by name."""
        start = f"({after}" if after else "-"
        names = await self._call(
            "ZRANGEBYLEX", keys.skus(self._shard), start, "+", "LIMIT", 0, limit
        )
        return [name.decode() for name in names]

    async def reservations(self, cursor: int, count: int) -> Page:
        """About `count` reservations; over all pages each that stays is seen at least once.

        `count` is a hint: a page may hold many more. The same cursor and count give the same
        page again, while no reservation is made or forgotten.
        """
        name = keys.reservations(self._shard)
        cursor, flat = await self._call("HSCAN", name, cursor, "COUNT", count)
        now_ms = await self.now_ms()
        pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
        items, unreadable = [], []
        for field, record in pairs:
            try:
                items.append(parse_record(field.decode(), self._shard, record))
            except InvariantBreach:
                unreadable.append(field.decode(errors="replace"))
        return Page(items, now_ms, int(cursor), tuple(unreadable))

    async def buyers(self, sku: str) -> dict[str, int]:
        """Units that count against the SKU's buyer limit, by buyer."""
        flat = await self._call("HGETALL", keys.buyers(self._shard, sku))
        pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
        return {buyer.decode(): int(count) for buyer, count in pairs}

    async def buyer_counts(self, sku: str, most: int) -> dict[str, int] | None:
        """The same, a count that is no number as -1; None where there are more than `most`."""
        name = keys.buyers(self._shard, sku)
        if int(await self._call("HLEN", name)) > most:
            return None
        flat = await self._call("HGETALL", name)
        pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
        return {buyer.decode(): int(n) if n.isdigit() else -1 for buyer, n in pairs}

    async def outbox_fields(self, after: str, count: int) -> tuple[set[str], str]:
        """Fields on their way to the ledger, `count` entries a page, after an entry id ('' from
        the first); and the id that goes on ('': the end).
        """
        start = f"({after}" if after else "-"
        stream = keys.outbox(self._shard)
        rows = await self._call("XRANGE", stream, start, "+", "COUNT", count)
        fields = {_field_of(values) for _, values in rows} - {""}
        return fields, rows[-1][0].decode() if len(rows) == count else ""

    async def now_ms(self) -> int:
        """Redis's clock, ms since the epoch."""
        seconds, micros = await self._call("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    async def _call(self, *command: Any) -> Any:
        return await guarded(execute(self._client, *command), self._clock, self._call_timeout_s)


def _field_of(values: Any) -> str:
    """The field an outbox entry is about; '' where it does not tell."""
    flat = (
        values if isinstance(values, dict) else dict(zip(values[::2], values[1::2], strict=False))
    )
    text: bytes = flat.get(b"r", b"")
    return text.partition(b"|")[0].decode(errors="replace")


async def guarded(call: Awaitable[T], clock: Clock, timeout_s: float) -> T:
    """The call's result within `timeout_s`, or StoreUnavailable."""
    try:
        async with clock.timeout(timeout_s):
            return await call
    except ResponseError as error:
        raise StoreUnavailable(f"Redis refuses commands: {error}") from error
    except (RedisError, OSError, TimeoutError) as error:
        told = reason(error, timeout_s)
        raise StoreUnavailable(f"Redis cannot be reached: {told}") from error
