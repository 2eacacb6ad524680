"""A running gateway without its HTTP server: batchers, workers, and the ASGI app."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from gateway.api.app import App
from gateway.api.auth import Authenticator
from gateway.api.services import Services
from gateway.core.errors import StockgateError
from gateway.core.events import Tell, tell_nobody
from gateway.runtime.audit import open_auditor
from gateway.runtime.core import Core, open_commands
from gateway.runtime.notify import make_notifier
from gateway.runtime.rebuild import is_rebuilding, rebuild
from gateway.runtime.receipts import open_receipts
from gateway.sale.finished import Finished
from gateway.sale.receipts import Receipts
from gateway.sale.reservations import Reservations
from gateway.sale.shard import Shard
from gateway.sale.stock_reads import StockReads
from gateway.store.commands import StockCommands
from gateway.workers.auditor import AuditWorker
from gateway.workers.auto_rebuild import AutoRebuild
from gateway.workers.loop import Loop
from gateway.workers.mark_watch import MarkKeeper, MarkWatch
from gateway.workers.outbox_watch import OutboxWatch
from gateway.workers.reaper import Reaper
from gateway.workers.settler import Settler
from gateway.workers.settling_watch import SettlingWatch
from gateway.workers.watchers import FinishedListener, SnapshotPoller

WATCH_S = 1.0
"""Between looks at whether the stores answer."""

MOVES_S = 5.0
"""Between looks for stock moves that an outage left half done."""


LETTERS_S = 5.0
"""Between looks for dead letters on which a decision was left half done."""


class Gateway:
    """Everything that works in one process; `app` answers HTTP."""

    def __init__(self, core: Core, stack: AsyncExitStack, receipts: Receipts) -> None:
        self.core = core
        self.draining = False
        config, clock = core.config, core.clock
        self._finished = finished = Finished(clock)
        self.notifier = make_notifier(config, clock)
        self._shards = [open_shard(core, n, tell=self.notifier.tell) for n in range(config.shards)]
        self._reads = StockReads(core.snapshot, core.catalogue, clock)
        self._loops = [
            loop for n in range(config.shards) for loop in self._workers(n, finished, stack)
        ]
        self._keepers = [
            MarkKeeper(n, guard, core.ledger, clock, self._is_rebuilding)
            for n, guard in enumerate(core.guards)
        ]
        self._loops += self._mark_loops()
        self._watch = Loop("stores", self._look_at_stores, clock)
        self._moves = Loop("moves", self._finish_moves, clock)
        self._letters = Loop("letters", self._drive_letters, clock)
        auditor = open_auditor(core, stack, tell=self.notifier.tell)
        self._audit = AuditWorker(auditor, config.audit, clock, self._is_unfit)
        self._faults: dict[str, str] = {"stores": "starting"}
        services = Services(
            config=config,
            clock=clock,
            auth=Authenticator(config.keys),
            reservations=Reservations(self._shards, finished, core.ledger, config.hold),
            stock=self._reads,
            catalogue=core.catalogue,
            places=core.places,
            letters=core.letters,
            audits=core.ledger.audits,
            demand_audit=self._audit.demand,
            not_ready=self.not_ready,
            receipts=receipts,
            notices=tuple(core.store.notices),
        )
        self.app = App(services)

    def _workers(self, shard: int, finished: Finished, stack: AsyncExitStack) -> list[Loop]:
        core, config, clock = self.core, self.core.config, self.core.clock
        store, snapshot, tell = core.store, core.snapshot, self.notifier.tell

        def commands() -> StockCommands:
            return open_commands(store, shard, snapshot, stack)

        outbox = store.outbox(shard)
        settler = Settler(outbox, commands(), core.ledger, config.settler, clock, tell=tell)
        watch = SettlingWatch(lambda: settler.loop.healthy, config.notify, clock, tell)
        reaper = Reaper(commands(), config.reaper, config.retention, clock, tell=tell)
        poller = SnapshotPoller(snapshot, commands(), config.snapshot, clock)
        listener = FinishedListener(finished, lambda: store.finished(shard), clock)
        outbox_watch = OutboxWatch(store.outbox(shard), commands(), clock)
        watches = [watch.loop, outbox_watch.loop]
        return [settler.loop, *watches, reaper.loop, poller.loop, listener.loop]

    def _mark_loops(self) -> list[Loop]:
        core, tell = self.core, self.notifier.tell
        watches = [MarkWatch(guard, core.clock, tell).loop for guard in core.guards]
        loops = [*watches, *(keeper.loop for keeper in self._keepers)]
        if core.config.auto_rebuild:
            loops.append(AutoRebuild(self._lost, self._rebuild, core.clock).loop)
        return loops

    def _lost(self) -> str:
        """Why a rebuild is needed; '' when none is."""
        faults = (guard.fault for guard in self.core.guards)
        interrupted = (keeper.interrupted for keeper in self._keepers)
        return next((why for why in (*faults, *interrupted) if why), "")

    async def _rebuild(self) -> bool:
        done = await rebuild(self.core, tell=self.notifier.tell)
        return all(verdict.outcome != "kept closed" for verdict in done.verdicts)

    async def _is_rebuilding(self) -> bool:
        return await is_rebuilding(self.core)

    async def _is_unfit(self) -> bool:
        """Whether there is nothing that an audit could compare."""
        return any(guard.fault for guard in self.core.guards) or await self._is_rebuilding()

    async def start(self) -> None:
        """Begin to work."""
        self.notifier.start()
        await self._look_at_stores()
        for shard in self._shards:
            shard.start()
        self._reads.start()
        for loop in self._all_loops():
            loop.start()

    async def stop(self) -> None:
        """Send what waits and end the workers; what they were given stays for the next start."""
        self.drain()
        await asyncio.gather(self._reads.stop(), *[shard.stop() for shard in self._shards])
        await asyncio.gather(*[loop.stop() for loop in self._all_loops()])
        await self.notifier.stop()

    def drain(self) -> None:
        """Fail /readyz, and let confirms be answered 202 instead of waiting for the ledger."""
        self.draining = True
        self._finished.stop_waiting()

    def _all_loops(self) -> tuple[Loop, ...]:
        return (*self._loops, self._watch, self._moves, self._letters, self._audit.loop)

    def not_ready(self) -> dict[str, str]:
        """Why it should get no traffic, part by part."""
        if self.draining:
            return {"gateway": "draining"}
        lost = next((g for g in self.core.guards if g.fault), None)
        if lost is not None:
            told = f"{lost.fault}; nothing is sold until it is rebuilt: {lost.remedy}"
            return {"store": told, **self._faults}
        return dict(self._faults)

    async def _finish_moves(self) -> float:
        await self.core.catalogue.recover()
        return MOVES_S

    async def _drive_letters(self) -> float:
        await self.core.letters.drive()
        return LETTERS_S

    async def _look_at_stores(self) -> float:
        faults = {}
        for name, ping in (("redis", self.core.store.ping), ("ledger", self.core.ledger.ping)):
            try:
                await ping()
            except StockgateError as error:
                faults[name] = str(error)
        self._faults = faults
        return WATCH_S


def open_shard(core: Core, number: int, tell: Tell = tell_nobody) -> Shard:
    """A shard of the core's store; it is for the caller to start and stop."""
    store = core.store
    on_pulse = core.snapshot.on_pulse
    return Shard(
        number,
        store.channel,
        core.config,
        core.clock,
        on_pulse,
        tell,
        store.confirm_channel,
        core.guards[number],
    )


@asynccontextmanager
async def open_reservations(core: Core) -> AsyncIterator[Reservations]:
    """Reservations without workers or HTTP, for single commands."""
    shards = [open_shard(core, n) for n in range(core.config.shards)]
    for shard in shards:
        shard.start()
    try:
        yield Reservations(shards, Finished(core.clock), core.ledger, core.config.hold)
    finally:
        await asyncio.gather(*[shard.stop() for shard in shards])


@asynccontextmanager
async def open_gateway(core: Core) -> AsyncIterator[Gateway]:
    """A gateway that works until the block ends."""
    async with AsyncExitStack() as stack:
        receipts = await open_receipts(core.config.receipts, core.ledger)
        gateway = Gateway(core, stack, receipts)
        await gateway.start()
        try:
            yield gateway
        finally:
            await gateway.stop()
