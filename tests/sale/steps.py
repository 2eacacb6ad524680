"""The parts of a gateway, put together by hand, and small steps that the tests share."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from gateway.core.clock import Clock, SystemClock
from gateway.core.config import Config, SettlerConfig
from gateway.core.events import Tell, tell_nobody
from gateway.core.model import Line, SkuSettings, SkuTerms, State
from gateway.ledger import Ledger
from gateway.runtime.core import Core, open_core
from gateway.sale.catalogue import Moved
from gateway.sale.finished import Finished
from gateway.sale.outcomes import Answer, Granted, Refused
from gateway.sale.reservations import Reservations, hold_request
from gateway.sale.shard import Shard
from gateway.sale.verify import Report
from gateway.store import keys
from gateway.store.commands import HoldRequest, OnPulse, StockCommands
from gateway.store.outbox import Outbox
from gateway.store.store import Store
from gateway.workers.loop import Loop
from gateway.workers.settler import Settler
from gateway.workers.watchers import FinishedListener

WAIT_S = 45.0
"""Far more than anything a test waits for should take."""

PAST_MS = 1
"""A time to live that is over as soon as it has begun."""

_keys = count()


class Sale:
    """A core with a shard's batchers and the reservations; workers are added by the test."""

    def __init__(self, core: Core, stack: AsyncExitStack) -> None:
        self.core = core
        self.stack = stack
        self.loops: list[Loop] = []
        self.finished = Finished(core.clock)
        self.shard = self.open_shard(core.snapshot.on_pulse)
        self.reservations = self.open_reservations(self.shard)

    @property
    def ledger(self) -> Ledger:
        return self.core.ledger

    def open_shard(self, on_pulse: OnPulse) -> Shard:
        core = self.core
        store = core.store
        shard = Shard(
            0,
            store.channel,
            core.config,
            core.clock,
            on_pulse,
            open_confirm_channel=store.confirm_channel,
            guard=core.guards[0],
        )
        shard.start()
        self.stack.push_async_callback(shard.stop)
        return shard

    def open_reservations(self, shard: Shard) -> Reservations:
        """Those of one gateway; several may work on the same stores."""
        return Reservations([shard], self.finished, self.ledger, self.core.config.hold)

    def commands(self, **options: Any) -> StockCommands:
        channel = self.core.store.channel()
        self.stack.push_async_callback(channel.close)
        return StockCommands(channel, 0, **options)

    def settler(
        self,
        *,
        consumer: str = "one",
        ledger: Any = None,
        commands: Any = None,
        config: SettlerConfig | None = None,
        clock: Clock | None = None,
        on_step: Callable[[str], None] = lambda _step: None,
        tell: Tell = tell_nobody,
    ) -> Settler:
        return Settler(
            outbox_of(self.core.store, consumer),
            commands or self.commands(),
            ledger or self.ledger,
            config or self.core.config.settler,
            clock or self.core.clock,
            on_step=on_step,
            tell=tell,
        )

    def run(self, loop: Loop) -> None:
        """Start a worker's loop; it is stopped with the sale."""
        self.loops.append(loop)
        loop.start()

    async def stop_loops(self) -> None:
        """End the workers now rather than after what they wait for."""
        await asyncio.gather(*[loop.stop(patience_s=0.01) for loop in self.loops])
        self.loops.clear()

    async def listen(self) -> None:
        """Pass the ledger's decisions on to waiting confirms; returns once that works."""
        listener = FinishedListener(
            self.finished, lambda: self.core.store.finished(0), self.core.clock
        )
        self.run(listener.loop)
        await until(self._has_listener)

    async def _has_listener(self) -> bool:
        reply = await self.raw("PUBSUB", "NUMSUB", keys.finished_channel(0))
        return int(reply[1]) > 0

    async def raw(self, *command: Any, **options: Any) -> Any:
        """One plain Redis command."""
        client: Any = self.core.store._client
        return await client.execute_command(*command, **options)

    async def put(self, sku: str, on_hand: int, safety: int = 0, **settings: int) -> SkuTerms:
        moved = await self.core.catalogue.put(
            sku, on_hand, safety, SkuSettings(**settings), "tester"
        )
        assert isinstance(moved, Moved), moved
        return moved.terms

    async def terms(self, sku: str) -> SkuTerms:
        terms = await self.core.catalogue.get(sku)
        assert terms is not None, sku
        return terms

    async def hold(self, *lines: tuple[str, int], ttl_ms: int = 0, **words: str) -> Answer:
        """`words`: key (a new one unless given), buyer, caller."""
        return await self.reservations.reserve(request_for(*lines, ttl_ms=ttl_ms, **words))

    async def held(self, *lines: tuple[str, int], **words: Any) -> str:
        """The id of a new hold."""
        return granted(await self.hold(*lines, **words)).reservation.id

    async def confirmed(self, *lines: tuple[str, int], **words: Any) -> str:
        """The id of a new reservation, confirmed and waiting for the settler."""
        id_ = await self.held(*lines, **words)
        answer = granted(await self.reservations.confirm(id_, f"pay-{id_}", 0.0))
        assert answer.reservation.state is State.CONFIRMED
        return id_

    async def expired(self, *lines: tuple[str, int], **words: Any) -> str:
        """The id of a hold whose time is over, and whose units are on sale again."""
        id_ = await self.held(*lines, ttl_ms=PAST_MS, **words)
        await until(lambda: self.is_in(id_, State.EXPIRED))
        assert refused(await self.reservations.release(id_)).code == "reservation-expired"
        return id_

    async def state(self, id_: str) -> State:
        return granted(await self.reservations.show(id_)).reservation.state

    async def is_in(self, id_: str, state: State) -> bool:
        return await self.state(id_) is state

    async def outbox_length(self) -> int:
        return await outbox_of(self.core.store, "looker").length()

    async def pending(self) -> int:
        """Outbox entries that a settler was given and has not acknowledged."""
        summary = await self.raw("XPENDING", keys.outbox(0), keys.GROUP)
        return int(summary["pending"])

    async def redis_now_ms(self) -> int:
        return await self.core.places[0].listing.now_ms()

    async def verify(self) -> Report:
        return await self.core.verifier.verify()

    async def assert_sound(self) -> None:
        report = await self.verify()
        assert report.ok, [(f.sku, f.faults) for f in report.findings if f.faults]


def request_for(*lines: tuple[str, int], ttl_ms: int = 0, **words: str) -> HoldRequest:
    request = hold_request(
        words.get("caller", "shop"),
        words.get("key") or f"key-{next(_keys)}",
        words.get("buyer", "ann"),
        tuple(Line(sku, quantity) for sku, quantity in lines),
        0,
        "web",
    )
    return replace(request, ttl_ms=ttl_ms)


def outbox_of(store: Store, consumer: str) -> Outbox:
    outbox = store.outbox(0)
    outbox._consumer = consumer
    return outbox


def config_for(url: str, folder: Path, **sections: Any) -> Config:
    """SQLite in memory for memory://, else a file in `folder`."""
    ledger = "" if url == "memory://" else f"sqlite+aiosqlite:///{folder}/ledger.sqlite3"
    return Config(store=url, ledger=ledger, data_dir=str(folder), **sections)


@asynccontextmanager
async def open_sale(config: Config, clock: Clock | None = None) -> AsyncIterator[Sale]:
    async with (
        open_core(config, clock or SystemClock(), exclusive=True) as core,
        AsyncExitStack() as stack,
    ):
        sale = Sale(core, stack)
        try:
            yield sale
        finally:
            await sale.stop_loops()


async def settle_all(settler: Settler) -> None:
    """Steps until nothing is left that this settler could do now."""
    outbox = settler._outbox
    while settler._recovering or await outbox.length():
        before = await outbox.length()
        await settler.step()
        if not settler._recovering and await outbox.length() == before:
            return


async def step_on(settler: Settler) -> None:
    """Steps until one fails."""
    while True:
        await settler.step()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Return once the condition holds; looks often, and gives up only after very long."""
    async with asyncio.timeout(WAIT_S):
        while not await condition():
            await asyncio.sleep(0.005)


def granted(answer: Answer | Moved) -> Granted:
    assert isinstance(answer, Granted), answer
    return answer


def refused(answer: Any) -> Refused:
    assert isinstance(answer, Refused), answer
    return answer


def counts(terms: SkuTerms) -> Sequence[int]:
    """on_hand, available, held, unsettled, safety_stock, sold."""
    return (
        terms.on_hand,
        terms.available,
        terms.held,
        terms.unsettled,
        terms.safety_stock,
        terms.sold,
    )
