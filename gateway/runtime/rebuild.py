"""Puts a rebuild together and runs it under its lease."""

from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack, suppress

from gateway.core.errors import InvariantBreach, StoreUnavailable
from gateway.core.events import Tell, tell_nobody
from gateway.core.leases import LeaseKind
from gateway.runtime.core import Core
from gateway.sale.rebuild import Part, Progress, Rebuilder, Rebuilt
from gateway.sale.survey import Site
from gateway.store.rebuilding import RebuildCommands

LEASE = LeaseKind.REBUILD.value
EXPECTED_S = 30.0


async def plan_rebuild(core: Core, skus: Iterable[str]) -> Rebuilt:
    """What a rebuild would do. Changes nothing."""
    async with AsyncExitStack() as stack:
        return await make_rebuilder(core, stack).plan(skus)


async def rebuild(
    core: Core,
    skus: Iterable[str] = (),
    *,
    tell: Tell = tell_nobody,
    on_step: Callable[[str], None] = lambda _step: None,
    progress: Callable[[Progress], None] = lambda _progress: None,
) -> Rebuilt:
    """Rebuild what is wrong. Raises LeaseBusy when another process does.

    LeaseLost, StoreUnavailable, OutcomeUnknown, LedgerUnavailable: run it again.
    """
    async with (
        AsyncExitStack() as stack,
        core.leases.hold(LEASE, expected_s=EXPECTED_S, stop_when_lost=True),
    ):
        rebuilder = make_rebuilder(core, stack, tell=tell, on_step=on_step, progress=progress)
        done = await rebuilder.run(skus)
    with suppress(StoreUnavailable, InvariantBreach):  # whoever runs next drives moves on
        await core.catalogue.recover()
    return done


async def is_rebuilding(core: Core) -> bool:
    """Whether some process is at it."""
    return await core.leases.look(LEASE) is not None


def make_rebuilder(
    core: Core,
    stack: AsyncExitStack,
    *,
    tell: Tell = tell_nobody,
    on_step: Callable[[str], None] = lambda _step: None,
    progress: Callable[[Progress], None] = lambda _progress: None,
) -> Rebuilder:
    """The rebuilder of all shards, on connections that close with the stack."""
    parts = [_part(core, shard, stack) for shard in range(core.config.shards)]
    return Rebuilder(parts, core.ledger, core.clock, tell=tell, on_step=on_step, progress=progress)


def _part(core: Core, shard: int, stack: AsyncExitStack) -> Part:
    store, channel = core.store, core.store.channel()
    stack.push_async_callback(channel.close)
    site = Site(shard, store.relics(shard), store.listing(shard))
    return Part(site, store.marks(shard), lambda token: RebuildCommands(channel, shard, token))
