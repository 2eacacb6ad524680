"""The outbox: confirmed reservations on their way to the ledger, read by a consumer group."""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from gateway.core.clock import Clock
from gateway.core.errors import InvariantBreach, StoreUnavailable
from gateway.core.model import Reservation
from gateway.store import keys
from gateway.store.client import execute, reason, refusal
from gateway.store.records import parse_record

_log = logging.getLogger(__name__)


class Entry(NamedTuple):
    """One confirmed reservation: its id in the stream, its field, and the reservation."""

    entry_id: str
    field: str
    reservation: Reservation


class Outbox:
    """Reads one shard's outbox as one consumer. Acknowledging is the settle command's part.

    Every call may raise StoreUnavailable; reading again is always safe.
    """

    def __init__(
        self, client: Redis, shard: int, consumer: str, clock: Clock, *, call_timeout_s: float
    ) -> None:
        self._client = client
        self._shard = shard
        self._stream = keys.outbox(shard)
        self._consumer = consumer
        self._clock = clock
        self._call_timeout_s = call_timeout_s

    async def create(self) -> None:
        """Create the stream and its group, unless they exist."""
        try:
            await self._call("XGROUP", "CREATE", self._stream, keys.GROUP, "0", "MKSTREAM")
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def read_new(self, count: int, block_s: float) -> list[Entry]:
        """Up to `count` entries nobody was given yet; waits up to `block_s` for the first."""
        return await self._read(">", count, block_s)

    async def read_own(self, count: int, after: str = "0") -> list[Entry]:
        """Up to `count` entries this consumer was given and has not acknowledged."""
        return await self._read(after, count, 0.0)

    async def claim_idle(self, count: int, idle_s: float) -> list[Entry]:
        """Take over up to `count` entries that another consumer left for `idle_s`."""
        reply = await self._call(
            "XAUTOCLAIM",
            self._stream,
            keys.GROUP,
            self._consumer,
            int(idle_s * 1000),
            "0-0",
            "COUNT",
            count,
        )
        return self._entries(reply[1])

    async def length(self) -> int:
        """Entries in the outbox, given out or not."""
        return int(await self._call("XLEN", self._stream))

    async def _read(self, after: str, count: int, block_s: float) -> list[Entry]:
        block = ("BLOCK", max(1, int(block_s * 1000))) if block_s > 0 else ()
        command = ("XREADGROUP", "GROUP", keys.GROUP, self._consumer, "COUNT", count, *block)
        reply = await self._call(*command, "STREAMS", self._stream, after, patience_s=block_s)
        if not reply:
            return []
        streams = reply.items() if isinstance(reply, dict) else reply
        return [entry for _, rows in streams for entry in self._entries(rows)]

    async def _call(self, *command: Any, patience_s: float = 0.0) -> Any:
        limit_s = self._call_timeout_s + patience_s
        try:
            async with self._clock.timeout(limit_s):
                return await execute(self._client, *command)
        except ResponseError as error:
            raise refusal(error) from error
        except (RedisError, OSError, TimeoutError) as error:
            told = reason(error, limit_s)
            raise StoreUnavailable(f"Redis cannot be reached: {told}") from error

    def _entries(self, rows: Sequence[Any]) -> list[Entry]:
        entries = []
        for row in rows:
            entry = self._entry(row)
            if entry is not None:
                entries.append(entry)
        return entries

    def _entry(self, row: Any) -> Entry | None:
        """None for what cannot be read: it stays pending, and is reported."""
        try:
            entry_id, values = row[0].decode(), row[1]
            pairs = (
                values if isinstance(values, dict) else dict(zip(*[iter(values)] * 2, strict=True))
            )
            field, _, record = pairs[b"r"].decode().partition("|")
            return Entry(entry_id, field, parse_record(field, self._shard, record))
        except (InvariantBreach, ValueError, KeyError, TypeError, AttributeError, IndexError):
            _log.exception("outbox %s holds an entry that cannot be read: %r", self._stream, row)
            return None
