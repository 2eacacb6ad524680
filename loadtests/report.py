"""What a load test prints and leaves behind: tables for people, JSON for everything else."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from loadtests.locust_run import Step
from loadtests.verdict import Check


def show(
    console: Console, checks: list[Check], counters: dict[str, Any], steps: list[Step]
) -> None:
    """Print what was asked and how fast it was answered, every counter, every check."""
    console.print(_steps_table(steps))
    console.print(_counters_table(counters))
    console.print(_checks_table(checks))
    ok = all(check.ok for check in checks)
    outcome = "PASSED: oversold 0, undersold 0, every counter explained" if ok else "FAILED"
    console.print(outcome, style="bold green" if ok else "bold red")


def _steps_table(steps: list[Step]) -> Table:
    table = Table(title="Requests (ms, from the intended start)", title_justify="left")
    for heading in ("request", "count", "failed", "p50", "p99", "max"):
        table.add_column(heading, justify="left" if heading == "request" else "right")
    for step in steps:
        figures = (f"{value:,.0f}" for value in (step.p50, step.p99, step.max))
        table.add_row(step.name, f"{step.count:,}", f"{step.failures:,}", *figures)
    return table


def _counters_table(counters: dict[str, Any]) -> Table:
    table = Table(title="What the clients counted", show_header=False, title_justify="left")
    for name, value in counters.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {count:,}" for key, count in value.items()) or "none"
        else:
            value = f"{value:,}"
        table.add_row(name.replace("_", " "), value)
    return table


def _checks_table(checks: list[Check]) -> Table:
    table = Table(title="Verdict", title_justify="left")
    for heading in ("", "check", "figures"):
        table.add_column(heading)
    for check in checks:
        mark = Text("ok", style="green") if check.ok else Text("BROKEN", style="bold red")
        table.add_row(mark, Text(check.name), Text(check.detail))
    return table


def write_json(
    path: Path,
    *,
    setup: dict[str, Any],
    checks: list[Check],
    counters: dict[str, Any],
    steps: list[Step],
) -> None:
    """Leave the verdict as JSON."""
    whole = {
        "ok": all(check.ok for check in checks),
        "setup": setup,
        "checks": [asdict(check) for check in checks],
        "counters": counters,
        "requests": [asdict(step) for step in steps],
    }
    path.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
