"""How the demo looks: a live view of the sale on a terminal, plain lines elsewhere, the verdict."""

from itertools import pairwise
from types import TracebackType
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gateway.cli.demo_plan import SalePlan
from gateway.cli.demo_record import Terms
from gateway.cli.demo_sale import FlashSale
from gateway.cli.demo_verdict import Verdict
from gateway.core.clock import Clock

BAR_CELLS = 60
REFUSALS_SHOWN_MAX = 4
PLAIN_EVERY_S = 1.0
PARTS = (  # term, its colour, its mark where colours may be missing
    ("sold", "green", "█"),
    ("unsettled", "yellow", "▓"),
    ("held", "cyan", "▒"),
    ("available", "white", "░"),
    ("safety_stock", "magenta", "▚"),
)


class Progress(Protocol):
    """Shows a sale while it runs; a context manager."""

    def __enter__(self) -> "Progress": ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def tick(self, terms: Terms) -> None:
        """Show the state of the sale."""
        ...


class _Quiet:
    """Shows nothing; also the base of the views that do."""

    def __enter__(self) -> "_Quiet":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def tick(self, terms: Terms) -> None:
        """Show nothing."""


class _Plain(_Quiet):
    """A line a second, for logs and pipes."""

    def __init__(self, console: Console, clock: Clock, sale: FlashSale) -> None:
        self._console, self._clock, self._sale = console, clock, sale
        self._opened_s = clock.monotonic()
        self._shown_s = self._opened_s

    def tick(self, terms: Terms) -> None:
        """Print a line when the last one is a second old."""
        now_s = self._clock.monotonic()
        if now_s - self._shown_s < PLAIN_EVERY_S:
            return
        self._shown_s = now_s
        units = "  ".join(f"{name} {getattr(terms, name)}" for name, _, _ in PARTS)
        crowd = f"accepted {len(self._sale.record.kept):,}, {_refusals(self._sale)}"
        self._console.print(f"{now_s - self._opened_s:5.1f} s  {units}  |  {crowd}", soft_wrap=True)


class _Screen(_Quiet):
    """A panel that is redrawn in place."""

    def __init__(self, console: Console, clock: Clock, sale: FlashSale, plan: SalePlan) -> None:
        self._clock, self._sale, self._plan = clock, sale, plan
        self._opened_s = clock.monotonic()
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> "_Screen":
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def tick(self, terms: Terms) -> None:
        """Redraw."""
        elapsed_s = self._clock.monotonic() - self._opened_s
        title = f"{self._plan.sku} · {self._plan.units:,} units · {elapsed_s:.1f} s"
        body = Group(units_bar(terms), Text(), self._crowd())
        self._live.update(Panel(body, title=title, expand=False, padding=(1, 2)), refresh=True)

    def _crowd(self) -> RenderableType:
        sale, record = self._sale, self._sale.record
        rows = Table.grid(padding=(0, 2))
        rows.add_row("buyers", f"{sale.inside:,} not gone home, {sale.waiting:,} waiting")
        rows.add_row("accepted", f"{len(record.kept):,}, {record.replays:,} double clicks absorbed")
        rows.add_row("answered", _refusals(sale))
        if record.retried:
            rows.add_row("tried again", _counts(dict(record.retried)))
        return rows


def open_progress(
    console: Console, clock: Clock, sale: FlashSale, plan: SalePlan, *, quiet: bool
) -> Progress:
    """The view that fits where the output goes."""
    if quiet:
        return _Quiet()
    if console.is_terminal:
        return _Screen(console, clock, sale, plan)
    return _Plain(console, clock, sale)


def units_bar(terms: Terms) -> Text:
    """Every unit of the SKU as one bar, by term, with the figures below."""
    values = [max(0, int(getattr(terms, name))) for name, _, _ in PARTS]
    bar, legend = Text(), Text()
    for (name, colour, mark), value, cells in zip(PARTS, values, _cells(values), strict=True):
        bar.append(mark * cells, style=colour)
        legend.append(f"{mark} ", style=colour)
        legend.append(f"{name.replace('_', ' ')} {value}   ")
    return Text("\n").join([bar, legend])


def _cells(values: list[int]) -> list[int]:
    """Share BAR_CELLS among `values`, so that the cells always add up."""
    total, ends, seen = sum(values) or 1, [0], 0
    for value in values:
        seen += value
        ends.append(round(BAR_CELLS * seen / total))
    return [end - start for start, end in pairwise(ends)]


def _refusals(sale: FlashSale) -> str:
    refused = dict(sale.record.refusals.most_common(REFUSALS_SHOWN_MAX))
    return f"refused {sale.record.refusals.total():,}" + (
        f" ({_counts(refused)})" if refused else ""
    )


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"


def show_verdict(console: Console, verdict: Verdict, verify_output: str) -> None:
    """Print the figures, the checks, what verify printed, and the one line that matters."""
    console.print(_figures_table(verdict))
    console.print(_latency_table(verdict))
    console.print(_checks_table(verdict))
    if verify_output:
        console.print("stockgate verify", style="italic")
        console.print(Text.from_ansi(verify_output), soft_wrap=True)
    figures = verdict.figures
    outcome = "the sale held" if verdict.ok else "THE SALE DID NOT HOLD"
    console.print(
        f"{outcome}: oversold {figures['oversold']}, undersold {figures['undersold']}",
        style="bold green" if verdict.ok else "bold red",
    )


def _figures_table(verdict: Verdict) -> Table:
    f = verdict.figures
    table = Table(title="What happened", show_header=False, title_justify="left")
    table.add_row("buyers", f"{f['buyers']:,} for {f['units']:,} units, {f['calls']:,} calls")
    table.add_row("sale took", f"{f['duration_s']:.1f} s")
    table.add_row("accepted", f"{f['accepted']:,} reservations")
    table.add_row("settled", f"{f['settled']:,}")
    table.add_row("expired", f"{f['expired']:,} (carts left behind, payments too late)")
    table.add_row("released", f"{f['released']:,}")
    table.add_row("sold again", f"{f['resold']:,} units that had come back")
    honoured, late = f["late_payments_honoured"], f["late_payments"]
    table.add_row("late payments", f"{late:,}, of which {honoured:,} honoured")
    table.add_row("double clicks absorbed", f"{f['duplicates_absorbed']:,}")
    table.add_row("second orders refused", f"{f['second_orders_refused']:,}")
    table.add_row("refused", _counts(f["refused"]))
    table.add_row("tried again", _counts(f["retried"]))
    table.add_row("went home without", f"{f['sent_home']:,}")
    return table


def _latency_table(verdict: Verdict) -> Table:
    table = Table(title="Latency from the intended start, ms", title_justify="left")
    for heading in ("step", "count", "p50", "p99", "max"):
        table.add_column(heading, justify="left" if heading == "step" else "right")
    for step, spread in verdict.figures["latency_ms"].items():
        figures = (f"{spread[name]:,.1f}" for name in ("p50", "p99", "max"))
        table.add_row(step, f"{spread['count']:,}", *figures)
    return table


def _checks_table(verdict: Verdict) -> Table:
    table = Table(title="Verdict", title_justify="left")
    for heading in ("", "promise", "figures"):
        table.add_column(heading)
    for check in verdict.checks:
        mark = Text("ok", style="green") if check.ok else Text("BROKEN", style="bold red")
        if not check.ran:
            mark = Text("–")
        table.add_row(mark, Text(check.name), Text(check.detail))
    return table
