"""Damaged data of the embedded Valkey: named, never made worse, and repairable where it can be."""

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.core.errors import SetupError
from gateway.store.embedded import start
from tests.support.embedded_valkey import CLOCK, call, running, until


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """The data files of a server with 50 keys in its base and 50 behind it."""
    async with running(tmp_path) as server:
        for number in range(50):
            await call(server, "SET", f"base{number}", "x" * 20)
        await call(server, "BGREWRITEAOF")
        folder = tmp_path / "valkey" / "appendonlydir"
        manifest = folder / "appendonly.aof.manifest"
        await until(lambda: "2.base.rdb" in manifest.read_text(encoding="ascii"))
        for number in range(50):
            await call(server, "SET", f"late{number}", "x" * 20)
    return folder


def garble(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at : at + 60] = b"#" * 60
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("appendonly.aof.2.incr.aof", lambda file: garble(file, 600)),
        ("appendonly.aof.2.incr.aof", Path.unlink),
        ("appendonly.aof.2.base.rdb", lambda file: garble(file, 0)),
        ("appendonly.aof.2.base.rdb", lambda file: garble(file, 200)),
        ("appendonly.aof.2.base.rdb", lambda file: file.write_bytes(file.read_bytes()[:99])),
        ("appendonly.aof.2.base.rdb", Path.unlink),
        ("appendonly.aof.manifest", lambda file: garble(file, 0)),
        ("appendonly.aof.manifest", lambda file: garble(file, 4)),
        ("appendonly.aof.manifest", Path.unlink),
        ("appendonly.aof.manifest", lambda file: file.write_bytes(b"")),
    ],
)
async def test_damaged_data_is_named_and_left_alone(
    data: Path, tmp_path: Path, name: str, damage: Callable[[Path], Any]
) -> None:
    damage(data / name)
    before = {file.name: file.read_bytes() for file in data.iterdir()}
    with pytest.raises(SetupError) as error:
        await start(tmp_path, clock=CLOCK)
    assert name in error.value.message
    assert str(data) in error.value.message
    assert str(tmp_path) in error.value.hint
    assert error.value.exit_code == 2
    assert {file.name: file.read_bytes() for file in data.iterdir()} == before


async def test_the_repair_that_is_suggested_works(data: Path, tmp_path: Path) -> None:
    garble(data / "appendonly.aof.2.incr.aof", 600)
    with pytest.raises(SetupError) as error:
        await start(tmp_path, clock=CLOCK)
    command = next(line for line in error.value.hint.splitlines() if "bash -c" in line)
    repair = subprocess.run(
        shlex.split(command), input=b"y\n", capture_output=True, check=False, timeout=10
    )
    assert b"Successfully truncated" in repair.stdout
    async with running(tmp_path) as server:
        kept = await call(server, "DBSIZE")
        assert 50 < kept < 100


async def test_a_first_start_that_was_cut_short_is_not_damage(tmp_path: Path) -> None:
    async with running(tmp_path):
        pass
    (tmp_path / "valkey" / "appendonlydir" / "appendonly.aof.manifest").unlink()
    async with running(tmp_path) as server:
        assert await call(server, "DBSIZE") == 0
