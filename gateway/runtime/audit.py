"""The audit on the stores of a gateway."""

from contextlib import AsyncExitStack

from gateway.core.events import Tell, tell_nobody
from gateway.runtime.core import Core, open_commands
from gateway.sale.auditor import Auditor
from gateway.sale.comparing import Corner
from gateway.store.audit_commands import AuditCommands


def open_auditor(core: Core, stack: AsyncExitStack, *, tell: Tell = tell_nobody) -> Auditor:
    """An auditor with connections of its own, which close with the stack."""
    corners = [open_corner(core, shard, stack) for shard in range(core.config.shards)]
    return Auditor(corners, core.ledger, core.leases, core.config.audit, core.clock, tell=tell)


def open_corner(core: Core, shard: int, stack: AsyncExitStack) -> Corner:
    """One shard as the audit reaches it."""
    channel = core.store.channel()
    stack.push_async_callback(channel.close)
    commands = open_commands(core.store, shard, core.snapshot, stack)
    return Corner(commands, AuditCommands(channel, shard), core.store.listing(shard))
