"""The outbox: confirmed reservations on their way to the ledger, read by a consumer group."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from gateway.core.clock import Clock
from gateway.core.errors import InvariantBreach, StoreUnavailable
from gateway.core.model import Reservation
from gateway.store import keys
from gateway.store.client import execute, reason, refusal
from gateway.store.records import parse_record

START = "0-0"
"""Where a walk over entries begins, and what says that it has ended."""


class Entry(NamedTuple):
    """One confirmed reservation: its id in the stream, its field, and the reservation."""

    entry_id: str
    field: str
    reservation: Reservation
    text: str


class Garbled(NamedTuple):
    """An entry that cannot be read: its id in the stream, its text, and why."""

    entry_id: str
    text: str
    why: str


class Delivery(NamedTuple):
    """What one read gave: entries, and those that cannot be read; both were given to the reader.

    last: the id to read on after; START: nothing was read, or a walk has come to its end.
    """

    entries: list[Entry]
    garbled: list[Garbled]
    last: str = START

    @property
    def ids(self) -> list[str]:
        """The ids of all of them."""
        return [*(e.entry_id for e in self.entries), *(g.entry_id for g in self.garbled)]


NOTHING = Delivery([], [])


class Waiting(NamedTuple):
    """How much waits: entries, and how long the oldest has, ms."""

    length: int
    oldest_ms: int


class Tried(NamedTuple):
    """Failed tries of an entry, as noted: how many, when the first was and the next is due, ms."""

    tries: int
    first_ms: int
    due_ms: int


class Outbox:
    """Reads one shard's outbox as one consumer. Acknowledging is the settle command's part.

    Every call may raise StoreUnavailable; reading again is always safe.
    """

    def __init__(
        self, client: Redis, shard: int, consumer: str, clock: Clock, *, call_timeout_s: float
    ) -> None:
        self.shard = shard
        self._client = client
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

    async def read_new(self, count: int, block_s: float) -> Delivery:
        """Up to `count` entries nobody was given yet; waits up to `block_s` for the first."""
        return await self._read(">", count, block_s)

    async def read_own(self, count: int, after: str = START) -> Delivery:
        """Up to `count` entries this consumer was given and has not acknowledged."""
        return await self._read(after, count, 0.0)

    async def claim_idle(self, count: int, idle_s: float, after: str = START) -> Delivery:
        """Take over up to `count` entries that were left for `idle_s`, walking on from `after`.

        Whoever begins at START every time never comes past a head of entries in hand.
        """
        command = ("XAUTOCLAIM", self._stream, keys.GROUP, self._consumer, int(idle_s * 1000))
        reply = await self._call(*command, after, "COUNT", count)
        return self._delivery(reply[1])._replace(last=reply[0].decode())

    async def length(self) -> int:
        """Entries in the outbox, given out or not."""
        return int(await self._call("XLEN", self._stream))

    async def waiting(self) -> Waiting:
        """How much waits, and for how long; ids carry the time at which they were made."""
        rows = await self._call("XRANGE", self._stream, "-", "+", "COUNT", 1)
        seconds, micros = await self._call("TIME")
        now_ms = int(seconds) * 1000 + int(micros) // 1000
        oldest_ms = now_ms - int(rows[0][0].split(b"-")[0]) if rows else 0
        return Waiting(await self.length(), max(0, oldest_ms))

    async def tried(self, entry_ids: Sequence[str]) -> tuple[dict[str, Tried], int]:
        """What is noted of those that have failed before, and Redis's time, ms."""
        if not entry_ids:
            return {}, 0
        rows = await self._call("HMGET", keys.faults(self.shard), *entry_ids)
        found = {id_: _tried(row) for id_, row in zip(entry_ids, rows, strict=True) if row}
        if not found:
            return {}, 0
        seconds, micros = await self._call("TIME")
        return found, int(seconds) * 1000 + int(micros) // 1000

    async def _read(self, after: str, count: int, block_s: float) -> Delivery:
        block = ("BLOCK", max(1, int(block_s * 1000))) if block_s > 0 else ()
        command = ("XREADGROUP", "GROUP", keys.GROUP, self._consumer, "COUNT", count, *block)
        reply = await self._call(*command, "STREAMS", self._stream, after, patience_s=block_s)
        if not reply:
            return NOTHING
        streams = reply.items() if isinstance(reply, dict) else reply
        rows = [row for _, rows in streams for row in rows]
        await self._drop_gone(row[0] for row in rows if not row[1])
        return self._delivery(row for row in rows if row[1])

    async def _drop_gone(self, entry_ids: Iterable[bytes]) -> None:
        """Acknowledge what was deleted from the stream: there is nothing left to do about it."""
        gone = list(entry_ids)
        if gone:
            await self._call("XACK", self._stream, keys.GROUP, *gone)

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

    def _delivery(self, rows: Iterable[Any]) -> Delivery:
        delivery = Delivery([], [])
        last = START
        for row in rows:
            last = row[0].decode()
            entry = self._entry(last, row[1])
            if isinstance(entry, Garbled):
                delivery.garbled.append(entry)
            else:
                delivery.entries.append(entry)
        return delivery._replace(last=last)

    def _entry(self, entry_id: str, values: Any) -> Entry | Garbled:
        try:
            text = _pairs(values)[b"r"].decode()
            field, _, record = text.partition("|")
            return Entry(entry_id, field, parse_record(field, self.shard, record), text)
        except (InvariantBreach, ValueError, KeyError, TypeError, AttributeError) as error:
            return Garbled(entry_id, _shown(values), repr(error))


def _pairs(values: Any) -> dict[bytes, bytes]:
    return values if isinstance(values, dict) else dict(zip(*[iter(values)] * 2, strict=True))


def _shown(values: Any) -> str:
    """The entry's text, or whatever is there instead, without bytes that are none."""
    try:
        text = _pairs(values)[b"r"]
    except (ValueError, KeyError, TypeError):
        return repr(values)
    return text.decode(errors="replace").replace("\0", "\ufffd")


def _tried(row: bytes) -> Tried:
    tries, first_ms, _, due_ms, _ = row.decode().split("|", 4)
    return Tried(int(tries), int(first_ms), int(due_ms))
