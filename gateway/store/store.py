"""The store as the rest of the gateway opens it: one Redis, whichever way it runs."""

import os
import socket
from typing import TYPE_CHECKING, Self

from redis.asyncio import Redis

from gateway.core.clock import Clock
from gateway.core.config import Config
from gateway.core.errors import SetupError
from gateway.store import feed, preflight
from gateway.store.client import Judge, ScriptChannel, connect, execute
from gateway.store.leases import RedisLeases
from gateway.store.listing import Listing, guarded
from gateway.store.marks import Marks
from gateway.store.outbox import Outbox
from gateway.store.relics import Relics
from gateway.store.replicated import ReplicatedChannel

if TYPE_CHECKING:
    from gateway.store.embedded import EmbeddedValkey

EMBEDDED = "embedded://"
MEMORY = "memory://"


def is_unmade(config: Config) -> bool:
    """Whether the store would be an embedded one, and none was ever started on the data folder.

    A ledger left alone there counts as a store: what was sold is kept in it.
    """
    if config.store != EMBEDDED:
        return False
    from gateway.store.embedded_files import Folder

    folder = Folder(config.data_dir)
    return not folder.data.exists() and not (folder.data_dir / "ledger.sqlite3").exists()


class Store:
    """Redis, its connections, and the embedded server if it is ours.

    notices: what this store does not promise, or had to repair; to be shown at start.
    """

    def __init__(self, client: Redis, url: str, config: Config, clock: Clock) -> None:
        self.url = url
        self.notices: list[str] = []
        self._client = client
        self._clock = clock
        self._call_timeout_s = config.redis.call_timeout_ms / 1000
        self._confirm = config.confirm
        self._server: EmbeddedValkey | None = None

    @classmethod
    async def open(cls, config: Config, clock: Clock, *, exclusive: bool) -> Self:
        """Open the configured store and look it over.

        exclusive: own the embedded server, as `serve` must; otherwise attach to a running one.
        Raises SetupError when it cannot be used.
        """
        server = None
        url = config.store
        if url == MEMORY and not exclusive:
            raise SetupError(
                'store = "memory://" lives inside the gateway\'s own process',
                hint="Use the gateway's HTTP API, or another store.",
            )
        if url == EMBEDDED:
            from gateway.store import embedded

            open_server = embedded.start if exclusive else embedded.start_or_attach
            server = await open_server(config.data_dir, clock=clock)
            url = server.url
        client = connect(url, connect_timeout_s=config.redis.connect_timeout_ms / 1000)
        store = cls(client, url, config, clock)
        store._server = server
        try:
            notices = await preflight.check(
                client, url, config.shards, clock, store._call_timeout_s, config.confirm
            )
        except BaseException:
            await store.close()
            raise
        store.notices = [*(server.notices if server else []), *notices]
        return store

    def channel(self, judge: Judge | None = None) -> ScriptChannel:
        """A connection of its own for scripts; `judge` looks at whatever it connects to."""
        return ScriptChannel(
            self._client, self._clock, call_timeout_s=self._call_timeout_s, judge=judge
        )

    def marks(self, shard: int) -> Marks:
        """The shard's mark."""
        return Marks(self._client, shard, self._clock, call_timeout_s=self._call_timeout_s)

    def relics(self, shard: int) -> Relics:
        """What a rebuild finds in a shard."""
        return Relics(self._client, shard, self._clock, call_timeout_s=self._call_timeout_s)

    def leases(self, channel: ScriptChannel) -> RedisLeases:
        """What grants leases, over a connection of its own."""
        return RedisLeases(channel, self._clock, call_timeout_s=self._call_timeout_s)

    def confirm_channel(self, judge: Judge | None = None) -> ScriptChannel:
        """The same for confirms, which may have to reach replicas before they are answered."""
        rule = self._confirm
        if rule.durability != "replicated":
            return self.channel(judge)
        return ReplicatedChannel(
            self._client,
            self._clock,
            call_timeout_s=self._call_timeout_s,
            replicas_min=rule.replicas_min,
            wait_ms=rule.replicas_wait_ms,
            judge=judge,
        )

    def listing(self, shard: int) -> Listing:
        """Reads of a shard that may take long."""
        return Listing(self._client, shard, self._clock, call_timeout_s=self._call_timeout_s)

    def outbox(self, shard: int) -> Outbox:
        """The shard's outbox, read as this process."""
        # One process owns an embedded store, so its successor continues its work at once; a
        # stranger's work is taken over after a while.
        consumer = "gateway" if self._server else f"{socket.gethostname()}-{os.getpid()}"
        return Outbox(
            self._client, shard, consumer, self._clock, call_timeout_s=self._call_timeout_s
        )

    def finished(self, shard: int) -> feed.Feed:
        """What settle and reject announce."""
        return feed.finished(self._client, shard, self._clock, call_timeout_s=self._call_timeout_s)

    def ended(self) -> str | None:
        """What our own server said when it ended without being asked; None while it runs."""
        return self._server.ended() if self._server else None

    async def ping(self) -> None:
        """Return when Redis answers. Raises StoreUnavailable."""
        await guarded(execute(self._client, "PING"), self._clock, self._call_timeout_s)

    async def close(self) -> None:
        """Close the connections, and end the server if it is ours."""
        await self._client.aclose()
        if self._server is not None:
            await self._server.stop()
