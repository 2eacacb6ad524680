"""What a lease needs of others: somebody who grants it, and somebody who remembers tokens."""

from typing import Protocol

from gateway.core.leases import Term


class LeaseBackend(Protocol):
    """Grants terms, at most one of a name at a time by its own clock.

    Raises (every call):
        StoreUnavailable: nothing happened. OutcomeUnknown: it may have happened, now or later.
    """

    async def grant(self, name: str, owner: str, ttl_ms: int, floor: int) -> Term:
        """A new term of `ttl_ms` for `owner`, its token above `floor` and every one before.

        Held by another: the holder's term, told by its owner, and nothing changes.
        """
        ...

    async def renew(self, term: Term, ttl_ms: int) -> bool:
        """Let this very term last `ttl_ms` from now; False, and no change, when it is over."""
        ...

    async def release(self, term: Term) -> bool:
        """End this very term; False when it was over."""
        ...

    async def look(self, name: str) -> Term | None:
        """The term that `name` is held under now."""
        ...

    async def terms(self) -> list[Term]:
        """All terms that have not ended, by name."""
        ...


class TokenRecord(Protocol):
    """Remembers the highest token of each lease where a backend that forgets cannot harm it.

    Raises LedgerUnavailable: the token may or may not have been recorded.
    """

    async def last_token(self, name: str) -> int:
        """The highest token recorded; 0 when none was."""
        ...

    async def record_token(self, name: str, token: int) -> bool:
        """Record a token above all before; False, and no change, when it is not above them."""
        ...


class MemoryTokens:
    """A record as durable as this process: for tests, and for stores that live in it."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    async def last_token(self, name: str) -> int:
        return self._last.get(name, 0)

    async def record_token(self, name: str, token: int) -> bool:
        if token <= self._last.get(name, 0):
            return False
        self._last[name] = token
        return True
