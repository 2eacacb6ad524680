"""What can happen to a Redis, done to a sale's: emptied, put back in time, damaged key by key."""

from typing import Any, NamedTuple

from gateway.core.events import Event
from gateway.runtime.rebuild import rebuild
from gateway.sale.rebuild import Rebuilt
from gateway.store import keys
from gateway.workers.mark_watch import MarkKeeper, MarkWatch
from tests.sale.steps import Sale


class Copy(NamedTuple):
    """All keys of a Redis at one moment."""

    values: dict[bytes, bytes]


def is_housekeeping(key: bytes) -> bool:
    """Keys that change on a healthy system by themselves, or by taking a lease."""
    return key.endswith(b":marker") or b"leases" in key


async def copy_of(sale: Sale, *, housekeeping: bool = True) -> Copy:
    names = sorted(await sale.raw("KEYS", "*"))
    kept = [name for name in names if housekeeping or not is_housekeeping(name)]
    return Copy({name: await _dump(sale, name) for name in kept})


async def _dump(sale: Sale, name: bytes) -> bytes:
    client: Any = sale.core.store._client
    dumped: bytes = await client.dump(name)
    return dumped


async def flush(sale: Sale) -> None:
    await sale.raw("FLUSHALL")


async def put_back(sale: Sale, copy: Copy) -> None:
    """Redis as it was when the copy was made."""
    client: Any = sale.core.store._client
    await flush(sale)
    for name, value in copy.values.items():
        await client.restore(name, 0, value)


async def rebuilt(sale: Sale, *skus: str, **options: Any) -> Rebuilt:
    return await rebuild(sale.core, skus, **options)


def outcomes(done: Rebuilt) -> dict[str, str]:
    return {verdict.sku: verdict.outcome for verdict in done.verdicts}


async def nobody() -> bool:
    return False


class Watched:
    """A sale whose mark is watched by hand: `look` is what a gateway does four times a second."""

    def __init__(self, sale: Sale) -> None:
        self.guard = sale.core.guards[0]
        self.events: list[Event] = []
        self._watch = MarkWatch(self.guard, sale.core.clock, self.events.append)
        self.keeper = MarkKeeper(0, self.guard, sale.ledger, sale.core.clock, nobody)

    async def look(self) -> str:
        await self._watch.step()
        return self.guard.fault

    async def beat(self) -> str:
        await self.keeper.step()
        await self._watch.step()
        return self.guard.fault


async def shake(sale: Sale, field: str, sku: str, by: int) -> None:
    """Drift in one counter."""
    await sale.raw("HINCRBY", keys.sku(0, sku), field, by)
