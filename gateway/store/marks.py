"""The mark of a shard in Redis, and the guard that judges by it whether the shard may sell."""

from typing import Any

from redis.asyncio import Redis

from gateway.core.clock import Clock
from gateway.core.errors import StoreLost
from gateway.core.marks import NO_MARK, Mark, fault_of
from gateway.store import keys, scripts
from gateway.store.client import execute, mark_of
from gateway.store.listing import guarded

_FIELDS = ("generation", "beats", "rebuild")


class Marks:
    """Reads and writes of one shard's mark. Every call may raise StoreUnavailable."""

    def __init__(self, client: Redis, shard: int, clock: Clock, *, call_timeout_s: float) -> None:
        self._client = client
        self._shard = shard
        self._key = keys.marker(shard)
        self._clock = clock
        self._call_timeout_s = call_timeout_s

    async def read(self) -> Mark:
        """The mark as it is; NO_MARK where there is none."""
        return mark_of(await self._call("HMGET", self._key, *_FIELDS))

    async def beat(self, known: Mark) -> Mark:
        """Raise the count, unless the mark is not `known` any more; the mark now."""
        text, name = scripts.load("beat_mark").text, keys.reservations(self._shard)
        reply = await self._call("EVAL", text, 1, name, 0, known.generation, known.beats)
        return mark_of(reply[1:])

    async def begin(self, generation: str) -> Mark:
        """Give an empty shard its generation, unless it has one; the mark now."""
        await self._call("HSETNX", self._key, "generation", generation)
        return await self.read()

    async def replace(self, mark: Mark) -> None:
        """Put the mark in the place of whatever is there; a rebuild in it stays."""
        await self._call("HSET", self._key, "generation", mark.generation, "beats", mark.beats)

    async def begin_rebuild(self, token: str) -> None:
        """Say that a rebuild goes on."""
        await self._call("HSET", self._key, "rebuild", token)

    async def end_rebuild(self) -> None:
        """Say that none goes on any more."""
        await self._call("HDEL", self._key, "rebuild")

    async def _call(self, *command: Any) -> Any:
        return await guarded(execute(self._client, *command), self._clock, self._call_timeout_s)


class Guard:
    """Whether one shard may sell, as this process knows it. Closed until somebody opens it again.

    known: the highest mark seen, in Redis or in the ledger. remedy: the command that helps.
    """

    def __init__(self, shard: int, marks: Marks, remedy: str) -> None:
        self.known = NO_MARK
        self.fault = ""
        self.remedy = remedy
        self.marks = marks
        self.question = ("HMGET", keys.marker(shard), *_FIELDS)

    def check(self) -> None:
        """Return while the shard may sell. Raises StoreLost."""
        if self.fault:
            raise StoreLost(f"{self.fault}; nothing is sold until it is rebuilt: {self.remedy}")

    def judge(self, found: Mark, known: Mark) -> None:
        """Take in a mark that was read in Redis after `known` was known."""
        if self.fault or not known.generation or known.generation != self.known.generation:
            return
        self.fault = fault_of(found, known)
        if not self.fault and found.beats > self.known.beats:
            self.known = found

    def learn(self, recorded: Mark) -> None:
        """Take in the ledger's mark: what Redis shows from now on must not be below it."""
        if recorded.generation != self.known.generation:
            self.fault = self.fault or "Redis is being rebuilt"
        elif recorded.beats > self.known.beats:
            self.known = recorded

    def reopen(self, found: Mark) -> None:
        """The shard is what ledger and Redis agree on: `found`."""
        self.known, self.fault = found, ""

    async def look(self) -> None:
        """Read the mark and judge by it. Raises StoreUnavailable."""
        known = self.known
        self.judge(await self.marks.read(), known)

    async def beat(self) -> None:
        """Raise the count and judge by it. Raises StoreUnavailable."""
        known = self.known
        self.judge(await self.marks.beat(known), known)
