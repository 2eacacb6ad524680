"""What `serve` prints can be pasted into a shell, and does what it says."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.http.gateways import Gateway, environment


def printed_calls(output: str) -> str:
    """The lines between "Try it" and the hint on how to stop."""
    return output.partition("Try it")[2].partition("\n")[2].partition("Ctrl-C")[0]


def paste(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the lines as an interactive shell would, one after the other."""
    return subprocess.run(
        ["bash"],
        input=script,
        cwd=folder,
        env=environment(COLUMNS="200"),
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )


def sale_of(output: str) -> list[dict[str, object]]:
    """The JSON answers in it, one after the other."""
    found, decoder, rest = [], json.JSONDecoder(), output
    while "{" in rest:
        value, end = decoder.raw_decode(rest[rest.index("{") :])
        found.append(value)
        rest = rest[rest.index("{") + end :]
    return found


@pytest.fixture
def short_python(tmp_path: Path) -> Path:
    """A folder in which `python` is the interpreter of this run."""
    folder = tmp_path / "bin"
    folder.mkdir()
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    return folder


def test_the_calls_that_serve_prints_work_when_pasted(gateway: Gateway, short_python: Path) -> None:
    script = printed_calls(gateway.output())
    assert script.count("curl") == 3
    result = paste(f"PATH={short_python}:$PATH\n{script}", gateway.folder)
    assert result.stderr == ""
    stock, held, settled = sale_of(result.stdout)
    assert f"/v1/stock/{stock['sku']}; echo\n" in script
    assert held["state"] == "held"
    assert (settled["id"], settled["state"]) == (held["id"], "settled")
    assert "OK: nothing oversold" in result.stdout
    assert all(line.endswith("}") for line in result.stdout.splitlines() if line[:1] == "{")
    again = paste(f"PATH={short_python}:$PATH\n{script.partition('  python')[0]}", gateway.folder)
    assert sale_of(again.stdout)[2]["state"] == "settled"


def test_in_memory_they_work_too_and_sell_what_is_on_sale(tmp_path: Path) -> None:
    """The sale of the first has ended and that of the second has not begun."""
    goods = tmp_path / "goods.csv"
    goods.write_text(
        "sku,on_hand,sale_starts_at,sale_ends_at\n"
        "over,900,-2h,-1h\nlater,800,+1h,+2h\nnow,5,-1h,+1h\n",
        encoding="utf-8",
    )
    settings = {"store": "memory://", "demo.catalogue": "goods.csv"}
    with Gateway(tmp_path, **settings) as gateway:
        assert "3 SKUs imported" in gateway.output()
        result = paste(printed_calls(gateway.output()), tmp_path)
        stock, held, settled, skus = sale_of(result.stdout)
        assert (stock["sku"], held["state"], settled["state"]) == ("now", "held", "settled")
        assert len(list(skus["items"])) == 3  # type: ignore[call-overload]
        assert gateway.terminate() == 0
        assert "kept" not in gateway.output().rpartition("Stopped")[2]
        assert not gateway.data.exists()


def test_without_skus_it_says_how_to_begin(tmp_path: Path) -> None:
    with Gateway(tmp_path) as gateway:
        assert f"stock import --config {gateway.config} FILE" in one_line(gateway.output())
        assert "Try it" not in gateway.output()
    with Gateway(tmp_path / "memory", store="memory://") as gateway:
        assert "No SKUs yet: PUT them to http://" in one_line(gateway.output())


def one_line(text: str) -> str:
    return " ".join(text.split())
