"""A store's commands with a clock of the test's own, and short names for what tests do."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from redis.asyncio import Redis

from gateway.core.clock import SystemClock
from gateway.core.codes import Reply
from gateway.core.ids import fingerprint, key_field
from gateway.core.model import HeldLine, Line, Reservation, SkuSettings, State
from gateway.core.transitions import Event
from gateway.store import keys
from gateway.store.client import ScriptChannel, connect, execute
from gateway.store.commands import (
    ActAnswer,
    ActRequest,
    HoldAnswer,
    HoldRequest,
    Pulse,
    StockCommands,
    StockMove,
)
from gateway.store.listing import Listing
from gateway.store.outbox import Entry, Outbox
from gateway.store.records import parse_record

START_MS = 1_800_000_000_000
TTL_MS = 900_000
WINDOW_MS = 1_800_000
CAP_MS = 14_400_000
BUCKET_MS = 100

LIVE = (State.HELD, State.PAYING)
BOUGHT = (*LIVE, State.CONFIRMED, State.SETTLED)

Want = Sequence[tuple[str, int]]


class Terms(NamedTuple):
    """The terms of a SKU as its hash has them."""

    on_hand: int
    available: int
    held: int = 0
    unsettled: int = 0
    safety_stock: int = 0
    sold: int = 0


def field_of(key: str) -> str:
    return key_field("shop", key)


def request(
    key: str, *lines: tuple[str, int], buyer: str = "ann", ttl_ms: int = 0, channel: str = "app"
) -> HoldRequest:
    """A hold request as the gateway makes it; the same arguments give the same fingerprint."""
    lines = lines or (("phone", 1),)
    body = repr((lines, buyer, ttl_ms, channel))
    return HoldRequest(
        field=field_of(key),
        middle=f"{fingerprint(key, body)}|{buyer}|{channel}||",
        buyer=buyer,
        channel=channel,
        ttl_ms=ttl_ms,
        lines=tuple(Line(sku, quantity) for sku, quantity in lines),
    )


class Shop:
    """One shard of a store, at a moment that the test decides.

    damaged: set it when a test breaks the data on purpose; nothing is recounted at its end then.
    real_clock: leaves time to the store.
    """

    def __init__(self, client: Redis, *, call_timeout_s: float = 10.0) -> None:
        self.client = client
        self.clock = SystemClock()
        self.now_ms = START_MS
        self.damaged = False
        self.pulses: dict[str, Pulse] = {}
        self.created: dict[str, int] = {}
        self.received: Counter[str] = Counter()
        self._seq: Counter[str] = Counter()
        self._given: dict[str, str] = {}
        self.call_timeout_s = call_timeout_s
        self.channel = ScriptChannel(client, self.clock, call_timeout_s=call_timeout_s)
        self.commands = StockCommands(
            self.channel, 0, on_pulse=self._on_pulse, clock_ms=lambda: self.now_ms
        )
        self.outbox = self.outbox_as("tester")
        self.listing = Listing(client, 0, self.clock, call_timeout_s=call_timeout_s)

    @classmethod
    async def open(cls, url: str) -> "Shop":
        shop = cls(connect(url, connect_timeout_s=5.0))
        await shop.outbox.create()
        return shop

    async def close(self) -> None:
        await self.channel.close()
        await self.client.aclose()

    def outbox_as(self, consumer: str) -> Outbox:
        return Outbox(self.client, 0, consumer, self.clock, call_timeout_s=self.call_timeout_s)

    def _on_pulse(self, pulses: Sequence[Pulse], _now_ms: int) -> None:
        self.pulses.update((pulse.sku, pulse) for pulse in pulses)

    def pass_ms(self, ms: int) -> None:
        self.now_ms += ms

    async def raw(self, *command: Any) -> Any:
        """One plain command to the server."""
        return await execute(self.client, *command)

    # Stock.

    async def move(
        self,
        sku: str,
        on_hand: int = 0,
        safety: int = 0,
        settings: SkuSettings | None = None,
        *,
        seq: int = 0,
    ) -> tuple[Reply, int]:
        """The SKU's next movement, or the one numbered `seq`."""
        number = seq or self._seq[sku] + 1
        code, a = await self.commands.move_stock(StockMove(sku, number, on_hand, safety, settings))
        if code is Reply.DONE:
            self._seq[sku] = number
            self.received[sku] += on_hand
        return code, a

    async def put(self, sku: str, on_hand: int, safety: int = 0, **settings: int) -> None:
        """A new SKU, or new settings and `on_hand` more units of an old one."""
        code, _ = await self.move(sku, on_hand, safety, SkuSettings(**settings))
        assert code is Reply.DONE

    # Reservations.

    async def hold(self, key: str, *lines: tuple[str, int], **options: Any) -> HoldAnswer:
        return (await self.hold_all(request(key, *lines, **options)))[0]

    async def hold_all(
        self, *requests: HoldRequest, default_ttl_ms: int = TTL_MS
    ) -> list[HoldAnswer]:
        answers = await self.commands.hold(requests, default_ttl_ms)
        for asked, answer in zip(requests, answers, strict=True):
            if answer.code == Reply.HELD:
                self.created[asked.field] = answer.now_ms
        return answers

    async def held(self, key: str, *lines: tuple[str, int], **options: Any) -> None:
        """A hold that must be granted."""
        answer = await self.hold(key, *lines, **options)
        assert answer.code == Reply.HELD, Reply(answer.code)

    def ask(self, key: str, argument: str | int = "") -> ActRequest:
        field = field_of(key)
        return ActRequest(field, self.created.get(field, START_MS), argument)

    async def act(
        self, event: Event | str, key_names: Iterable[str], argument: str | int
    ) -> list[ActAnswer]:
        """Confirming without a reference, each is paid by itself."""
        command = getattr(self.commands, Event(event).value)
        own = Event(event) is Event.CONFIRM and argument == ""
        asked = [self.ask(key, f"pay-{key}" if own else argument) for key in key_names]
        answers: list[ActAnswer] = await command(asked)
        return answers

    async def _code(self, event: Event, key: str, argument: str | int) -> Reply:
        return Reply((await self.act(event, [key], argument))[0].code)

    async def pay(self, key: str, window_ms: int = WINDOW_MS) -> Reply:
        return await self._code(Event.PAY, key, window_ms)

    async def confirm(self, key: str, ref: str = "") -> Reply:
        return await self._code(Event.CONFIRM, key, ref)

    async def release(self, key: str) -> Reply:
        return await self._code(Event.RELEASE, key, "")

    async def extend(self, key: str, ttl_ms: int, cap_ms: int = CAP_MS) -> Reply:
        return await self._code(Event.EXTEND, key, f"{ttl_ms}:{cap_ms}")

    async def take(self) -> list[Entry]:
        """What is new in the outbox, given to this shop's consumer."""
        entries = (await self.outbox.read_new(1000, 0.0)).entries
        self._given.update((entry.field, entry.entry_id) for entry in entries)
        return entries

    async def finish(self, event: Event | str, *key_names: str) -> list[Reply]:
        """settle or reject, with the outbox entries that were read for these keys."""
        fields = [field_of(key) for key in key_names]
        if not self._given.keys() >= set(fields):
            await self.take()
        entries = [(self._given.get(field, "0-1"), field) for field in fields]
        command = self.commands.settle if event == Event.SETTLE else self.commands.reject
        return await command(entries)

    async def settle(self, *key_names: str) -> list[Reply]:
        return await self.finish(Event.SETTLE, *key_names)

    async def reject(self, *key_names: str) -> list[Reply]:
        return await self.finish(Event.REJECT, *key_names)

    async def expire(self, limit: int = 1000) -> int:
        """One sweep of the reaper; how many expired."""
        return (await self.commands.expire_due(limit)).expired

    # What is there.

    async def hash(self, name: str) -> dict[str, str]:
        flat = await self.raw("HGETALL", name)
        pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
        return {key.decode(): value.decode() for key, value in pairs}

    async def terms(self, sku: str = "phone") -> Terms:
        kept = await self.hash(keys.sku(0, sku))
        return Terms(*(int(kept[name]) for name in Terms._fields))

    async def record(self, key: str) -> str:
        return (await self.raw("HGET", keys.reservations(0), field_of(key))).decode()

    async def row(self, key: str) -> Reservation:
        return parse_record(field_of(key), 0, await self.record(key))

    async def state(self, key: str) -> State:
        return (await self.row(key)).state

    async def rows(self) -> dict[str, Reservation]:
        kept = await self.hash(keys.reservations(0))
        return {field: parse_record(field, 0, record) for field, record in kept.items()}

    async def counts(self, sku: str = "phone") -> dict[str, int]:
        return await self.listing.buyers(sku)

    async def dump(self) -> dict[str, bytes]:
        """Every key of the database, byte for byte."""
        found = {}
        for name in sorted(await self.raw("KEYS", "*")):
            found[name.decode()] = await self.raw("DUMP", name)
        return found

    async def check(self) -> None:
        """Everything adds up: counters, rows, buyers' counts, reminders, outbox."""
        rows = await self.rows()
        for sku in await self.listing.sku_names("", 10_000):
            await self._check_sku(sku, rows)
        await self._check_reminders(rows)
        await self._check_outbox(rows)

    async def _check_sku(self, sku: str, rows: dict[str, Reservation]) -> None:
        terms = await self.terms(sku)
        parts = (terms.available, terms.held, terms.unsettled, terms.safety_stock)
        assert min(parts) >= 0, (sku, terms)
        assert terms.on_hand == sum(parts), (sku, terms)
        assert terms.held == units(rows, sku, LIVE), (sku, terms)
        assert terms.unsettled == units(rows, sku, [State.CONFIRMED]), (sku, terms)
        assert terms.sold == units(rows, sku, [State.SETTLED]), (sku, terms)
        assert terms.on_hand + terms.sold == self.received[sku], (sku, terms)
        assert await self.counts(sku) == counted_units(rows, sku), sku

    async def _check_reminders(self, rows: dict[str, Reservation]) -> None:
        due = await self.reminders("due")
        for field, row in rows.items():
            if row.state in LIVE:
                last = -(-row.deadline_ms // BUCKET_MS)
                reminded = [bucket for bucket, fields in due.items() if field in fields]
                assert min(reminded, default=last + 1) <= last, row
        ended = {field for fields in (await self.reminders("ended")).values() for field in fields}
        for field, row in rows.items():
            assert row.state in BOUGHT[:3] or field in ended, row

    async def reminders(self, index: str) -> dict[int, list[str]]:
        """The lists of an index, 'due' or 'ended': bucket -> fields."""
        prefix = keys.prefix(0) + index
        found = {}
        for name in await self.raw("ZRANGE", prefix, 0, -1):
            fields = await self.raw("LRANGE", f"{prefix}:{name.decode()}", 0, -1)
            found[int(name)] = [field.decode() for field in fields]
        return found

    async def _check_outbox(self, rows: dict[str, Reservation]) -> None:
        entries = await self.raw("XRANGE", keys.outbox(0), "-", "+")
        waiting = Counter(values[1].decode().partition("|")[0] for _, values in map(_flat, entries))
        confirmed = [field for field, row in rows.items() if row.state is State.CONFIRMED]
        assert waiting == Counter(confirmed)
        pending = (await self.raw("XPENDING", keys.outbox(0), keys.GROUP))["pending"]
        assert pending <= len(entries), "what was removed was acknowledged"


def _flat(entry: Any) -> tuple[bytes, list[bytes]]:
    name, values = entry
    if isinstance(values, dict):
        values = [part for pair in values.items() for part in pair]
    return name, values


def units(rows: dict[str, Reservation], sku: str, states: Iterable[State]) -> int:
    """Units of a SKU in reservations of these states."""
    wanted = set(states)
    return sum(
        line.quantity
        for row in rows.values()
        if row.state in wanted
        for line in row.lines
        if line.sku == sku
    )


def counted_units(rows: dict[str, Reservation], sku: str) -> dict[str, int]:
    """Units that count against the SKU's buyer limit, by buyer."""
    found: Counter[str] = Counter()
    for row in rows.values():
        for line in row.lines:
            if isinstance(line, HeldLine) and line.sku == sku and line.counted:
                if row.state in BOUGHT:
                    found[row.buyer] += line.quantity
    return dict(found)
