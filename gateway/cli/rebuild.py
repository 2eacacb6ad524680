"""`stockgate rebuild`: Redis again what the ledger and its own surviving records say."""

import sys

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from gateway.cli.common import EXIT_FAILED, config_option, counted
from gateway.cli.stores import with_core
from gateway.cli.tables import show_table
from gateway.core.errors import LeaseBusy, SetupError
from gateway.runtime.core import Core
from gateway.runtime.rebuild import plan_rebuild
from gateway.runtime.rebuild import rebuild as run_rebuild
from gateway.sale.rebuild import Progress as Step
from gateway.sale.rebuild import Rebuilt, Terms, Verdict

COLUMNS = ("SKU", "on hand", "avail.", "held", "unsett.", "safety", "sold", "outcome")
SHOWN_MAX = 10


@click.command()
@config_option
@click.option("--sku", "skus", multiple=True, help="Only this SKU; may be given several times.")
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
def rebuild(config_path: str | None, skus: tuple[str, ...], dry_run: bool) -> None:
    """Rebuild Redis from the ledger and what survived in it.

    Finds the SKUs whose stock in Redis is missing, older than the ledger, or does not add up;
    closes these, gives them the right stock, and opens them one by one. Others go on selling, and
    on a healthy system nothing is changed. It may be interrupted, and run again, at any time.

    Exit code 0: everything is right; 1: a SKU stays closed, kept changing or has a record that
    cannot be read; 2: the stores cannot be opened; 3: a store or the lease did not answer.
    """
    done = with_core(config_path, lambda core: _run(core, skus, dry_run=dry_run), repairs=True)
    show_table(COLUMNS, [row for verdict in done.verdicts for row in _rows(verdict)])
    click.echo(f"\n{_summary(done, dry_run=dry_run)}")
    for verdict in done.verdicts:
        if verdict.note:
            click.echo(f"{verdict.sku}: {verdict.note}", err=True)
    if done.unreadable:
        fields = ", ".join(ascii(field) for field in done.unreadable[:SHOWN_MAX])
        records = counted(len(done.unreadable), "record")
        click.echo(f"{records} in Redis cannot be read and were left there: {fields}", err=True)
    if not done.ok:
        sys.exit(EXIT_FAILED)


async def _run(core: Core, skus: tuple[str, ...], *, dry_run: bool) -> Rebuilt:
    await _check_skus(core, skus)
    if dry_run:
        return await plan_rebuild(core, skus)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("look", total=1)

        def show(step: Step) -> None:
            bar.update(task, description=step.step, completed=step.done, total=step.of)

        try:
            return await run_rebuild(core, skus, progress=show)
        except LeaseBusy as busy:
            raise SetupError(
                f"another process is rebuilding: {busy.holder}",
                hint="wait for it, or see `stockgate lease show rebuild`",
                exit_code=3,
            ) from busy


async def _check_skus(core: Core, skus: tuple[str, ...]) -> None:
    known = {row.sku for row in await core.ledger.stock(skus)} if skus else set()
    if missing := [sku for sku in skus if sku not in known]:
        raise SetupError(
            f"the ledger has no SKU {', '.join(missing)}", hint="See `stockgate stock list`."
        )


def _rows(verdict: Verdict) -> list[tuple[object, ...]]:
    if verdict.before == verdict.after:
        return [(verdict.sku, *_cells(verdict.after), verdict.outcome)]
    return [
        (verdict.sku, *_cells(verdict.before), "before"),
        (verdict.sku, *_cells(verdict.after), verdict.outcome),
    ]


def _cells(terms: Terms | None) -> tuple[str, ...]:
    return tuple(term or "-" for term in terms) if terms else ("-",) * 6


def _summary(done: Rebuilt, *, dry_run: bool) -> str:
    changed = sum(v.outcome in ("rebuilt", "would be rebuilt") for v in done.verdicts)
    seen = f"{counted(len(done.verdicts), 'SKU')} and {counted(done.records, 'reservation')} read"
    if not changed and not done.mended and done.ok:
        return f"{seen}: nothing to rebuild."
    verb = "would be rebuilt" if dry_run else "rebuilt"
    mended = f", {counted(done.mended, 'record')} mended" if done.mended else ""
    cause = f"{done.mark}.\n" if done.mark else ""
    return f"{cause}{seen}: {counted(changed, 'SKU')} {verb}{mended}."
