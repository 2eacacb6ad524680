"""`python -m loadtests.bench`: measure, then leave a JSON file and a table.

Exit code 0 whether or not targets are met (1 with --strict when one is not); 2: it could not run.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from gateway.core.errors import SetupError
from loadtests.bench import flat, ledger, lua, memory, over_http
from loadtests.bench.figures import Section
from loadtests.bench.machine import commit, load_average, machine, versions
from loadtests.bench.report import as_json, as_markdown
from loadtests.bench.scale import FULL, QUICK, Scale

RESULTS = Path(__file__).resolve().parents[1] / "results"
Measure = Callable[[Scale, int, Callable[[str], None]], Section]
SECTIONS: dict[str, Measure] = {
    "lua": lua.measure,
    "memory": memory.measure,
    "flat": flat.measure,
    "ledger": ledger.measure,
    "http": over_http.measure,
}


def main() -> int:
    """Run what the command line asks for; the exit code."""
    options = parse_options(sys.argv[1:])
    # Raised where we stand, also within an event loop: what was started ends in order.
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return bench(options)
    except SetupError as wrong:
        print(f"bench: {wrong.message}", file=sys.stderr)
        if wrong.hint:
            print(f"  {wrong.hint}", file=sys.stderr)
        return wrong.exit_code
    except KeyboardInterrupt:
        print("bench: interrupted; nothing was left running", file=sys.stderr)
        return 130


def parse_options(words: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=list(SECTIONS), help="this part alone; may be repeated"
    )
    parser.add_argument("--quick", action="store_true", help="tiny counts: shows that it works")
    parser.add_argument("--strict", action="store_true", help="exit code 1 if a target is missed")
    parser.add_argument("--rounds", type=positive, help="take every figure this many times")
    parser.add_argument("--seed", type=positive, default=1, help="seed of what is bought")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="folder for the two files of the run"
    )
    return parser.parse_args(words)


def positive(text: str) -> int:
    """A whole number of at least one."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def bench(options: argparse.Namespace) -> int:
    """Measure, write, print, judge."""
    scale = scaled(options)
    begun = datetime.now(UTC)
    base = file_base(options, begun)
    about: dict[str, Any] = {
        "started_at": begun.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "quick": options.quick,
        "seed": options.seed,
        "scale": scale,
        **commit(),
        "machine": machine(),
        "versions": versions(),
    }
    begun_s = time.monotonic()
    sections = [
        SECTIONS[name](scale, options.seed, say) for name in SECTIONS if name in chosen(options)
    ]
    say("")
    if options.quick:
        sections = [not_judged(section) for section in sections]
    about |= {"took_s": time.monotonic() - begun_s, "load_average_after": load_average()}
    table = as_markdown(about, sections)
    base.with_suffix(".json").write_bytes(as_json(about, sections))
    base.with_suffix(".md").write_text(table, encoding="utf-8")
    print(table)
    print(f"results: {base.with_suffix('.json')} and {base.with_suffix('.md')}")
    missed = any(verdict.met is False for section in sections for verdict in section.verdicts)
    return 1 if missed and options.strict else 0


def chosen(options: argparse.Namespace) -> list[str]:
    """The parts to be run."""
    return options.only or list(SECTIONS)


def scaled(options: argparse.Namespace) -> Scale:
    """The size of this run."""
    scale = QUICK if options.quick else FULL
    if options.rounds:
        rounds = options.rounds
        return msgspec.structs.replace(scale, rounds=rounds, flat_rounds=rounds, http_rounds=rounds)
    return scale


def file_base(options: argparse.Namespace, begun: datetime) -> Path:
    """Where the results go, but for the suffix; the folder is made now, not at the end."""
    folder: Path = options.results
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as wrong:
        raise SetupError(f"cannot write the results to {folder}: {wrong.strerror}") from None
    if not os.access(folder, os.W_OK):
        raise SetupError(f"cannot write the results to {folder}: it is not writable")
    return folder / f"bench-{begun:%Y-%m-%dT%H%M%SZ}"


def not_judged(section: Section) -> Section:
    """The section without a verdict on its targets: the run was too small to tell."""
    verdicts = [msgspec.structs.replace(verdict, met=None) for verdict in section.verdicts]
    return msgspec.structs.replace(section, verdicts=verdicts)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def say(text: str) -> None:
    """One line of progress, over the line before; nothing when nobody watches."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
