"""What a final deduction costs: the ledger's own call, as the settler makes it, on each database.

A flash sale consists of reservations of one line: they are judged, carts are shown. Beside each, in
the same rounds: the plain driver writing such rows, in the same batches, into tables without
constraints; and one deduction a transaction. Everything is forced to disk.
"""

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Protocol

import uvloop

from gateway.core.clock import SystemClock
from gateway.core.config import SettlerConfig
from gateway.core.errors import SetupError
from gateway.ledger import Deduction, DeductionLine, Ledger, Move, MoveRequest
from gateway.ledger.deduct import (
    DEDUCTION_COLUMNS,
    JOURNAL_COLUMNS,
    JOURNAL_SAME,
    LINE_COLUMNS,
    Plan,
    Shelf,
    decide,
)
from loadtests.bench.figures import Figure, Section, Verdict, at_least, over, ratio_at_least
from loadtests.bench.scale import Scale
from tests.support.postgres import PostgresServer
from tests.support.servers import ServerMissing

SECTION = "ledger"
BATCH = SettlerConfig().batch_max
SKUS = [f"phone-{number}" for number in range(40)]
UNITS = 10**12
TARGETS = {"sqlite": 50_000.0, "postgresql": 20_000.0}
OVER_ONES_MIN = 20.0
DEADLINE_S = 60.0
TABLES = {
    "plain_deductions": DEDUCTION_COLUMNS,
    "plain_lines": LINE_COLUMNS,
    "plain_journal": (*JOURNAL_COLUMNS, *dict(JOURNAL_SAME)),
}
LINES = {"one line": (1,), "carts of 1 to 3 lines": (1, 1, 2, 3)}
"""How many lines a reservation may have, by what such reservations are called."""

JUDGED = "one line"
MANY, PLAIN, ONES = "deductions", "plain driver", "a transaction each"

Batch = list[Deduction]


class Plain(Protocol):
    """A database as its driver alone sees it."""

    async def open(self) -> None:
        """Connect, and make tables of its own, without constraints."""
        ...

    async def write(self, plan: Plan, sold: dict[str, int]) -> None:
        """The rows of a plan and the units taken from each SKU, in one transaction."""
        ...

    async def close(self) -> None: ...


class PlainSqlite:
    def __init__(self, path: Path) -> None:
        self._path = path

    async def open(self) -> None:
        self._connection = sqlite3.connect(self._path, isolation_level=None)
        for pragma in ("journal_mode = WAL", "synchronous = FULL"):
            self._connection.execute(f"PRAGMA {pragma}")
        for statement in made("INTEGER"):
            self._connection.execute(statement)

    async def write(self, plan: Plan, sold: dict[str, int]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        taken = [(units, sku) for sku, units in sold.items()]
        self._connection.executemany("UPDATE plain_stock SET sold = sold + ? WHERE sku = ?", taken)
        for table, rows in rows_of(plan):
            places = ", ".join("?" * len(TABLES[table]))
            self._connection.executemany(f"INSERT INTO {table} VALUES ({places})", rows)
        self._connection.execute("COMMIT")

    async def close(self) -> None:
        self._connection.close()


class PlainPostgres:
    def __init__(self, url: str) -> None:
        self._url = url.replace("+asyncpg", "")

    async def open(self) -> None:
        import asyncpg

        self._connection = await asyncpg.connect(self._url, timeout=DEADLINE_S)
        for statement in made("bigint"):
            await self._connection.execute(statement)

    async def write(self, plan: Plan, sold: dict[str, int]) -> None:
        taken = "unnest($1::text[], $2::bigint[]) AS t (of_sku, units)"
        update = f"UPDATE plain_stock SET sold = sold + units FROM {taken} WHERE sku = of_sku"
        async with self._connection.transaction():
            await self._connection.execute(update, list(sold), list(sold.values()))
            for table, rows in rows_of(plan):
                await self._connection.copy_records_to_table(table, records=rows)

    async def close(self) -> None:
        await self._connection.close()


def made(count: str) -> Iterator[str]:
    """Tables with the columns of the ledger's and nothing else; `count` is a type."""
    yield f"CREATE TABLE plain_stock (sku text PRIMARY KEY, sold {count})"
    for sku in SKUS:
        yield f"INSERT INTO plain_stock VALUES ('{sku}', 0)"
    for table, columns in TABLES.items():
        kinds = {name: count if name in COUNTS else "text" for name in columns}
        key = " PRIMARY KEY" if table == "plain_deductions" else ""
        listed = ", ".join(f"{name} {kind}" for name, kind in kinds.items())
        yield f"CREATE TABLE {table} ({listed.replace('text', 'text' + key, 1)})"


COUNTS = {
    *("confirmed_at_ms", "deducted_at_ms", "quantity", "from_safety", "at_ms", "delta", "fence"),
    *("on_hand_before", "on_hand_after", "safety_before", "safety_after"),
}


def rows_of(plan: Plan) -> Iterator[tuple[str, Sequence[tuple[Any, ...]]]]:
    """A plan's rows, by the plain table that takes them."""
    return zip(TABLES, (plan.deductions, plan.lines, plan.journal), strict=True)


def planned(batch: Batch) -> tuple[Plan, dict[str, int]]:
    """What the ledger would write for a batch, decided beforehand, and the units of each SKU."""
    shelves = {sku: Shelf(UNITS, 0) for sku in SKUS}
    plan = decide(batch, {}, shelves, set(), now_ms=1)
    plan.journal = [row + tuple(dict(JOURNAL_SAME).values()) for row in plan.journal]
    return plan, {sku: shelf.taken for sku, shelf in shelves.items()}


def named(lane: str, what: str) -> str:
    """A lane of a kind of reservation."""
    return f"{lane}, {what}"


class Bench:
    """The lanes of one database: each measures one thing once, in deductions a second."""

    def __init__(self, kind: str, url: str, plain: Plain, scale: Scale, seed: int) -> None:
        self.kind = kind
        self._url = url
        self._plain = plain
        self._scale = scale
        self._random = Random(seed)
        self._number = 0
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)

    def __enter__(self) -> "Bench":
        self._runner.run(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._close())
        self._runner.close()

    def lanes(self) -> dict[str, Callable[[], float]]:
        """What is measured, by name: three lanes for each kind of reservation."""
        return {
            named(lane, what): partial(measured, lines)
            for what, lines in LINES.items()
            for lane, measured in ((MANY, self._many), (PLAIN, self._plainly), (ONES, self._ones))
        }

    def _many(self, lines: Sequence[int]) -> float:
        batches = self._batches(self._scale.deduction_batches, BATCH, lines)
        return self._measure(self._deduct, batches)

    def _plainly(self, lines: Sequence[int]) -> float:
        batches = self._batches(self._scale.deduction_batches, BATCH, lines)
        return self._measure(self._write, [planned(batch) for batch in batches])

    def _ones(self, lines: Sequence[int]) -> float:
        return self._measure(self._deduct, self._batches(self._scale.one_row_commits, 1, lines))

    def _measure(
        self, work: Callable[[Any], Coroutine[Any, Any, int]], batches: list[Any]
    ) -> float:
        async def whole() -> float:
            begun, done = time.perf_counter(), 0
            for batch in batches:
                done += await work(batch)
            return done / (time.perf_counter() - begun)

        return self._runner.run(whole())

    async def _deduct(self, batch: Batch) -> int:
        if not all(outcome.settled for outcome in await self._ledger.deduct(batch)):
            raise RuntimeError("the ledger refused what it had")
        return len(batch)

    async def _write(self, planned: tuple[Plan, dict[str, int]]) -> int:
        await self._plain.write(*planned)
        return len(planned[0].deductions)

    def _batches(self, count: int, size: int, lines: Sequence[int]) -> list[Batch]:
        return [[self._deduction(lines) for _ in range(size)] for _ in range(count)]

    def _deduction(self, lines: Sequence[int]) -> Deduction:
        self._number += 1
        skus = self._random.sample(SKUS, self._random.choice(lines))
        return Deduction(
            reservation_id=f"01M7ZXAC8B{self._number:016d}",
            buyer=f"buyer-{self._number % 5000}",
            payment_ref=f"pay-{self._number}",
            lines=tuple(DeductionLine(sku, 1) for sku in skus),
        )

    async def _open(self) -> None:
        clock = SystemClock()
        self._ledger = await Ledger.open(self._url, clock, timeout_s=DEADLINE_S, migrate=True)
        for sku in SKUS:
            move = await self._ledger.begin_move(MoveRequest(sku=sku, kind="put", on_hand=UNITS))
            if not isinstance(move, Move):
                raise RuntimeError(f"cannot put {sku}: {move}")
            await self._ledger.finish_move(sku, move.seq, True)
        await self._plain.open()

    async def _close(self) -> None:
        await self._plain.close()
        await self._ledger.close()


@contextmanager
def sqlite_bench(scale: Scale, seed: int) -> Iterator[Bench]:
    """A ledger in a file."""
    with tempfile.TemporaryDirectory(prefix="stockgate-bench-ledger-") as folder:
        plain = PlainSqlite(Path(folder) / "plain.db")
        with Bench("sqlite", f"sqlite:///{folder}/ledger.db", plain, scale, seed) as bench:
            yield bench


@contextmanager
def postgres_bench(scale: Scale, seed: int) -> Iterator[Bench]:
    """A ledger on a server of its own. Raises ServerMissing."""
    settings = {"shared_buffers": "128MB", "max_wal_size": "4GB", "autovacuum": "on"}
    with PostgresServer(durable=True, extra=settings) as server:
        url = server.url(server.new_database())
        with Bench("postgresql", url, PlainPostgres(url), scale, seed) as bench:
            yield bench


def measure(scale: Scale, seed: int, say: Callable[[str], None]) -> Section:
    """Every lane of every database, in turn, `scale.rounds` times."""
    with ExitStack() as stack:
        benches = [stack.enter_context(sqlite_bench(scale, seed))]
        missing = []
        try:
            benches.append(stack.enter_context(postgres_bench(scale, seed)))
        except (ServerMissing, SetupError) as wrong:
            missing.append(f"postgresql was not measured: {wrong}")
        rates: list[dict[str, list[float]]] = [{} for _ in benches]
        for number in range(scale.rounds):
            say(f"ledger: round {number + 1} of {scale.rounds}")
            for name in benches[0].lanes():
                for bench, taken in zip(benches, rates, strict=True):
                    taken.setdefault(name, []).append(bench.lanes()[name]())
        kinds = [bench.kind for bench in benches]
    figures = [f for kind, taken in zip(kinds, rates, strict=True) for f in figures_of(kind, taken)]
    return Section(figures, verdicts(figures), missing)


def figures_of(on: str, rates: dict[str, list[float]]) -> list[Figure]:
    """Deductions a second; batches beside the plain driver, and beside one a transaction."""
    figures = []
    for what in LINES:
        many, plain, ones = (named(lane, what) for lane in (MANY, PLAIN, ONES))
        figures += [
            _figure(many, on, rates[many], plain, over(rates[many], rates[plain])),
            _figure(plain, on, rates[plain]),
            _figure(ones, on, rates[ones]),
            _figure(f"{many}, gained", on, rates[many], ones, over(rates[many], rates[ones])),
        ]
    return figures


def _figure(
    name: str, on: str, samples: list[float], limit: str = "", ratios: Sequence[float] = ()
) -> Figure:
    return Figure(
        section=SECTION, name=name, on=on, unit="/s", samples=samples, limit=limit, ratios=[*ratios]
    )


def verdicts(figures: Sequence[Figure]) -> list[Verdict]:
    """One line, on each database; and what a batch gains."""
    found = []
    for figure in figures:
        if figure.name == named(MANY, JUDGED):
            what = f"{figure.name}, batches of {BATCH}, {figure.on}"
            found.append(at_least(SECTION, what, "/s", TARGETS[figure.on], figure))
        elif figure.limit == named(ONES, JUDGED):
            what = f"{named(MANY, JUDGED)}, {figure.on}"
            found.append(ratio_at_least(SECTION, what, OVER_ONES_MIN, figure))
    return found
