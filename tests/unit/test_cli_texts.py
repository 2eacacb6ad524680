"""What the command line prints: calls to paste, notes, tables, the verdict of verify."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli import serve
from gateway.cli.demo import _check_scopes
from gateway.cli.demo_client import Answer
from gateway.cli.tables import show_table
from gateway.cli.verify import COLUMNS, verify
from gateway.core.errors import SetupError
from gateway.core.model import SkuSettings, SkuTerms
from gateway.sale.verify import Finding, Report, Rows

ROOT = Path(__file__).resolve().parents[2]
TERMINAL_COLUMNS = 80


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`.venv/bin/stockgate` below the working folder, called by its full path."""
    path = tmp_path / ".venv" / "bin" / "stockgate"
    path.parent.mkdir(parents=True)
    path.write_text('#!/bin/sh\necho "$0 $*"\necho "PATH=$PATH"\n', encoding="utf-8")
    path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(path), "serve"])
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return path


def test_a_command_not_on_the_path_is_named_from_here(program: Path) -> None:
    assert serve._command() == ".venv/bin/stockgate"


def test_a_command_from_elsewhere_is_named_in_full(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (program.parent, Path("/")):
        monkeypatch.chdir(folder)
        named = serve._command()
        assert (folder / named).samefile(program)
        assert "/" in named


def test_a_command_on_the_path_is_named_alone(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}/usr/bin")
    assert serve._command() == "stockgate"


def test_make_run_leaves_the_path_alone(program: Path, tmp_path: Path) -> None:
    """Only the targets that need a redis-server look for it in the environment."""
    (tmp_path / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    for name in ("pyproject.toml", ".venv/bin/python", ".venv/.run"):
        (tmp_path / name).touch()
    made = subprocess.run(
        ["make", "run"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    called, path = made.stdout.splitlines()
    assert called.endswith(".venv/bin/stockgate serve --config demo/stockgate.toml")
    assert path == "PATH=/usr/bin:/bin"


def test_notes_hang_below_their_first_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(TERMINAL_COLUMNS))
    first, *more = serve._note("a note of many words " * 10).splitlines()
    assert first.startswith("  note    a note")
    assert more
    assert all(line.startswith(" " * 10) and line[10] != " " for line in more)
    assert all(len(line) <= TERMINAL_COLUMNS for line in (first, *more))


@pytest.mark.parametrize(
    ("sku", "on_hand", "columns"),
    [("p" * 20, 99_999, TERMINAL_COLUMNS), ("p" * 64, 10**9, 150)],
    ids=["usual", "longest"],
)
def test_a_row_of_units_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    sku: str,
    on_hand: int,
    columns: int,
) -> None:
    monkeypatch.setenv("COLUMNS", str(TERMINAL_COLUMNS))
    show_table(COLUMNS, [(sku, on_hand, 194, 0, 0, 5, 1, 1, "BREACH")])
    header, _, row = capsys.readouterr().out.splitlines()
    assert header.startswith("SKU ")
    assert row.split() == [sku, str(on_hand), "194", "0", "0", "5", "1", "1", "BREACH"]
    assert len(row) <= columns


def test_texts_are_folded_at_the_width_of_a_terminal_but_not_in_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [("hold.ttl_s", "x" * 100, "default")]
    monkeypatch.setenv("COLUMNS", str(TERMINAL_COLUMNS))
    show_table(("setting", "value", "from"), rows)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= TERMINAL_COLUMNS
    monkeypatch.delenv("COLUMNS")
    show_table(("setting", "value", "from"), rows)
    assert "x" * 100 in capsys.readouterr().out


def finding(sku: str, *, unsure: tuple[str, ...] = (), faults: tuple[str, ...] = ()) -> Finding:
    terms = SkuTerms(
        sku,
        on_hand=5,
        available=5,
        held=0,
        unsettled=0,
        safety_stock=0,
        sold=0,
        version=1,
        move_seq=1,
        settings=SkuSettings(),
    )
    return Finding(sku, terms, Rows(), None, faults, unsure)


def verified(
    monkeypatch: pytest.MonkeyPatch, *findings: Finding, unreadable: tuple[str, ...] = ()
) -> tuple[int, str]:
    report = Report(findings, 1, 5, unreadable)
    monkeypatch.setattr("gateway.cli.verify.with_core", lambda path, work: report)
    result = CliRunner().invoke(verify, [])
    return result.exit_code, result.output


def test_verify_says_what_it_could_not_recount(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = finding("busy", unsure=("held is 2, its reservations hold 1",))
    code, told = verified(monkeypatch, busy, finding("calm"))
    assert code == 0
    assert "1 SKU kept changing while they were read; look again when it is quieter: busy" in told
    assert "no breach found" in told
    assert "every counter explained" not in told
    assert "2 SKUs, 1 reservation recounted" in told


def test_verify_says_that_all_is_explained_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    code, told = verified(monkeypatch, finding("calm"))
    assert (code, "every counter explained" in told) == (0, True)
    code, told = verified(monkeypatch, finding("calm"), finding("bad", faults=("lost a unit",)))
    assert (code, "bad: lost a unit" in told) == (1, True)
    assert "BREACH: 1 SKU does not add up." in told
    assert "OK" not in told


def test_verify_names_records_that_it_could_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    code, told = verified(monkeypatch, finding("calm"), unreadable=("A1", "bell\x07"))
    assert code == 1
    assert "BREACH: 2 records among the reservations in Redis cannot be read" in told
    assert r"'A1', 'bell\x07'" in told
    assert "add up." not in told
    assert "OK" not in told
    bad = finding("bad", faults=("lost a unit",))
    code, told = verified(monkeypatch, bad, unreadable=tuple(f"f{n}" for n in range(50)))
    assert code == 1
    assert "BREACH: 1 SKU does not add up." in told
    assert "BREACH: 50 records" in told
    assert "'f9', …" in told
    assert "'f10'" not in told


class Guarded:
    """A gateway whose key has the given scopes; it has no SKUs and no reservations."""

    def __init__(self, *scopes: str) -> None:
        self._scopes = scopes

    async def call(self, method, path, body=None, headers=None) -> Answer:
        scope = "admin" if path.startswith("/v1/admin/") else "storefront"
        if scope not in self._scopes:
            return Answer(403, {"code": "forbidden"})
        return Answer(200) if scope == "admin" else Answer(404, {"code": "unknown-sku"})


@pytest.mark.parametrize("scopes", [(), ("admin",), ("storefront",)])
async def test_the_demo_wants_a_key_with_both_scopes(scopes: tuple[str, ...]) -> None:
    with pytest.raises(SetupError, match="the key needs the scopes storefront and admin") as caught:
        await _check_scopes(Guarded(*scopes))
    assert caught.value.exit_code == 2
    assert "--key" in caught.value.hint


async def test_the_demo_goes_on_with_both() -> None:
    await _check_scopes(Guarded("admin", "storefront", "metrics"))
