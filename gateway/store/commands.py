"""The Lua commands with types: what goes in, what comes out. One shard, one channel."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from gateway.core.codes import Reply
from gateway.core.model import Line, SkuSettings, SkuTerms
from gateway.store import keys, scripts
from gateway.store.client import Arg, ScriptChannel


class Pulse(NamedTuple):
    """Terms of a SKU right after a command touched it."""

    sku: str
    on_hand: int
    available: int
    held: int
    unsettled: int
    safety_stock: int
    sold: int
    version: int


class HoldRequest(msgspec.Struct, frozen=True, gc=False):
    """One reservation to be held: all lines or none.

    field: see core/ids.py; middle: the middle of its record, '<fingerprint>|<buyer>|<channel>||';
    ttl_ms: 0 leaves the deadline to the SKU's settings.
    """

    field: str
    middle: str
    buyer: str
    channel: str
    ttl_ms: int
    lines: tuple[Line, ...]

    def add_args(self, args: list[Arg]) -> None:
        """Append what lua/commands/hold.lua wants of a request."""
        lines = self.lines
        shape = f"{self.ttl_ms}:{len(lines)}" if self.ttl_ms or len(lines) > 1 else ""
        args += (self.middle, self.buyer, shape)
        for line in lines:
            args += (line.sku, line.quantity)


class HoldAnswer(NamedTuple):
    """What `hold` says of one request; `a` as lua/commands/hold.lua documents it; b: its line."""

    code: int
    a: Any
    b: int
    now_ms: int


class ActRequest(NamedTuple):
    """One step asked of an existing reservation; `argument` is the command's own."""

    field: str
    created_ms: int
    argument: Arg = ""


class ActAnswer(NamedTuple):
    """What became of it: a code, and the record as it is now (None when there is none)."""

    code: int
    record: bytes | None
    now_ms: int


class Sweep(NamedTuple):
    """One call of the reaper: reminders looked at, holds expired, holds left alone."""

    looked_at: int
    expired: int
    stuck: int


class StockMove(NamedTuple):
    """One numbered movement of the ledger; settings None leaves them as they are."""

    sku: str
    seq: int
    on_hand_delta: int
    safety_delta: int
    settings: SkuSettings | None = None


class Fault(NamedTuple):
    """A failed try of an outbox entry: tries counted before it, and the pause to the next."""

    entry_id: str
    tries_before: int
    pause_ms: int
    reason: str


class Noted(NamedTuple):
    """What is noted of an entry's failed tries; tries 0: it is no longer in the outbox."""

    tries: int
    first_ms: int
    due_ms: int
    now_ms: int


OnPulse = Callable[[Sequence[Pulse], int], None]


def _ignore(_pulses: Sequence[Pulse], _now_ms: int) -> None:
    return None


class StockCommands:
    """The commands of one shard over one channel.

    on_pulse: told the terms of every SKU that a command touched, and Redis's time.
    clock_ms: the time to impose on Redis (tests); 0 leaves its own.
    """

    def __init__(
        self,
        channel: ScriptChannel,
        shard: int,
        *,
        on_pulse: OnPulse = _ignore,
        clock_ms: Callable[[], int] = lambda: 0,
    ) -> None:
        self.shard = shard
        self._channel = channel
        self._on_pulse = on_pulse
        self._clock_ms = clock_ms
        self._reservations = [keys.reservations(shard)]
        self._with_outbox = [keys.reservations(shard), keys.outbox(shard)]

    async def hold(self, batch: Sequence[HoldRequest], default_ttl_ms: int) -> list[HoldAnswer]:
        """One answer a request, in order."""
        args: list[Arg] = [self._clock_ms(), default_ttl_ms, len(batch)]
        sku = _rush_for(batch)
        if sku:
            _add_columns(args, sku, batch)
        else:
            args += [request.field for request in batch]
            for request in batch:
                request.add_args(args)
        script = scripts.load("hold_rush" if sku else "hold")
        reply = await self._channel.run(script, self._reservations, args)
        now_ms, end = reply[0], 1 + 2 * len(batch)
        self._feed(reply, end)
        return [
            HoldAnswer(code & 63, a, code >> 6, now_ms)
            for code, a in zip(reply[1:end:2], reply[2:end:2], strict=True)
        ]

    async def pay(self, batch: Sequence[ActRequest]) -> list[ActAnswer]:
        """Begin payment; argument: payment window, ms."""
        return await self._act("pay", self._reservations, batch)

    async def confirm(self, batch: Sequence[ActRequest]) -> list[ActAnswer]:
        """Confirm; argument: payment reference."""
        return await self._act("confirm", self._with_outbox, batch)

    async def release(self, batch: Sequence[ActRequest]) -> list[ActAnswer]:
        """Release; no argument."""
        return await self._act("release", self._reservations, batch)

    async def extend(self, batch: Sequence[ActRequest]) -> list[ActAnswer]:
        """Extend; argument: 'ttl:cap', both ms."""
        return await self._act("extend", self._reservations, batch)

    async def settle(self, entries: Sequence[tuple[str, str]]) -> list[Reply]:
        """Mirror committed deductions; entries are (outbox entry id, field)."""
        return await self._finish("settle", entries)

    async def reject(self, entries: Sequence[tuple[str, str]]) -> list[Reply]:
        """Mirror refused deductions; entries are (outbox entry id, field)."""
        return await self._finish("reject", entries)

    async def expire_due(self, limit: int) -> Sweep:
        """Expire what is due, looking at up to `limit` reminders.

        Large carts take several calls, each as short as any.
        """
        looked_at = expired = stuck = 0
        unfinished = True
        while unfinished and looked_at < limit:  # each call looks at one at least
            args = [self._clock_ms(), limit - looked_at]
            reply = await self._channel.run(scripts.load("expire_due"), self._reservations, args)
            self._feed(reply, 5)
            looked_at += reply[1]
            expired += reply[2]
            stuck += reply[3]
            unfinished = reply[4] == 1
        return Sweep(looked_at, expired, stuck)

    async def forget_ended(self, retention_ms: int, limit: int) -> tuple[int, int]:
        """Forget reservations that ended over `retention_ms` ago: (looked at, forgotten)."""
        args = [self._clock_ms(), retention_ms, limit]
        reply = await self._channel.run(scripts.load("forget_ended"), self._reservations, args)
        return reply[1], reply[2]

    async def move_stock(self, move: StockMove) -> tuple[Reply, int]:
        """Apply a movement: (code, units available when it is TOO_FEW)."""
        settings: tuple[Arg, ...] = ("",) * 5
        if move.settings is not None:
            settings = msgspec.structs.astuple(move.settings)
        args: list[Arg] = [
            self._clock_ms(),
            move.sku,
            move.seq,
            move.on_hand_delta,
            move.safety_delta,
        ]
        args += settings
        reply = await self._channel.run(scripts.load("move_stock"), self._reservations, args)
        self._feed(reply, 3)
        return Reply(reply[1]), reply[2]

    async def snapshot(
        self, skus: Sequence[str], *, expire_max: int = 128
    ) -> tuple[int, list[SkuTerms]]:
        """Redis's time, ms, and the terms of those SKUs that exist."""
        args: list[Arg] = [self._clock_ms(), expire_max, *skus]
        reply = await self._channel.run(scripts.load("snapshot"), self._reservations, args)
        terms = [terms_of(reply[i : i + 14]) for i in range(1, len(reply), 14)]
        return reply[0], terms

    async def show(self, fields: Sequence[str]) -> tuple[int, list[bytes]]:
        """Redis's time, ms, and each record (b'' where there is none)."""
        args: list[Arg] = [self._clock_ms(), *fields]
        reply = await self._channel.run(scripts.load("show"), self._reservations, args)
        return reply[0], reply[1:]

    async def restore(self, items: Sequence[tuple[str, str]]) -> list[bytes]:
        """Write records (field, record in state x) where there are none; what is there then."""
        if not items:
            return []
        args: list[Arg] = [self._clock_ms(), len(items)]
        for item in items:
            args += item
        reply = await self._channel.run(scripts.load("restore"), self._reservations, args)
        return reply[1:]

    async def _act(
        self, name: str, key_names: Sequence[str], batch: Sequence[ActRequest]
    ) -> list[ActAnswer]:
        args: list[Arg] = [self._clock_ms(), len(batch)]
        for request in batch:
            args += request
        reply = await self._channel.run(scripts.load(name), key_names, args)
        now_ms, end = reply[0], 1 + 2 * len(batch)
        self._feed(reply, end)
        return [ActAnswer(reply[i], reply[i + 1] or None, now_ms) for i in range(1, end, 2)]

    async def _finish(self, name: str, entries: Sequence[tuple[str, str]]) -> list[Reply]:
        args: list[Arg] = [self._clock_ms(), keys.GROUP, len(entries)]
        for entry in entries:
            args += entry
        reply = await self._channel.run(scripts.load(name), self._with_outbox, args)
        end = 1 + len(entries)
        self._feed(reply, end)
        return [Reply(code) for code in reply[1:end]]

    def _feed(self, reply: list[Any], start: int) -> None:
        if start < len(reply):
            self._on_pulse(
                [
                    Pulse(reply[i].decode(), *reply[i + 1 : i + 8])
                    for i in range(start, len(reply), 8)
                ],
                reply[0],
            )

    async def note_faults(self, faults: Sequence[Fault]) -> list[Noted]:
        """Count a failed try of each entry; what is noted of each now."""
        args: list[Arg] = [self._clock_ms(), len(faults)]
        for fault in faults:
            args += fault
        reply = await self._channel.run(scripts.load("note_faults"), self._with_outbox, args)
        return [
            Noted(reply[i], reply[i + 1], reply[i + 2], reply[0]) for i in range(1, len(reply), 3)
        ]

    async def bury(self, entry_ids: Sequence[str]) -> int:
        """Take entries out of the outbox without touching their reservations; how many it had."""
        args: list[Arg] = [self._clock_ms(), keys.GROUP, *entry_ids]
        reply = await self._channel.run(scripts.load("bury"), self._with_outbox, args)
        return int(reply[1])

    async def redrive(self, field: str, created_ms: int, token: str) -> tuple[Reply, bytes | None]:
        """Put a confirmed reservation into the outbox once more, once a token; and its record.

        DONE, UNCHANGED: it is on its way; anything else: it is not confirmed, or not there.
        """
        args: list[Arg] = [self._clock_ms(), field, created_ms, token]
        _, code, record = await self._channel.run(scripts.load("redrive"), self._with_outbox, args)
        return Reply(code), record or None

    async def tidy_outbox(self, silence_ms: int, limit: int) -> tuple[int, int]:
        """Remove consumers that are gone and notes that are void: (consumers, notes)."""
        args: list[Arg] = [self._clock_ms(), keys.GROUP, silence_ms, limit]
        reply = await self._channel.run(scripts.load("tidy_outbox"), self._with_outbox, args)
        return reply[1], reply[2]


def _rush_for(batch: Sequence[HoldRequest]) -> str:
    """The SKU of which every request wants one line for as long as its holds last, or ""."""
    sku = batch[0].lines[0].sku
    for request in batch:
        if request.ttl_ms or len(request.lines) != 1 or request.lines[0].sku != sku:
            return ""
    return sku


def _add_columns(args: list[Arg], sku: str, batch: Sequence[HoldRequest]) -> None:
    """Append what lua/commands/hold_rush.lua wants."""
    args.append(sku)
    args += [request.field for request in batch]
    args += [request.buyer for request in batch]
    args += [request.middle for request in batch]
    args += [request.lines[0].quantity for request in batch]


def terms_of(values: Sequence[Any]) -> SkuTerms:
    """The 14 values that lua/includes/facts.lua appends."""
    name, on_hand, available, held, unsettled, safety, sold, version = values[:8]
    limit, ttl, starts, ends, seq, fuse = values[8:]
    return SkuTerms(
        sku=name.decode(),
        on_hand=on_hand,
        available=available,
        held=held,
        unsettled=unsettled,
        safety_stock=safety,
        sold=sold,
        version=version,
        move_seq=seq,
        settings=SkuSettings(limit, ttl, starts, ends, fuse),
    )
