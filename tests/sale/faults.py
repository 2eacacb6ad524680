"""Parts that fail on demand, to stand in for the parts of a gateway."""

import asyncio
from collections.abc import Callable
from typing import Any

from gateway.core.errors import LedgerUnavailable, OutcomeUnknown, StoreUnavailable


class Failing:
    """Passes every call on, but for those named in `plan`.

    plan: method -> how often it fails; `error` is raised before the call is passed on, or, with
    `after`, once it has been.
    """

    def __init__(self, part: Any, error: Exception, plan: dict[str, int], *, after: bool) -> None:
        self._part = part
        self._error = error
        self._plan = plan
        self._after = after

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._part, name)
        if not self._plan.get(name):
            return method

        async def fail(*args: Any, **words: Any) -> Any:
            self._plan[name] -= 1
            if self._after:
                await method(*args, **words)
            raise self._error

        return fail


def unreachable(part: Any, method: str, times: int = 1) -> Any:
    """Redis is not reached."""
    return Failing(part, StoreUnavailable("not reached"), {method: times}, after=False)


def unanswered(part: Any, method: str, times: int = 1) -> Any:
    """Redis does it, and its answer is lost."""
    return Failing(part, OutcomeUnknown("no answer"), {method: times}, after=True)


def ledger_down(part: Any, method: str, times: int = 1) -> Any:
    return Failing(part, LedgerUnavailable("down"), {method: times}, after=False)


def ledger_unanswered(part: Any, method: str, times: int = 1) -> Any:
    return Failing(part, LedgerUnavailable("no answer"), {method: times}, after=True)


class Gate:
    """Holds up one call of a method until the test lets it through."""

    def __init__(self, part: Any, method: str) -> None:
        self._part = part
        self._method = method
        self._armed = True
        self.reached = asyncio.Event()
        self.open = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._part, name)
        return self._hold_up(method) if name == self._method else method

    def _hold_up(self, method: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*args: Any, **words: Any) -> Any:
            if self._armed:
                self._armed = False
                self.reached.set()
                await self.open.wait()
            return await method(*args, **words)

        return call


class Counting:
    """Passes every call on and counts them."""

    def __init__(self, part: Any) -> None:
        self._part = part
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._part, name)

        async def call(*args: Any, **words: Any) -> Any:
            self.calls.append(name)
            return await method(*args, **words)

        return call
