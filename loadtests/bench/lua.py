"""What a hold costs Redis: the hold script by batch size and by what is bought.

Beside it, in the same rounds: a pipelined SET of the record that the hold writes, and a script
that does nothing with the hold's own arguments.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, cast

from msgspec.structs import replace

from gateway.core.codes import Reply
from gateway.store import keys
from gateway.store.client import Arg, ScriptChannel
from gateway.store.commands import HoldRequest, StockCommands
from gateway.store.scripts import Script
from loadtests.bench.figures import Figure, Section, Verdict, at_most, over
from loadtests.bench.link import Cost, Meter, pack, result
from loadtests.bench.scale import Scale
from loadtests.bench.servers import Fsync, PrivateServer, kinds_here
from loadtests.bench.shop import GONE, HOLD_TTL_MS, Shop

SECTION = "lua"
TARGET_US = 8.0
TARGET_BATCH = 128
MIX_BATCH = 128
CALLS_MAX = 200
CALLS_MIN = 3
SET = "pipelined SET of the same bytes"
NOTHING = "script that does nothing, same arguments"
FSYNCS: tuple[Fsync, ...] = ("off", "always")

HOT_HOLD = re.compile(r"hold, one hot SKU, batch (\d+)")

Lane = Callable[[], Cost]


class Bench:
    """The lanes of one server: each measures one thing once."""

    def __init__(self, server: PrivateServer, scale: Scale, seed: int) -> None:
        self.server = server
        self.link = server.link()
        self.shop = Shop(self.link, seed)
        self._scale = scale
        self._meter = Meter(self.link)
        self._set_meter = Meter(self.link, "set")
        self._captured = StockCommands(cast(ScriptChannel, _Capture()), 0)
        self._nothing = self.link.call("SCRIPT", "LOAD", "return 1")
        self.shop.open()

    def lanes(self) -> dict[str, Lane]:
        """What is measured, by name."""
        shop = self.shop
        sizes = {
            f"hold, one hot SKU, batch {size}": self._holds(size, shop.one_line)
            for size in self._scale.batches
        }
        return {
            **sizes,
            f"hold, Zipf over 200 SKUs, batch {MIX_BATCH}": self._holds(
                MIX_BATCH, shop.from_catalogue
            ),
            f"hold, carts of 3 lines, batch {MIX_BATCH}": self._holds(MIX_BATCH, shop.cart),
            f"replay, batch {MIX_BATCH}": self._replays,
            f"refusal (sold out), batch {MIX_BATCH}": self._refusals,
            NOTHING: self._nothing_at_all,
            SET: self._sets,
        }

    def _holds(self, size: int, make: Callable[[], HoldRequest]) -> Lane:
        def measure() -> Cost:
            return self._measure(self._batches(size, make), Reply.HELD)

        return measure

    def _batches(self, size: int, make: Callable[[], HoldRequest]) -> list[list[HoldRequest]]:
        calls = min(CALLS_MAX, max(CALLS_MIN, self._scale.holds_a_chunk // size))
        return [[make() for _ in range(size)] for _ in range(calls)]

    def _measure(self, batches: Sequence[Sequence[HoldRequest]], expected: Reply) -> Cost:
        self._meter.start()
        for batch in batches:
            self.shop.hold(batch, expected)
        return self._meter.stop(sum(map(len, batches)))

    def _replays(self) -> Cost:
        batches = self._batches(MIX_BATCH, self.shop.one_line)
        for batch in batches:
            self.shop.hold(batch)
        return self._measure(batches, Reply.REPLAYED)

    def _refusals(self) -> Cost:
        batches = self._batches(MIX_BATCH, lambda: self.shop.one_line(GONE))
        return self._measure(batches, Reply.SOLD_OUT)

    def _nothing_at_all(self) -> Cost:
        calls = [self._arguments(b) for b in self._batches(MIX_BATCH, self.shop.one_line)]
        self._meter.start()
        for packed in calls:
            self.link.exchange(packed, 1)
        return self._meter.stop(MIX_BATCH * len(calls))

    def _arguments(self, batch: Sequence[HoldRequest]) -> bytes:
        """The call that the hold would have been, of another script."""
        try:
            result(self._captured.hold(batch, HOLD_TTL_MS))
        except _Captured as call:
            return pack(("EVALSHA", self._nothing, len(call.keys), *call.keys, *call.arguments))
        raise RuntimeError("the hold sent nothing")

    def _sets(self) -> Cost:
        """SETs of the records that holds wrote, under keys of their own."""
        calls = [self._packed_sets(batch) for batch in self._batches(MIX_BATCH, self.shop.one_line)]
        self._set_meter.start()
        for packed in calls:
            self.link.exchange(packed, MIX_BATCH)
        return self._set_meter.stop(MIX_BATCH * len(calls))

    def _packed_sets(self, batch: Sequence[HoldRequest]) -> bytes:
        self.shop.hold(batch)
        fields = [request.field for request in batch]
        records = self.link.call("HMGET", keys.reservations(0), *fields)
        names = [f"{keys.prefix(0)}{field}" for field in fields]
        return b"".join(pack(("SET", *pair)) for pair in zip(names, records, strict=True))


class _Captured(Exception):
    """A script call, kept instead of made."""

    def __init__(self, key_names: Sequence[str], args: Sequence[Arg]) -> None:
        super().__init__("captured")
        self.keys = key_names
        self.arguments = args


class _Capture:
    """A connection that shows what would have been sent."""

    async def run(self, _script: Script, key_names: Sequence[str], args: Sequence[Arg]) -> Any:
        raise _Captured(key_names, args)


Costs = dict[str, list[Cost]]


def measure(scale: Scale, seed: int, say: Callable[[str], None]) -> Section:
    """Every lane of every server, in turn, `scale.rounds` times."""
    kinds, missing = kinds_here()
    with ExitStack() as stack:
        benches = [
            Bench(stack.enter_context(PrivateServer(kind, fsync)), scale, seed)
            for kind in kinds
            for fsync in FSYNCS
        ]
        costs: list[Costs] = [{} for _ in benches]
        for number in range(scale.rounds):
            say(f"lua: round {number + 1} of {scale.rounds}")
            _take_round(benches, costs, number)
        figures = [
            figure
            for bench, taken in zip(benches, costs, strict=True)
            for figure in figures_of(bench.server.name, taken)
        ]
    return Section(figures, verdicts(figures), missing)


def _take_round(benches: list[Bench], costs: list[Costs], number: int) -> None:
    """One sample of everything, the servers taking turns within each lane."""
    for bench in benches:
        bench.shop.open()
    order = list(range(len(benches)))
    order = order[number % len(order) :] + order[: number % len(order)]
    for name in benches[0].lanes():
        for i in order:
            costs[i].setdefault(name, []).append(benches[i].lanes()[name]())


MEASURES: dict[str, Callable[[Cost], float]] = {
    "": lambda cost: cost.command_us,
    ": processor": lambda cost: cost.cpu_us,
}


def figures_of(on: str, costs: Costs) -> list[Figure]:
    """Per lane: time inside the command, processor time, and the rate with one call in flight."""
    figures = []
    for suffix, measured in MEASURES.items():
        sets = [measured(cost) for cost in costs[SET]]
        for name, taken in costs.items():
            samples = [measured(cost) for cost in taken]
            figure = _figure(name + suffix, on, "us", samples)
            if name != SET:
                figure = replace(figure, limit=SET + suffix, ratios=over(samples, sets))
            figures.append(figure)
    for name, taken in costs.items():
        rates = [1e6 / cost.waited_us for cost in taken]
        figures.append(_figure(f"{name}: one call in flight", on, "/s", rates))
    return figures


def _figure(name: str, on: str, unit: str, samples: list[float]) -> Figure:
    return Figure(section=SECTION, name=name, on=on, unit=unit, samples=samples)


def verdicts(figures: Sequence[Figure]) -> list[Verdict]:
    """The target holds for one hot SKU at every batch size from TARGET_BATCH."""
    judged = [
        figure
        for figure in figures
        if (match := HOT_HOLD.fullmatch(figure.name)) and int(match[1]) >= TARGET_BATCH
    ]
    what = f"a fully checked hold, one hot SKU, buyer limit, batches ≥ {TARGET_BATCH}"
    return [at_most(SECTION, what, "us", TARGET_US, judged)]
