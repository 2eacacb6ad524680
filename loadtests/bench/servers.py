"""Private Redis and Valkey servers, each on a socket of its own in a temporary folder."""

import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Literal, Self

from gateway.core.errors import SetupError
from gateway.store.embedded import find_binary
from loadtests.bench.link import Link

Kind = Literal["redis", "valkey"]
KINDS: tuple[Kind, ...] = ("valkey", "redis")
Fsync = Literal["always", "off", "no file"]

START_WAIT_MAX_S = 10.0
STOP_WAIT_MAX_S = 20.0
FILE_SETTINGS: dict[Fsync, dict[str, str]] = {
    "always": {"appendonly": "yes", "appendfsync": "always"},
    "off": {"appendonly": "yes", "appendfsync": "no"},
    "no file": {"appendonly": "no"},
}
SETTINGS = {
    "port": "0",  # a socket file is enough, and no other process can take it
    "save": "",
    "maxmemory-policy": "noeviction",
    "auto-aof-rewrite-percentage": "0",  # a rewrite in the middle of a round would be noise
    "daemonize": "no",
}


def find_program(kind: Kind) -> str:
    """The server's program. Raises SetupError when this machine has none."""
    if kind == "valkey":
        return str(find_binary())
    found = shutil.which("redis-server")
    if found is None:
        raise SetupError("redis-server is not on PATH", hint="Install Redis 7.0 or later.")
    return found


def kinds_here() -> tuple[list[Kind], list[str]]:
    """The servers that this machine has, and why others are left out."""
    found: list[Kind] = []
    missing: list[str] = []
    for kind in KINDS:
        try:
            find_program(kind)
            found.append(kind)
        except SetupError as wrong:
            missing.append(f"{kind} was not measured: {wrong.message}")
    if not found:
        raise SetupError("there is no Redis and no Valkey to measure", hint="; ".join(missing))
    return found, missing


class PrivateServer:
    """`with PrivateServer(kind, fsync) as server`: running inside the block, gone after it.

    fsync: "always" as shipped, "off" an append-only file that is never forced to disk,
    "no file" no append-only file.
    """

    def __init__(self, kind: Kind, fsync: Fsync) -> None:
        self.kind: Kind = kind
        self.fsync: Fsync = fsync
        self._program = find_program(kind)
        self._links: list[Link] = []

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix=f"stockgate-bench-{self.kind}-"))
        self._socket = self.folder / "s.sock"
        self._log_path = self.folder / "server.log"
        settings = {
            **SETTINGS,
            **FILE_SETTINGS[self.fsync],
            "dir": str(self.folder),
            "unixsocket": str(self._socket),
        }
        words = [word for name, value in settings.items() for word in (f"--{name}", value)]
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [self._program, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._await_answer()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for link in self._links:
            link.close()
        self._process.terminate()
        try:
            self._process.wait(STOP_WAIT_MAX_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def name(self) -> str:
        """What it is, for tables: program, version, durability."""
        words = {"always": "fsync always", "off": "fsync off", "no file": "no append-only file"}
        return f"{self.version}, {words[self.fsync]}"

    def link(self) -> Link:
        """A connection to it, closed with the server."""
        link = Link(str(self._socket))
        self._links.append(link)
        return link

    def _await_answer(self) -> None:
        deadline_s = time.monotonic() + START_WAIT_MAX_S
        while not self._socket.exists():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                tail = self._log_path.read_text(errors="replace")[-1000:]
                raise SetupError(f"{self._program} did not start:\n{tail}")
            time.sleep(0.02)
        about = self.link().info("server")
        version = about.get("valkey_version") or about["redis_version"]
        self.version = f"{self.kind} {version}"
