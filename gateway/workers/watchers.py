"""What keeps a gateway's memory fresh: the snapshot poll and the feed of finished reservations."""

from collections.abc import Callable

from gateway.core.clock import Clock
from gateway.core.config import SnapshotConfig
from gateway.core.model import State
from gateway.sale.finished import Finished
from gateway.sale.snapshot import Snapshot
from gateway.store.commands import StockCommands
from gateway.store.feed import Feed
from gateway.workers.loop import PROMPT_S, Loop

_STATES = {"settle": State.SETTLED, "reject": State.REJECTED}


class SnapshotPoller:
    """Refreshes the SKUs that somebody read lately."""

    def __init__(
        self, snapshot: Snapshot, commands: StockCommands, config: SnapshotConfig, clock: Clock
    ) -> None:
        self._snapshot = snapshot
        self._commands = commands
        self._config = config
        self.loop = Loop("snapshot", self.step, clock, backoff_max_s=PROMPT_S)

    async def step(self) -> float:
        """One refresh; the pause before the next, s."""
        skus = self._snapshot.lately_asked(self._config.poll_skus_max)
        if skus:
            now_ms, terms = await self._commands.snapshot(skus)
            self._snapshot.put(terms, now_ms)
            for gone in set(skus) - {t.sku for t in terms}:
                self._snapshot.forget(gone)
        return self._config.poll_ms / 1000


class FinishedListener:
    """Passes announcements on to the confirms that wait for them."""

    def __init__(self, finished: Finished, listen: Callable[[], Feed], clock: Clock) -> None:
        self._finished = finished
        self._listen = listen
        self._feed: Feed | None = None
        self.loop = Loop("finished", self.step, clock, backoff_max_s=PROMPT_S)

    async def step(self) -> float:
        """One announcement, or a second of silence."""
        if self._feed is None:
            self._feed = self._listen()
        try:
            event, fields = await anext(self._feed)
        except BaseException:
            self._feed = None
            raise
        if event:
            self._finished.announce(_STATES[event], fields)
        return 0.0
