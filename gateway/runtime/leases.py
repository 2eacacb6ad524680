"""Leases on the stores of a gateway: Redis grants them, the ledger remembers their tokens."""

import os
import socket
from contextlib import AsyncExitStack

from gateway.core.clock import Clock
from gateway.core.leases import Fence, Term
from gateway.lease import Leases
from gateway.ledger import Ledger
from gateway.store.leases import raise_fence
from gateway.store.store import Store


def open_leases(store: Store, ledger: Ledger, clock: Clock, stack: AsyncExitStack) -> Leases:
    """This process's leases; what they still hold when the stack ends is given back."""
    channel = store.channel()
    stack.push_async_callback(channel.close)
    process = f"{socket.gethostname()}-{os.getpid()}"
    leases = Leases(store.leases(channel), ledger, clock, process=process)
    stack.push_async_callback(leases.close)
    return leases


async def raise_fences(store: Store, shards: int, fence: Fence) -> bool:
    """Tell every shard of a token before one reads what one is going to change under it.

    False: a later holder has been seen. Raises StoreUnavailable, OutcomeUnknown: some were told.
    """
    channel = store.channel()
    try:
        seen = [await raise_fence(channel, shard, fence) for shard in range(shards)]
    finally:
        await channel.close()
    return max(seen) == fence.token


async def break_lease(
    leases: Leases, store: Store, shards: int, name: str, *, actor: str
) -> Term | None:
    """End the term of `name`, and have ledger and Redis refuse what its holder still writes.

    None: nobody holds it. Raises LeaseUnavailable, StoreUnavailable, OutcomeUnknown: it may be
    broken, and may be broken again.
    """
    term = await leases.look(name)
    if term is None:
        return None
    await raise_fences(store, shards, Fence(name, term.token + 1))
    return await leases.break_term(term, actor=actor)
