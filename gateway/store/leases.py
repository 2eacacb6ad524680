"""Leases in Redis: one script a call, judged by Redis's own clock."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from gateway.core.clock import Clock
from gateway.core.codes import Reply
from gateway.core.errors import StoreUnavailable
from gateway.core.leases import Fence, Term
from gateway.store import keys, scripts
from gateway.store.client import Arg, ScriptChannel

_KEYS = {"lease_grant": [keys.LEASE_TERMS, keys.LEASE_TOKENS]}


class RedisLeases:
    """Grants and ends terms. Calls may come from many tasks; they take turns.

    clock_ms: the time to impose on Redis (tests); 0 leaves its own.

    Raises (every call):
        StoreUnavailable: nothing happened. OutcomeUnknown: it may have happened.
    """

    def __init__(
        self,
        channel: ScriptChannel,
        clock: Clock,
        *,
        call_timeout_s: float,
        clock_ms: Callable[[], int] = lambda: 0,
    ) -> None:
        self._channel = channel
        self._clock = clock
        self._call_timeout_s = call_timeout_s
        self._clock_ms = clock_ms
        self._turn = asyncio.Lock()

    async def grant(self, name: str, owner: str, ttl_ms: int, floor: int) -> Term:
        """The new term, its token above `floor` and all before; or the term of who holds it."""
        _now_ms, _code, holder, token, remaining_ms = await self._run(
            "lease_grant", name, owner, ttl_ms, floor
        )
        return Term(name, holder.decode(), token, remaining_ms)

    async def renew(self, term: Term, ttl_ms: int) -> bool:
        """Let the term last `ttl_ms` from now; False: it is over."""
        reply = await self._run("lease_renew", term.name, term.owner, term.token, ttl_ms)
        return bool(reply[1] == Reply.DONE)

    async def release(self, term: Term) -> bool:
        """End the term; False: it was over."""
        reply = await self._run("lease_release", term.name, term.owner, term.token)
        return bool(reply[1] == Reply.DONE)

    async def look(self, name: str) -> Term | None:
        """The term that `name` is held under now."""
        found = _terms(await self._run("lease_list", name))
        return found[0] if found else None

    async def terms(self) -> list[Term]:
        """All terms that have not ended, by name."""
        return sorted(_terms(await self._run("lease_list", "")), key=lambda term: term.name)

    async def _run(self, command: str, *args: Arg) -> list[Any]:
        try:
            async with self._clock.timeout(self._call_timeout_s):
                await self._turn.acquire()
        except TimeoutError as error:
            raise StoreUnavailable("Redis is too slow: calls about leases wait in line") from error
        try:
            script, names = scripts.load(command), _KEYS.get(command, [keys.LEASE_TERMS])
            return await self._channel.run(script, names, (self._clock_ms(), *args))
        except asyncio.CancelledError:
            await self._channel.close()  # what it was about to read would answer the next call
            raise
        finally:
            self._turn.release()


def _terms(reply: Sequence[Any]) -> list[Term]:
    rows = zip(reply[1::4], reply[2::4], reply[3::4], reply[4::4], strict=True)
    return [Term(name.decode(), owner.decode(), token, ms) for name, owner, token, ms in rows]


async def raise_fence(channel: ScriptChannel, shard: int, fence: Fence) -> int:
    """Tell the shard of a lease's token; returns the highest it has seen.

    Where that is higher than the one given, the lease has had a later holder, whose writes alone
    are accepted. Raises StoreUnavailable, OutcomeUnknown: ask again, it does no harm.
    """
    args = (0, fence.name, fence.token)
    reply = await channel.run(scripts.load("raise_fence"), [keys.reservations(shard)], args)
    return int(reply[2])
