"""`stockgate verify`: proves that every counter is explained."""

import sys
from collections.abc import Sequence

import click

from gateway.cli.common import EXIT_FAILED, config_option, counted
from gateway.cli.stores import with_core
from gateway.cli.tables import show_table
from gateway.runtime.core import Core
from gateway.sale.verify import Finding, Report

COLUMNS = (
    "SKU",
    "on hand",
    "avail.",
    "held",
    "unsett.",
    "safety",
    "sold",
    "ledger",
    "verdict",
)

SHOWN_MAX = 10


@click.command()
@config_option
def verify(config_path: str | None) -> None:
    """Recompute every counter, Redis against the ledger.

    Reads only, every row of both. Exit code 1 when anything does not add up or cannot be read.
    SKUs that sell too fast to be recounted are named; that is no breach.
    """
    report = with_core(config_path, _verify)
    show_table(COLUMNS, [_row(finding) for finding in report.findings])
    skus, reservations = len(report.findings), report.reservations
    click.echo(
        f"\n{counted(skus, 'SKU')}, {counted(reservations, 'reservation')} recounted;\n"
        "on_hand = available + held + unsettled + safety_stock."
    )
    if report.unsure:
        click.echo(_unsure(report.unsure))
    if report.dead_letters:
        click.echo(
            f"{counted(report.dead_letters, 'dead letter')} of confirmed reservations: their units"
            " are unsettled until somebody decides; see `stockgate dead-letters list`."
        )
    if not report.ok:
        _show_breaches(report)
        sys.exit(EXIT_FAILED)
    all_clear = "OK: nothing oversold, nothing lost, every counter explained."
    click.echo("OK: no breach found." if report.unsure else all_clear)


def _unsure(skus: Sequence[str]) -> str:
    return (
        f"{counted(len(skus), 'SKU')} kept changing while they were read; "
        f"look again when it is quieter: {_some(skus)}"
    )


def _show_breaches(report: Report) -> None:
    broken = [finding for finding in report.findings if finding.faults]
    for finding in broken:
        click.echo(f"{finding.sku}: {'; '.join(finding.faults)}", err=True)
    if broken:
        verb = "does" if len(broken) == 1 else "do"
        click.echo(f"BREACH: {counted(len(broken), 'SKU')} {verb} not add up.", err=True)
    if report.unreadable:
        records = counted(len(report.unreadable), "record")
        fields = _some([ascii(field) for field in report.unreadable])  # they may hold anything
        click.echo(
            f"BREACH: {records} among the reservations in Redis cannot be read: {fields}\n"
            "  → HGET of the hash {sg:0}:reservations shows what is kept under a field; "
            "put back what was there, or HDEL what never was a reservation.",
            err=True,
        )


def _some(words: Sequence[str]) -> str:
    return ", ".join(words[:SHOWN_MAX]) + (", …" if len(words) > SHOWN_MAX else "")


async def _verify(core: Core) -> Report:
    return await core.verifier.verify()


def _row(finding: Finding) -> tuple[object, ...]:
    t, ledger = finding.terms, finding.ledger
    counts = (
        (t.on_hand, t.available, t.held, t.unsettled, t.safety_stock, t.sold)
        if t
        else ("-", "-", "-", "-", "-", "-")
    )
    verdict = "BREACH" if finding.faults else "unsure" if finding.unsure else "ok"
    return (finding.sku, *counts, ledger.sold if ledger else "-", verdict)
