"""One lease as its holder sees it."""

import asyncio
from collections.abc import Callable

from gateway.core.clock import Clock
from gateway.core.errors import LeaseLost
from gateway.core.leases import Fence, Term
from gateway.lease.pace import trusted_s


class Lease:
    """A term that is ours until its deadline on our own monotonic clock.

    The deadline counts from the moment of sending: the granter began to count later, so it still
    keeps others out when we have stopped. Once lost it stays lost.

    lost: set as soon as the loss is known; to wait for beside the work.
    """

    def __init__(self, term: Term, ttl_ms: int, sent_s: float, clock: Clock) -> None:
        self.term = term
        self.ttl_ms = ttl_ms
        self.lost = asyncio.Event()
        self.on_loss: Callable[[], None] = lambda: None
        self._clock = clock
        self._why = "its term ran out before it was renewed"
        self._deadline_s = sent_s
        self.extend(sent_s)

    @property
    def name(self) -> str:
        """Of the lease."""
        return self.term.name

    @property
    def token(self) -> int:
        """Above that of every holder before."""
        return self.term.token

    @property
    def fence(self) -> Fence:
        """To be carried by every write under this lease."""
        return Fence(self.term.name, self.term.token)

    @property
    def remaining_s(self) -> float:
        """Until the deadline; negative when it has passed."""
        return self._deadline_s - self._clock.monotonic()

    @property
    def held(self) -> bool:
        """Whether it is ours at this instant."""
        return not self.lost.is_set() and self.remaining_s > 0

    def extend(self, sent_s: float) -> None:
        """The granter agreed to what we sent at `sent_s`, by our monotonic clock."""
        self._deadline_s = max(self._deadline_s, sent_s + trusted_s(self.ttl_ms))

    def lose(self, why: str = "") -> None:
        """It is no longer ours. The first reason stays."""
        if self.lost.is_set():
            return
        self._why = why or self._why
        self.lost.set()
        self.on_loss()

    def check(self) -> None:
        """Return while the lease is held. LeaseLost: stop at once."""
        if not self.held:
            self.lose()
            raise LeaseLost(f"lease {self.name} (token {self.token}) is lost: {self._why}")
