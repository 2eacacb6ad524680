"""Lets a confirm wait until the ledger has decided about its reservation."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable

from gateway.core.clock import Clock
from gateway.core.model import State


class Finished:
    """Wakes those who wait for a reservation to be settled or rejected.

    An announcement may be lost (it is a Redis publication), so a waiter whose time is up looks
    at the reservation itself before it answers. Once the gateway stops nobody waits any more:
    what is confirmed is settled by whoever reads the outbox next.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: defaultdict[str, set[asyncio.Future[State]]] = defaultdict(set)
        self._stopped = False

    def announce(self, state: State, fields: Iterable[str]) -> None:
        """The ledger has decided: the reservations under these fields are now in `state`."""
        for field in fields:
            for future in self._waiting.pop(field, ()):
                if not future.done():
                    future.set_result(state)

    def stop_waiting(self) -> None:
        """Wake everybody, and whoever comes later, with `confirmed`: the gateway stops."""
        self._stopped = True
        self.announce(State.CONFIRMED, list(self._waiting))

    def watch(self, field: str) -> "asyncio.Future[State]":
        """A future that is done once the field is announced. Call before confirming."""
        future: asyncio.Future[State] = asyncio.get_running_loop().create_future()
        if self._stopped:
            future.set_result(State.CONFIRMED)
        else:
            self._waiting[field].add(future)
        return future

    def forget(self, field: str, future: "asyncio.Future[State]") -> None:
        """Stop waiting."""
        future.cancel()
        waiting = self._waiting.get(field)
        if waiting is not None:
            waiting.discard(future)
            if not waiting:
                del self._waiting[field]

    async def wait(self, future: "asyncio.Future[State]", seconds: float) -> State | None:
        """The state announced within `seconds`; CONFIRMED when the gateway stops, else None."""
        try:
            async with self._clock.timeout(seconds):
                return await future
        except TimeoutError:
            return None
