"""Takes leases, keeps them while the work goes on, and gives them back."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from gateway.core import metrics
from gateway.core.clock import Clock
from gateway.core.errors import (
    LeaseBusy,
    LeaseLost,
    LeaseUnavailable,
    LedgerUnavailable,
    OutcomeUnknown,
    StoreUnavailable,
)
from gateway.core.leases import Term, kind_of, pack
from gateway.lease.backend import LeaseBackend, TokenRecord
from gateway.lease.lease import Lease
from gateway.lease.pace import Durations, Pace
from gateway.lease.renewal import keep
from gateway.lease.stop import Stop

POLL_MAX_S = 1.0
POLL_MIN_S = 0.01
CLOSE_S = 5.0
"""How long `close` waits for terms to be given back; what is left ends by itself."""

_TROUBLE = (StoreUnavailable, OutcomeUnknown, LedgerUnavailable)
_log = logging.getLogger(__name__)


class Leases:
    """All leases of one process.

    process: how people find it, such as host and process id; every attempt adds its own chance.
    generation: of the tokens; it never falls while the record lives.
    """

    def __init__(
        self,
        backend: LeaseBackend,
        tokens: TokenRecord,
        clock: Clock,
        *,
        process: str,
        pace: Pace | None = None,
        generation: int = 0,
        chance: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self._backend = backend
        self._tokens = tokens
        self._clock = clock
        self._process = process
        self._pace = pace or Pace()
        self._floor = pack(generation, 0)
        self._chance = chance
        self._durations = Durations()
        self._chores: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def hold(
        self,
        name: str,
        *,
        expected_s: float,
        wait_s: float = 0.0,
        stop_when_lost: bool = False,
        learn: bool = True,
    ) -> AsyncIterator[Lease]:
        """Hold `name` for as long as the block lasts.

        expected_s: how long that is, as far as one knows; what is observed counts more.
        wait_s: how long to wait for another holder, or for an outage, to end.
        stop_when_lost: cancel the block when the lease is lost; otherwise ask `lease.check()`.
        learn: whether this block's duration tells how long the next will take. Not for leading,
            which goes on until somebody else takes over.

        Raises:
            LeaseBusy: another holds it, and still did after `wait_s`.
            LeaseUnavailable: it could not be granted, or its token not be recorded.
            LeaseLost: from `check()`, and at the end of a block during which it was lost.
            ValueError: there is no such lease.
        """
        lease = await self._acquire(name, self._ttl_ms(name, expected_s), wait_s)
        began_s = self._clock.monotonic()
        try:
            async with self._kept(lease, stop_when_lost=stop_when_lost):
                yield lease
        finally:
            held_s = self._clock.monotonic() - began_s
            self._observe(name, held_s, learn=learn)
            await self._give_back(lease.term)

    @asynccontextmanager
    async def hold_all(
        self,
        names: Iterable[str],
        *,
        expected_s: float,
        wait_s: float = 0.0,
        stop_when_lost: bool = False,
    ) -> AsyncIterator[Mapping[str, Lease]]:
        """Hold several, by name. They are taken in one order, so that no two wait for each other.

        wait_s: for all together. Otherwise as `hold`.
        """
        give_up_s = self._clock.monotonic() + wait_s
        async with AsyncExitStack() as stack:
            held: dict[str, Lease] = {}
            for name in sorted(set(names)):
                left_s = max(0.0, give_up_s - self._clock.monotonic())
                one = self.hold(
                    name, expected_s=expected_s, wait_s=left_s, stop_when_lost=stop_when_lost
                )
                held[name] = await stack.enter_async_context(one)
            yield held

    async def look(self, name: str) -> Term | None:
        """Who holds `name` now. Raises LeaseUnavailable; ValueError: there is no such lease."""
        kind_of(name)
        try:
            return await self._backend.look(name)
        except _TROUBLE as error:
            raise LeaseUnavailable(f"leases cannot be read: {error}") from error

    async def terms(self) -> list[Term]:
        """All that are held now, by name. Raises LeaseUnavailable."""
        try:
            return await self._backend.terms()
        except _TROUBLE as error:
            raise LeaseUnavailable(f"leases cannot be read: {error}") from error

    async def break_term(self, term: Term, *, actor: str) -> Term | None:
        """End a term for a holder that will not. None: it was over.

        First a token above its own is recorded, so that the ledger refuses what it still writes;
        it learns of its loss when it next renews. Raises LeaseUnavailable: it may be broken.
        """
        try:
            await self._tokens.record_token(term.name, term.token + 1)
            ended = await self._backend.release(term)
        except _TROUBLE as error:
            raise LeaseUnavailable(f"lease {term.name} may not be broken: {error}") from error
        if not ended:
            return None
        said = (term.name, term.owner, term.token, actor)
        _log.warning("lease broken: name=%s owner=%s token=%d by=%s", *said)
        return term

    async def close(self) -> None:
        """Wait, a while, until what was being given back is."""
        if self._chores:
            await asyncio.wait(set(self._chores), timeout=CLOSE_S)
        for chore in list(self._chores):
            chore.cancel()

    def _observe(self, name: str, held_s: float, *, learn: bool) -> None:
        metrics.LEASE_HOLD.labels(kind_of(name).value).observe(held_s)
        if learn:
            self._durations.add(name, held_s)

    def _ttl_ms(self, name: str, expected_s: float) -> int:
        kind_of(name)
        return self._pace.ttl_ms(self._durations.expected_s(name, expected_s))

    async def _acquire(self, name: str, ttl_ms: int, wait_s: float) -> Lease:
        kind, began_s = kind_of(name).value, self._clock.monotonic()
        while True:
            try:
                lease = await self._attempt(name, ttl_ms)
            except (LeaseBusy, LeaseUnavailable) as error:
                left_s = began_s + wait_s - self._clock.monotonic()
                if left_s <= 0:
                    reason = "busy" if isinstance(error, LeaseBusy) else "unavailable"
                    metrics.LEASES_REFUSED.labels(kind, reason).inc()
                    raise
                pause_s = min(self._pause_s(error), left_s)
            else:
                metrics.LEASE_WAIT.labels(kind).observe(self._clock.monotonic() - began_s)
                return lease
            await self._clock.sleep(pause_s)

    def _pause_s(self, error: LeaseBusy | LeaseUnavailable) -> float:
        """Until the next attempt: not all who wait come back at once."""
        ends_s = error.retry_after_s if isinstance(error, LeaseBusy) else POLL_MAX_S
        return max(POLL_MIN_S, min(ends_s, POLL_MAX_S) * (0.5 + self._clock.jitter() / 2))

    async def _attempt(self, name: str, ttl_ms: int) -> Lease:
        """One attempt under an owner of its own, so that nothing late can be mistaken for ours."""
        owner = f"{self._process}-{self._chance()}"
        try:
            floor = max(self._floor, await self._tokens.last_token(name))
            sent_s = self._clock.monotonic()
            term = await self._grant(name, owner, ttl_ms, floor)
        except _TROUBLE as error:
            raise LeaseUnavailable(f"lease {name} cannot be granted: {error}") from error
        if term.owner != owner:
            raise LeaseBusy(
                f"lease {name} is held by {term.owner}",
                holder=term.owner,
                retry_after_s=term.remaining_ms / 1000,
            )
        lease = Lease(term, ttl_ms, sent_s, self._clock)
        try:
            await self._record(lease)
        except BaseException:
            self._later(self._give_back(term))
            raise
        return lease

    async def _grant(self, name: str, owner: str, ttl_ms: int, floor: int) -> Term:
        """What the backend says. Where nobody knows what it did, it is undone, now or later."""
        try:
            return await self._backend.grant(name, owner, ttl_ms, floor)
        except OutcomeUnknown:
            await self._abandon(name, owner)
            raise
        except asyncio.CancelledError:
            self._later(self._abandon(name, owner))
            raise

    async def _record(self, lease: Lease) -> None:
        """Nobody works under a token that a backend without memory could hand out again."""
        try:
            recorded = await self._tokens.record_token(lease.name, lease.token)
        except LedgerUnavailable as error:
            told = f"lease {lease.name} cannot be granted: its token was not recorded: {error}"
            raise LeaseUnavailable(told) from error
        if not recorded or not lease.held:
            told = "a later token is on record" if not recorded else "it took too long"
            raise LeaseUnavailable(f"lease {lease.name} was not granted in time: {told}")

    @asynccontextmanager
    async def _kept(self, lease: Lease, *, stop_when_lost: bool) -> AsyncIterator[None]:
        """Renews while the block lasts, and tells of a loss."""
        kind, stop = kind_of(lease.name).value, Stop()
        if stop_when_lost:
            lease.on_loss = stop.now
        keeper = asyncio.create_task(keep(lease, self._backend, self._clock))
        metrics.LEASES_HELD.labels(kind).inc()
        try:
            yield
            lease.check()
        except asyncio.CancelledError as error:
            if not stop.end():
                raise
            raise LeaseLost(f"lease {lease.name} is lost: the work was stopped") from error
        finally:
            stop.end()
            metrics.LEASES_HELD.labels(kind).dec()
            if lease.lost.is_set():
                metrics.LEASES_LOST.labels(kind).inc()
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    async def _give_back(self, term: Term) -> None:
        """End a term; one that cannot be ended runs out."""
        with suppress(*_TROUBLE):
            await self._backend.release(term)

    async def _abandon(self, name: str, owner: str) -> None:
        """End the term that an unanswered attempt may have got; its token is never used."""
        with suppress(*_TROUBLE):
            term = await self._backend.look(name)
            if term is not None and term.owner == owner:
                await self._backend.release(term)

    def _later(self, chore: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)
