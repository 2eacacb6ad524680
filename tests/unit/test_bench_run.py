"""The bench from end to end, with counts so small that the figures mean nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.core.errors import SetupError
from gateway.store.embedded import find_binary
from loadtests.bench.__main__ import parse_options
from loadtests.bench.scale import QUICK
from tests.support.servers import in_ci

ROOT = Path(__file__).resolve().parents[2]


def bench(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "loadtests.bench", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )


@pytest.mark.timeout(180)  # 15 s on an idle machine
def test_every_part_measures_and_leaves_its_files(tmp_path: Path) -> None:
    try:
        find_binary()
    except SetupError as missing:
        if in_ci():
            raise
        pytest.skip(missing.message)
    done = bench("--quick", "--strict", "--results", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (result,) = tmp_path.glob("bench-*.json")
    found = json.loads(result.read_text())
    assert {figure["section"] for figure in found["figures"]} == {
        "lua",
        "memory",
        "flat",
        "ledger",
        "http",
    }
    assert all(sample > 0 for figure in _rates(found) for sample in figure["samples"])
    assert {verdict["met"] for verdict in found["verdicts"]} == {None}
    assert found["scale"]["flat_large"] == QUICK.flat_large
    assert {"commit", "dirty", "seed", "machine", "versions"} <= found.keys()
    table = result.with_suffix(".md").read_text()
    assert "quick: means nothing" in table
    assert table in done.stdout


def _rates(found: dict) -> list[dict]:
    return [figure for figure in found["figures"] if figure["unit"].endswith("/s")]


def test_an_unusable_folder_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = bench("--results", str(tmp_path / "file" / "results"))
    assert done.returncode == 2
    assert "cannot write the results" in done.stderr
    assert "Traceback" not in done.stderr


def test_options() -> None:
    options = parse_options(["--only", "lua", "--only", "flat", "--rounds", "3"])
    assert (options.only, options.rounds, options.strict) == (["lua", "flat"], 3, False)
    with pytest.raises(SystemExit):
        parse_options(["--rounds", "0"])
