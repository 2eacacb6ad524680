"""`stockgate audit`: whether Redis and the ledger agree, and what was put right."""

import sys
from contextlib import AsyncExitStack

import click

from gateway.api.times import rfc3339
from gateway.cli.common import EXIT_FAILED, config_option, counted, operator
from gateway.cli.stores import with_core
from gateway.cli.tables import show_table
from gateway.core.errors import SetupError
from gateway.ledger import AuditFinding, AuditRun
from gateway.runtime.audit import open_auditor
from gateway.runtime.core import Core

COLUMNS = ("id", "trigger", "state", "started", "SKUs", "reservations", "found", "repaired")
FINDING_COLUMNS = ("SKU", "term", "of", "found", "expected", "state")


@click.group()
def audit() -> None:
    """Redis against the ledger: run, list, show."""


@audit.command()
@config_option
def run(config_path: str | None) -> None:
    """Audit now, beside the sale; repair unless `audit.repair` is false.

    Exit code 1 when anything is wrong and was not repaired.
    """

    async def work(core: Core) -> AuditRun | None:
        async with AsyncExitStack() as stack:
            auditor = open_auditor(core, stack)
            return await auditor.audit(await auditor.begin("demand", operator()))

    made = with_core(config_path, work)
    if made is None:
        raise SetupError("the ledger does not have the audit that was just made", exit_code=1)
    _print(made)
    if made.counts.findings > made.counts.repaired:
        sys.exit(EXIT_FAILED)


@audit.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, help="At most so many.")
@config_option
def list_audits(limit: int, config_path: str | None) -> None:
    """Full audits, and comparisons that found something, the latest first."""

    async def work(core: Core) -> list[AuditRun]:
        return await core.ledger.audits.page(limit=limit)

    found = with_core(config_path, work)
    if found:
        show_table(COLUMNS, [_row(made) for made in found])
    click.echo(counted(len(found), "audit") + ".")


@audit.command()
@click.argument("audit_id", type=click.IntRange(min=1))
@config_option
def show(audit_id: int, config_path: str | None) -> None:
    """What the audit AUDIT_ID checked, found and repaired."""

    async def work(core: Core) -> AuditRun | None:
        return await core.ledger.audits.get(audit_id)

    found = with_core(config_path, work)
    if found is None:
        raise SetupError(
            f"audit {audit_id}: there is no such audit",
            hint="`stockgate audit list` shows the latest ones.",
            exit_code=1,
        )
    _print(found)


def _row(made: AuditRun) -> tuple[object, ...]:
    counts = made.counts
    checked = (counts.skus, counts.reservations, counts.findings, counts.repaired)
    return (made.id, made.trigger, made.state, rfc3339(made.started_ms), *checked)


def _print(made: AuditRun) -> None:
    show_table(COLUMNS, [_row(made)])
    counts, took_s = made.counts, max(0, made.finished_ms - made.started_ms) / 1000
    click.echo(
        f"\nChecked {counted(counts.skus, 'SKU')}, {counted(counts.reservations, 'reservation')}, "
        f"{counted(counts.buyers, 'buyer count')} and {counted(counts.ledger_rows, 'ledger row')}"
        + (f" in {took_s:.1f} s" if made.finished_ms else "")
        + f";\nmethod: {made.method}."
    )
    if counts.uncompared:
        click.echo(f"{counted(counts.uncompared, 'SKU')} kept changing and could not be compared.")
    if made.error:
        click.echo(f"It failed: {made.error}")
    if made.findings:
        click.echo()
        show_table(FINDING_COLUMNS, [_finding(finding) for finding in made.findings])
    for finding in made.findings:
        if finding.before:
            click.echo(f"{finding.sku} before: {finding.before}")
            click.echo(f"{finding.sku} after:  {finding.after}")
    left = counts.findings - counts.repaired
    if made.state == "done":
        click.echo("OK: nothing left to repair." if not left else f"{left} not repaired.")


def _finding(finding: AuditFinding) -> tuple[object, ...]:
    subject = finding.subject or finding.detail
    numbers = (finding.found, finding.expected)
    return (finding.sku, finding.term, subject, *numbers, finding.state)
