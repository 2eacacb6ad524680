"""What a soak leaves behind: a dated table of its tests, with the tree and machine they ran on."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from loadtests.bench.machine import commit, machine, versions

RESULTS = Path(__file__).resolve().parents[2] / "loadtests" / "results"


class SoakReport:
    """A pytest plugin; `make soak` runs with it. Tests add counts by `record_property`."""

    def __init__(self, results: Path = RESULTS) -> None:
        self._results = results
        self._begun = datetime.now(UTC)
        self._rows: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One row a test; a test that failed before it began or after it ended has two."""
        if report.when == "call" or report.outcome != "passed":
            counts = ", ".join(f"{name} {value}" for name, value in report.user_properties)
            test = report.nodeid.partition("::")[2]
            self._rows.append(f"| {test} | {report.outcome} | {report.duration:.0f} s | {counts} |")

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Write the file, unless nothing ran."""
        if self._rows:
            path = self._results / f"soak-{self._begun:%Y-%m-%dT%H%M%SZ}.md"
            path.write_text(self._text(exitstatus), encoding="utf-8")

    def _text(self, exitstatus: int) -> str:
        tree, on = commit(), machine()
        packages = ", ".join(f"{name} {version}" for name, version in versions().items())
        changed = " with changes" if tree["dirty"] else ""
        head = [
            f"# Soak, {self._begun:%Y-%m-%d %H:%M} UTC",
            "",
            f"Commit {str(tree['commit'])[:12]}{changed}. {packages}.",
            f"{on['processor']}, {on['cores']} cores, {on['memory_gib']} GiB, {on['system']}.",
            f"Exit code {int(exitstatus)}.",
            "",
            "| test | outcome | took | counts |",
            "|---|---|---|---|",
        ]
        return "\n".join([*head, *self._rows, ""])
