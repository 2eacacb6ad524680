"""Whether calls take longer as live holds grow: the same calls beside few and beside many.

Two servers of a kind run at the same time and take turns, call by call. Reservations are shown,
confirmed and released at random among all that live, so what is touched is rarely in the
processor's cache when there are many: that, too, belongs to the price of size. How much of it no
script could avoid is shown by a plain HMGET of as many records.
"""

import random
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack
from functools import partial
from statistics import median
from typing import Any

from gateway.core.codes import Reply
from gateway.store import keys
from gateway.store.commands import ActAnswer, ActRequest
from loadtests.bench.figures import Figure, Section, Verdict, over, ratio_at_most
from loadtests.bench.link import Meter, result
from loadtests.bench.memory import fill
from loadtests.bench.scale import Scale
from loadtests.bench.servers import Kind, PrivateServer, kinds_here
from loadtests.bench.shop import CATALOGUE, HOT, Shop

SECTION = "flat"
BATCH = 128
CALLS = 6
TARGET_RATIO = 1.25
BASE_TTL_S = (3_600, 4_500)
SHORT_TTL_S = 1
LATER_MS = 1_001
"""When holds of SHORT_TTL_S are due and no others are."""
LONG_AFTER_MS = 600_000
"""When what ended may be forgotten, and no hold is due yet."""
WINDOW = (HOT, *CATALOGUE)[:BATCH]

ActCommand = Callable[[Sequence[ActRequest]], Coroutine[Any, Any, list[ActAnswer]]]


class Side:
    """One server with a number of live holds, kept at about that number.

    Each operation returns microseconds a call of BATCH reservations, by the server's account.
    """

    def __init__(self, server: PrivateServer, live: int, seed: int) -> None:
        link = server.link()
        self._link = link
        self._shop = Shop(link, seed)
        self._commands = self._shop.commands
        self._meter = Meter(link)
        self._control = Meter(link, "hmget")
        self._chance = random.Random(seed)
        self._shop.open()
        self._now_ms = self._shop.clock_ms = int(link.call("TIME")[0]) * 1000
        self._live = fill(self._shop, live, BASE_TTL_S)

    def hold(self) -> float:
        """New holds, which join those that live."""
        batches = [[self._shop.one_line() for _ in range(BATCH)] for _ in range(CALLS)]
        taken_us = self._timed([partial(self._shop.hold, batch) for batch in batches])
        self._live += [request.field for batch in batches for request in batch]
        return taken_us

    def show(self) -> float:
        """Reads at random."""
        asked = [self._chance.choices(self._live, k=BATCH) for _ in range(CALLS)]
        return self._timed([partial(self._show, fields) for fields in asked])

    def plain_hmget(self) -> float:
        """The control: what size costs any hash of Redis, without a script of ours."""
        asked = [self._chance.choices(self._live, k=BATCH) for _ in range(CALLS)]
        self._control.start()
        for fields in asked:
            self._link.call("HMGET", keys.reservations(0), *fields)
        return self._control.stop(CALLS).command_us

    def confirm(self) -> float:
        """Half of what `hold` added, at random."""
        return self._act(self._commands.confirm, "pay-{}")

    def settle(self) -> float:
        """What was confirmed, as the settler mirrors it."""
        entries = self._link.call("XRANGE", keys.outbox(0), "-", "+")
        pairs = [(entry.decode(), pair[1].split(b"|", 1)[0].decode()) for entry, pair in entries]
        parts = [pairs[i : i + BATCH] for i in range(0, len(pairs), BATCH)]
        return self._timed([partial(self._settle, part) for part in parts])

    def release(self) -> float:
        """The other half, at random."""
        return self._act(self._commands.release, "")

    def expire_due(self) -> float:
        """Holds made for this, once they are due."""
        calls = CALLS // 2
        for _ in range(calls):
            self._shop.hold([self._shop.one_line(ttl_s=SHORT_TTL_S) for _ in range(BATCH)])
        self._shop.clock_ms = self._now_ms + LATER_MS
        taken_us = self._timed([self._expire_some] * calls)
        self._shop.clock_ms = self._now_ms
        return taken_us

    def forget_ended(self) -> float:
        """All that ended in this round, so that the next begins like this one."""
        self._shop.clock_ms = self._now_ms + LONG_AFTER_MS
        taken_us = self._timed([self._forget_some] * (CALLS + CALLS // 2))
        self._shop.clock_ms = self._now_ms
        return taken_us

    def snapshot(self) -> float:
        """The terms of as many SKUs."""
        return self._timed([lambda: result(self._commands.snapshot(WINDOW))] * CALLS)

    def _show(self, fields: Sequence[str]) -> None:
        result(self._commands.show(fields))

    def _settle(self, entries: Sequence[tuple[str, str]]) -> None:
        result(self._commands.settle(entries))

    def _expire_some(self) -> None:
        sweep = result(self._commands.expire_due(BATCH))
        if sweep.expired != BATCH:
            raise RuntimeError(f"{sweep.expired} of {BATCH} holds expired")

    def _forget_some(self) -> None:
        result(self._commands.forget_ended(0, BATCH))

    def _act(
        self,
        command: ActCommand,
        argument: str,
    ) -> float:
        def request() -> ActRequest:
            field = self._take()
            return ActRequest(field, self._now_ms, argument.format(field))

        batches = [[request() for _ in range(BATCH)] for _ in range(CALLS // 2)]
        return self._timed([partial(_act, command, batch) for batch in batches])

    def _take(self) -> str:
        """Removes one at random from those that live."""
        at = self._chance.randrange(len(self._live))
        self._live[at], self._live[-1] = self._live[-1], self._live[at]
        return self._live.pop()

    def _timed(self, calls: Sequence[Callable[[], object]]) -> float:
        self._meter.start()
        for call in calls:
            call()
        return self._meter.stop(len(calls)).command_us


CONTROL = "plain HMGET"
OPERATIONS: dict[str, Callable[[Side], float]] = {
    "hold": Side.hold,
    "show": Side.show,
    "confirm": Side.confirm,
    "settle": Side.settle,
    "release": Side.release,
    "expire_due": Side.expire_due,
    "forget_ended": Side.forget_ended,
    "snapshot": Side.snapshot,
    CONTROL: Side.plain_hmget,
}


def measure(scale: Scale, seed: int, say: Callable[[str], None]) -> Section:
    """Each operation on each kind of server, beside few and beside many live holds."""
    kinds, missing = kinds_here()
    figures: list[Figure] = []
    for kind in kinds:
        figures += _compare(kind, scale, seed, say)
    return Section(figures, verdicts(figures, scale.flat_large), missing)


def verdicts(figures: list[Figure], live: int) -> list[Verdict]:
    """Against the target, and against what size costs a plain read of as many records."""
    what = f"a call beside {live:,} live holds"
    grown = [figure for figure in figures if figure.ratios]
    judged = [figure for figure in grown if CONTROL not in figure.name]
    controls = {f.on: median(f.ratios) for f in grown if CONTROL in f.name}
    worst = max(judged, key=lambda figure: median(figure.ratios) / controls[figure.on])
    ratio, control = median(worst.ratios), controls[worst.on]
    beside_control = Verdict(
        section=SECTION,
        target=f"{what} grows by no larger factor than a {CONTROL} of as many records",
        found=f"{ratio:.2f} × against {control:.2f} × ({worst.name}, {worst.on})",
        met=ratio <= control,
    )
    return [ratio_at_most(SECTION, what, TARGET_RATIO, judged), beside_control]


def _compare(kind: Kind, scale: Scale, seed: int, say: Callable[[str], None]) -> list[Figure]:
    sizes = (scale.flat_small, scale.flat_large)
    taken: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in OPERATIONS}
    with ExitStack() as stack:
        servers = [stack.enter_context(PrivateServer(kind, "no file")) for _ in sizes]
        say(f"flat: {scale.flat_large:,} live holds on {servers[1].version}")
        sides = [Side(server, live, seed) for server, live in zip(servers, sizes, strict=True)]
        for number in range(scale.flat_rounds):
            say(f"flat: round {number + 1} of {scale.flat_rounds} on {servers[0].version}")
            for name, operation in OPERATIONS.items():
                for i in (0, 1) if number % 2 else (1, 0):
                    taken[name][i].append(operation(sides[i]))
        on = servers[0].version
    return [figure for name, pair in taken.items() for figure in _pair(name, on, sizes, pair)]


def _pair(
    name: str, on: str, sizes: tuple[int, int], taken: tuple[list[float], list[float]]
) -> list[Figure]:
    few, many = taken
    call = f"{name}, {BATCH} a call"
    return [
        Figure(
            section=SECTION, name=f"{call}, {sizes[0]:,} live", on=on, unit="us a call", samples=few
        ),
        Figure(
            section=SECTION,
            name=f"{call}, {sizes[1]:,} live",
            on=on,
            unit="us a call",
            samples=many,
            limit=f"the same beside {sizes[0]:,}",
            ratios=over(many, few),
        ),
    ]


def _act(command: ActCommand, batch: Sequence[ActRequest]) -> None:
    for answer in result(command(batch)):
        if answer.code != Reply.DONE:
            raise RuntimeError(f"a step was answered {Reply(answer.code).name}")
