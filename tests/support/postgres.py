"""A real PostgreSQL server for tests, on a loopback port and in a throw-away folder."""

import itertools
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.ports import free_port
from tests.support.processes import Child, as_user
from tests.support.servers import ServerFailed, ServerMissing, wait_until_ready

USER = "stockgate"
PASSWORD = "pg-secret"
GUARDED = "guarded"
"""A database user whose password is asked for; everybody else is let in without."""

_START_S = 30.0
_FOLDERS = ("/usr/lib/postgresql", "/usr/local/opt", "/opt/homebrew/opt")
_UNDURABLE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "autovacuum": "off",
    "deadlock_timeout": "20ms",
    "log_min_messages": "warning",
}
_HBA = f"""\
host all {GUARDED} 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
"""


def find_programs() -> Path:
    """The folder with `initdb`, `postgres` and `psql`, or ServerMissing."""
    folders = [Path(found).resolve().parent for found in (shutil.which("initdb"),) if found]
    for root in map(Path, _FOLDERS):
        folders += sorted(root.glob("*/bin"), key=_version, reverse=True)
    for folder in folders:
        if all((folder / name).exists() for name in ("initdb", "postgres", "psql")):
            return folder
    raise ServerMissing(
        f"no PostgreSQL server: initdb is not on PATH and not in {', '.join(_FOLDERS)}; "
        "install PostgreSQL 14 or later"
    )


def _version(folder: Path) -> float:
    found = re.search(r"(\d+(?:\.\d+)?)/bin\Z", str(folder))
    return float(found[1]) if found else 0.0


class PostgresServer:
    """One server process; `with PostgresServer() as server:` starts and removes it.

    Port and data stay the same over `kill` or `shut_down` and `restart`. durable: with fsync, as
    shipped; otherwise what was committed survives a kill of the server but not of the machine.
    It refuses to run as root, so root runs it as `postgres` or `nobody`.
    """

    def __init__(self, *, durable: bool = False, extra: Mapping[str, str] | None = None) -> None:
        self.port = 0
        self._programs = find_programs()
        self._user = _other_user()
        self.directory = Path(tempfile.mkdtemp(prefix="stockgate-postgres-"))
        self._data = self.directory / "data"
        self._settings = {**_SETTINGS, **({} if durable else _UNDURABLE), **(extra or {})}
        self._numbers = itertools.count(1)
        self._child: Child | None = None

    @property
    def pid(self) -> int:
        return self._running().pid

    def url(self, database: str, user: str = USER, password: str = PASSWORD) -> str:
        """The address of a database, as the configuration takes it."""
        return f"postgresql+asyncpg://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def new_database(self, template: str = "template0") -> str:
        """The name of a database of its own, empty or a copy of `template`."""
        name = f"ledger_{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def sql(self, statement: str, database: str = "postgres") -> list[list[str]]:
        """The rows of a statement, as text; over a connection of its own. ServerFailed if it fails.

        For setting a stage, not for speed.
        """
        command = [str(self._programs / "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement]
        address = f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"
        done = _run([*command, address])
        if done.returncode:
            raise ServerFailed(done.stderr)
        return [line.split("|") for line in done.stdout.splitlines()]

    def start(self) -> Self:
        """Starts on a free port and waits until it answers; tries again if the port is taken."""
        self._make()
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
        """SIGKILL to the server and to all that serve its connections."""
        _signal(list(self._processes()), signal.SIGKILL)
        self._running().kill()
        self._child = None

    def shut_down(self) -> None:
        """At once, as `pg_ctl stop -m immediate` does: connections are cut, nothing is finished."""
        self._end()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing is answered."""
        _signal(list(self._processes()), signal.SIGSTOP)

    def resume(self) -> None:
        _signal(list(self._processes()), signal.SIGCONT)

    def stop(self) -> None:
        """Ends it, if it runs, and removes its data. Safe to call twice, and while paused."""
        self._end()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _make(self) -> None:
        if self._user:
            shutil.chown(self.directory, self._user)
        words = ["-D", str(self._data), "-U", USER, "-A", "trust", "-N"]
        words += ["-E", "UTF8", "--locale=C"]
        initdb = str(self._programs / "initdb")
        done = _run([initdb, *words], cwd=self.directory, **as_user(self._user))
        if done.returncode:
            raise ServerFailed(f"initdb ended with {done.returncode}:\n{done.stderr}")
        (self._data / "pg_hba.conf").write_text(_HBA)

    def _launch(self) -> None:
        command = [str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self.port)]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        log = self.directory / "server.log"
        log.unlink(missing_ok=True)
        self._child = Child(command, cwd=self.directory, log=log, user=self._user)
        try:
            wait_until_ready(self._child, "postgres", self._is_ready, _START_S)
        except ServerFailed:
            self._end()
            raise

    def _is_ready(self, child: Child) -> bool:
        """What the server says of itself, in the file that guards its data."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and int(lines[0]) == child.pid and lines[7].strip() == "ready"

    def _running(self) -> Child:
        if self._child is None:
            raise RuntimeError("the PostgreSQL server is not running")
        return self._child

    def _processes(self) -> Iterator[int]:
        """The server, then those it started: each leads a group of its own."""
        server = self._running().pid
        yield server
        for line in _run(["ps", "-eo", "pid=,ppid="]).stdout.splitlines():
            pid, parent = map(int, line.split())
            if parent == server:
                yield pid

    def _end(self) -> None:
        """An immediate shutdown: the next start replays the log, as after a crash."""
        if self._child is None:
            return
        if self._child.exit_code is None:
            self.resume()
            self._child.signal(signal.SIGQUIT)
        self._child.stop()
        self._child = None


def _run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60, **options
    )


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _other_user() -> str | None:
    """The user to run as; None to run as we are."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    for name in ("postgres", "nobody"):
        if name in known:
            return name
    raise ServerMissing("PostgreSQL refuses to run as root, and there is no other user to run it")
