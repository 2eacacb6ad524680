"""What the demo shows, and what it says when it cannot start."""

import io

import pytest
from click.testing import CliRunner
from rich.console import Console

from gateway.cli.demo import demo
from gateway.cli.demo_plan import draw_plan
from gateway.cli.demo_record import Belief, Kept, Record, Terms
from gateway.cli.demo_report import BAR_CELLS, show_verdict, units_bar
from gateway.cli.demo_verdict import Evidence, VerifyResult, judge
from gateway.core.errors import SetupError


@pytest.mark.parametrize(
    "terms",
    [
        Terms(200, 196, 0, 0, 4, 0),
        Terms(7, 1, 2, 3, 1, 193),
        Terms(0, 0, 0, 0, 0, 0),
        Terms(1, 1, 0, 0, 0, 999_999),
        Terms(-1, -1, 0, 0, 0, 3),
    ],
)
def test_the_bar_is_always_as_long_unless_there_is_nothing(terms):
    bar, legend = units_bar(terms).plain.split("\n")
    assert len(bar) == (BAR_CELLS if max(terms.on_hand, 0) + terms.sold else 0)
    assert f"sold {terms.sold} " in legend


@pytest.mark.parametrize(("sold", "said"), [(1, "the sale held"), (2, "DID NOT HOLD")])
def test_the_verdict_ends_with_the_line_that_matters(sold, said):
    plan = draw_plan(run="t", seed=1, buyers=2, units=1, hold_ttl_s=1, rush_s=1.0)
    record = Record()
    record.kept = {"a": Kept("a", "ann", Belief.SETTLED, final="settled")}
    record.took("reserve", 0.012)
    verdict = judge(Evidence(plan, record, Terms(0, 0, 0, 0, 0, sold), VerifyResult(True, 0)))
    console = Console(width=100, record=True, file=io.StringIO())
    show_verdict(console, verdict, "SKU  sold\na    1")
    lines = console.export_text().rstrip().splitlines()
    assert said in lines[-1]
    assert f"oversold {sold - 1}" in lines[-1]
    assert any("stockgate verify" in line for line in lines)


@pytest.mark.parametrize(
    ("verify", "mark"),
    [
        (VerifyResult(True, 0), "ok"),
        (VerifyResult(True, 1), "BROKEN"),
        (VerifyResult(False, output="not run: no way to"), "–"),
    ],
)
def test_what_was_not_checked_is_not_called_ok(verify, mark):
    plan = draw_plan(run="t", seed=1, buyers=2, units=1, hold_ttl_s=1, rush_s=1.0)
    verdict = judge(Evidence(plan, Record(), Terms(1, 1, 0, 0, 0, 0), verify))
    console = Console(width=100, record=True, file=io.StringIO())
    show_verdict(console, verdict, "")
    row = next(line for line in console.export_text().splitlines() if "stockgate verify" in line)
    assert row.split("│")[1].strip() == mark


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--url", "http://127.0.0.1:1"], "no gateway answers at http://127.0.0.1:1"),
        (["--url", "127.0.0.1:8080"], "not a gateway address"),
        (["--url", "http://127.0.0.1:1", "--key", "two words"], "--key"),
    ],
)
def test_what_it_says_when_it_cannot_start(words, message):
    result = CliRunner().invoke(demo, words)
    assert isinstance(result.exception, SetupError)
    assert message in result.exception.message


@pytest.mark.parametrize("words", [["--buyers", "0"], ["--units", "x"], ["--seed", "-1"]])
def test_numbers_out_of_range_are_refused(words):
    result = CliRunner().invoke(demo, words)
    assert result.exit_code == 2
    assert "Invalid value" in result.output
