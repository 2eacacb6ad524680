"""Leases on a real Redis and a SQLite ledger, and writes under them that a fence may refuse."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha1
from typing import Any

import msgspec

from gateway.core.clock import SystemClock
from gateway.core.errors import LeaseLost
from gateway.core.leases import Fence
from gateway.lease import Leases, Pace
from gateway.ledger import Ledger, Move, MoveRequest
from gateway.store import keys
from gateway.store.client import ScriptChannel, connect, execute
from gateway.store.leases import RedisLeases
from gateway.store.scripts import Header, Script, lua_root

CLOCK = SystemClock()
QUICK = Pace(slack_s=1.0, expected_min_s=0.1)
"""Terms of 1.2 s for work expected to take 0.1 s."""

WRITE = """
if refuse_stale(ARGV[2], tonumber(ARGV[3])) then
  return { NOW, 0 }
end
redis.call('RPUSH', PREFIX .. 'written', ARGV[3])
return { NOW, 1 }
"""


def write_script(*, fenced: bool) -> Script:
    """A write to a shard under a lease; without its fence check it is the negative control."""
    root = lua_root() / "includes"
    parts = [(root / f"{name}.lua").read_text() for name in ("shard", "fence")]
    body = WRITE if fenced else WRITE[WRITE.index("redis.call") :]
    text = "\n".join([*parts, body])
    return Script("write", text, sha1(text.encode()).hexdigest(), Header("", (), (), ""))


class Site(msgspec.Struct):
    """One process's way to everything."""

    leases: Leases
    channel: ScriptChannel
    ledger: Ledger
    client: Any

    async def write_redis(self, fence: Fence, *, fenced: bool = True) -> bool:
        """Whether Redis took the write."""
        script = write_script(fenced=fenced)
        reply = await self.channel.run(script, [keys.reservations(0)], (0, fence.name, fence.token))
        return bool(reply[1])

    async def write_ledger(self, sku: str, fence: Fence | None) -> bool:
        """Whether the ledger took the write."""
        request = MoveRequest(sku=sku, kind="put", on_hand=1, fence=fence)
        try:
            return isinstance(await self.ledger.begin_move(request), Move)
        except LeaseLost:
            return False

    async def plain(self, *command: Any) -> Any:
        return await execute(self.client, *command)


@asynccontextmanager
async def site(
    redis_url: str, ledger_url: str, *, pace: Pace = QUICK, call_timeout_s: float = 1.0
) -> AsyncIterator[Site]:
    client = connect(redis_url, connect_timeout_s=2.0)
    ledger = await Ledger.open(ledger_url, CLOCK, migrate=True)
    channels = [ScriptChannel(client, CLOCK, call_timeout_s=call_timeout_s) for _ in range(2)]
    backend = RedisLeases(channels[0], CLOCK, call_timeout_s=call_timeout_s)
    leases = Leases(backend, ledger, CLOCK, process="test", pace=pace)
    try:
        yield Site(leases, channels[1], ledger, client)
    finally:
        await leases.close()
        for channel in channels:
            await channel.close()
        await ledger.close()
        await client.aclose()
