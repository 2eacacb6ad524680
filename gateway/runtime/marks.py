"""Guards at start: does Redis still hold what it held when a gateway last looked?"""

import secrets
import shlex
from collections.abc import Sequence

from gateway.core.config import Config
from gateway.core.marks import Mark
from gateway.ledger import Ledger
from gateway.store.marks import Guard
from gateway.store.store import Store


def rebuild_command(config: Config) -> str:
    """What a person types to rebuild the store of this configuration."""
    path = config.origin.path
    return f"stockgate rebuild --config {shlex.quote(path)}" if path else "stockgate rebuild"


async def open_guards(store: Store, ledger: Ledger, config: Config) -> tuple[Guard, ...]:
    """One a shard, closed where Redis is not what the ledger remembers."""
    guards = []
    for shard in range(config.shards):
        guard = Guard(shard, store.marks(shard), rebuild_command(config))
        guard.known = await ledger.mark(shard)
        await guard.look()
        guards.append(guard)
    return tuple(guards)


async def begin_again(guards: Sequence[Guard], ledger: Ledger) -> None:
    """Open shards whose mark was lost where there was nothing else to lose."""
    for shard, guard in enumerate(guards):
        if guard.fault:
            new = Mark(secrets.token_hex(16), 0)
            recorded = await ledger.replace_mark(shard, new, guard.known.generation)
            await guard.marks.replace(recorded)
            guard.reopen(recorded)


async def settle_marks(guards: Sequence[Guard], ledger: Ledger) -> None:
    """Give shards their first mark; in Redis first, so that the ledger's is never ahead."""
    for shard, guard in enumerate(guards):
        if not guard.known.generation:
            found = await guard.marks.begin(secrets.token_hex(16))
            guard.reopen(await ledger.replace_mark(shard, found, ""))
            await guard.look()
