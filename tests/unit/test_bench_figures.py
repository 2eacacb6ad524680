"""The bench's arithmetic: summaries, ratios, verdicts, and how they are shown."""

import json
from typing import Any

import pytest

from loadtests.bench.figures import (
    Figure,
    Section,
    Verdict,
    at_most,
    over,
    ratio_at_least,
    ratio_at_most,
    summarise,
)
from loadtests.bench.flat import CONTROL, verdicts
from loadtests.bench.report import as_json, as_markdown, number

ABOUT: dict[str, Any] = {
    "started_at": "2026-11-11T10:00:00Z",
    "quick": False,
    "seed": 1,
    "commit": "0123456789abcdef",
    "dirty": True,
    "machine": {
        "processor": "a processor",
        "cores": 2,
        "memory_gib": 8.0,
        "system": "Linux",
        "data_folder": {"filesystem": "ext4", "fsync_ms": 0.3},
        "load_average": [0.1, 0.2, 0.3],
    },
    "versions": {"python": "CPython 3.11"},
    "took_s": 12.0,
    "load_average_after": [1.0, 1.0, 1.0],
}


def figure(name: str, *samples: float, on: str = "valkey", **more: Any) -> Figure:
    return Figure(section="lua", name=name, unit="us", on=on, samples=list(samples), **more)


def test_a_summary_has_median_extremes_and_the_spread_of_the_middle_half() -> None:
    found = summarise([1.0, 2.0, 3.0, 4.0, 100.0])
    assert (found.median, found.min, found.max, found.samples) == (3.0, 1.0, 100.0, 5)
    assert found.spread == pytest.approx(2.0 / 3.0)


@pytest.mark.parametrize("samples", [[5.0], [0.0, 0.0]])
def test_a_summary_of_little_has_no_spread(samples: list[float]) -> None:
    assert summarise(samples).spread == 0.0


def test_ratios_are_taken_round_by_round() -> None:
    assert over([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]
    with pytest.raises(ValueError, match="shorter"):
        over([1.0, 2.0], [1.0])


def test_at_most_judges_the_worst_median() -> None:
    good, bad = figure("good", 5.0, 5.0, 90.0), figure("bad", 9.0, 9.0, 1.0, on="redis")
    assert at_most("lua", "a hold", "us", 8.0, [good]).met is True
    verdict = at_most("lua", "a hold", "us", 8.0, [good, bad])
    assert verdict.met is False
    assert "9 us (bad, redis)" in verdict.found


def test_ratios_are_judged_by_their_median() -> None:
    half = figure("half", 1.0, limit="echo", ratios=[0.4, 0.5, 0.9])
    assert ratio_at_least("http", "calls", 0.5, half).met is True
    assert ratio_at_least("http", "calls", 0.51, half).met is False
    assert ratio_at_most("flat", "calls", 0.5, [half]).met is True
    assert ratio_at_most("flat", "calls", 0.49, [half]).met is False


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.6123, "0.612"), (5.432, "5.43"), (71.23, "71.2"), (312.4, "312"), (19480.0, "19,480")],
)
def test_numbers_have_three_figures(value: float, text: str) -> None:
    assert number(value) == text


def test_the_table_has_a_row_a_figure_and_a_column_a_place() -> None:
    section = Section(
        [
            figure("hold", 6.0, 5.0, 7.0, limit="SET", ratios=[6.0, 5.0, 7.0]),
            figure("hold", 8.0, on="redis"),
            figure("SET", 1.0),
        ],
        [Verdict(section="lua", target="a hold ≤ 8 us", found="8", met=False)],
        ["redis was busy"],
    )
    lines = as_markdown(ABOUT, [section]).splitlines()
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line[:1] == "|"]
    assert table[0] == ["", "unit", "valkey", "redis", "beside"]
    assert table[2] == ["hold", "us", "6.00 (5.00, 17%) = 6.00 ×", "8.00", "SET"]
    assert table[3] == ["SET", "us", "1.00", "", ""]
    assert "- **NOT met**: a hold ≤ 8 us; found 8" in lines
    assert "- note: redis was busy" in lines
    assert any("0123456789ab with changes" in line for line in lines)


def test_the_best_of_a_rate_is_its_highest() -> None:
    rate = Figure(section="lua", name="holds", unit="/s", on="v", samples=[1.0, 2.0, 3.0])
    assert "2.00 (3.00, 50%)" in as_markdown(ABOUT, [Section([rate], [])])


def test_the_json_keeps_every_sample() -> None:
    section = Section([figure("hold", 6.0, 5.0, limit="SET", ratios=[3.0, 2.0])], [])
    found = json.loads(as_json(ABOUT, [section]))
    (kept,) = found["figures"]
    assert kept["samples"] == [6.0, 5.0]
    assert kept["summary"]["median"] == 5.5
    assert kept["ratio_summary"]["max"] == 3.0
    assert (found["format"], found["seed"], found["dirty"]) == (1, 1, True)


def grown(name: str, ratio: float, on: str = "valkey") -> Figure:
    return figure(name, 1.0, on=on, limit="few", ratios=[ratio])


@pytest.mark.parametrize(
    ("hold", "met"), [(1.1, [True, True]), (1.9, [False, True]), (2.1, [False, False])]
)
def test_growth_is_judged_by_the_target_and_by_a_plain_read(hold: float, met: list[bool]) -> None:
    found = [
        figure("hold, few", 1.0),
        grown("hold", hold),
        grown(CONTROL, 2.0),
        grown("hold", 1.0, on="redis"),
        grown(CONTROL, 4.0, on="redis"),
    ]
    assert [verdict.met for verdict in verdicts(found, 1_000_000)] == met
