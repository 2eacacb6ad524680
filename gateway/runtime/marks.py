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


async def settle_marks(guards: Sequence[Guard], ledger: Ledger, *, empty: bool) -> None:
    """Give shards their first mark. empty: both stores are, so a lost mark is no loss."""
    for shard, guard in enumerate(guards):
        if guard.fault and empty:
            new = Mark(secrets.token_hex(16), 0)
            recorded = await ledger.replace_mark(shard, new, guard.known.generation)
            await guard.marks.replace(recorded)
            guard.reopen(recorded)
        elif not guard.known.generation:
            found = await guard.marks.begin(secrets.token_hex(16))
            guard.reopen(await ledger.replace_mark(shard, found, ""))
            await guard.look()
