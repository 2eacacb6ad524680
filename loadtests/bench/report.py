"""The result of a run: JSON for machines, a table in Markdown for people."""

from collections.abc import Sequence
from itertools import groupby
from statistics import median
from typing import Any

import msgspec

from loadtests.bench.figures import Figure, Section, Verdict, summarise

FORMAT = 1
TITLES = {
    "lua": "What a hold costs Redis",
    "memory": "Memory a live hold",
    "flat": "The same calls beside few and many live holds",
    "ledger": "What a final deduction costs",
    "http": "Over HTTP, one gateway process",
}
HOW_TO_READ = (
    "A cell is `median (best round, spread) = ratio ×`: the spread is the middle half of the "
    "rounds as a share of the median; the ratio is to what the last column names, taken in the "
    "same rounds. Only ratios carry over to another machine."
)


def as_json(about: dict[str, Any], sections: Sequence[Section]) -> bytes:
    """Everything, every sample included."""
    figures = [_full(figure) for section in sections for figure in section.figures]
    whole = {
        "format": FORMAT,
        **about,
        "verdicts": [verdict for section in sections for verdict in section.verdicts],
        "notes": [note for section in sections for note in section.notes],
        "figures": figures,
    }
    return msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n"


def _full(figure: Figure) -> dict[str, Any]:
    whole: dict[str, Any] = {**msgspec.structs.asdict(figure), "summary": summarise(figure.samples)}
    if figure.ratios:
        whole["ratio_summary"] = summarise(figure.ratios)
    else:
        del whole["limit"], whole["ratios"]
    return whole


def as_markdown(about: dict[str, Any], sections: Sequence[Section]) -> str:
    """Verdicts first, then a table a section."""
    parts = [_heading(about), *_verdict_lines([v for s in sections for v in s.verdicts])]
    notes = [note for section in sections for note in section.notes]
    parts += [f"- note: {note}" for note in notes]
    parts += ["", HOW_TO_READ]
    figures = [figure for section in sections for figure in section.figures]
    for name, group in groupby(figures, key=lambda figure: figure.section):
        parts += ["", f"## {TITLES[name]}", "", *_table(list(group))]
    return "\n".join(parts) + "\n"


def _heading(about: dict[str, Any]) -> str:
    machine, versions = about["machine"], about["versions"]
    disk = machine["data_folder"]
    commit = (about["commit"] or "unknown")[:12] + (" with changes" if about["dirty"] else "")
    return "\n".join(
        [
            f"# Bench of {about['started_at']}"
            + (" (quick: means nothing)" if about["quick"] else ""),
            "",
            f"{machine['cores']} cores of {machine['processor']}, {machine['memory_gib']} GiB, "
            f"{machine['system']}; data on {disk['filesystem'] or 'an unknown file system'}, "
            f"fsync {disk['fsync_ms']} ms; load {machine['load_average']} before, "
            f"{about['load_average_after']} after.",
            "",
            f"Commit {commit}, seed {about['seed']}, {about['took_s']:.0f} s. "
            + ", ".join(f"{name} {version}" for name, version in versions.items())
            + ".",
            "",
        ]
    )


def _verdict_lines(verdicts: Sequence[Verdict]) -> list[str]:
    words = {True: "**met**", False: "**NOT met**", None: "not judged"}
    return [f"- {words[v.met]}: {v.target}; found {v.found}" for v in verdicts]


def _table(figures: Sequence[Figure]) -> list[str]:
    """A row a figure, a column a place where it was measured."""
    places = list(dict.fromkeys(figure.on for figure in figures))
    cells: dict[tuple[str, str], dict[str, str]] = {}
    limits: dict[str, str] = {}
    for figure in figures:
        cells.setdefault((figure.name, figure.unit), {})[figure.on] = _cell(figure)
        limits[figure.name] = limits.get(figure.name) or figure.limit
    rows = [("", "unit", *places, "beside")]
    for (name, unit), found in cells.items():
        rows.append((name, unit, *[found.get(place, "") for place in places], limits[name]))
    return _aligned(rows)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return [lines[0], rule, *lines[1:]]


def _cell(figure: Figure) -> str:
    """`5.81 (5.60, 3%) = 6.9 ×`: median, best, spread, ratio."""
    found = summarise(figure.samples)
    text = number(found.median)
    if found.samples > 1:
        best = found.max if figure.unit.endswith("/s") else found.min
        text += f" ({number(best)}, {found.spread:.0%})"
    if figure.ratios:
        text += f" = {number(median(figure.ratios))} ×"
    return text


def number(value: float) -> str:
    """Three figures at least: 0.612, 5.43, 71.2, 19,480."""
    if value >= 1000:
        return f"{value:,.0f}"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"
