"""A private Redis with the shipped settings, for load tests on a Redis binary of one's choice."""

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from gateway.core.errors import SetupError

START_WAIT_MAX_S = 10.0
STOP_WAIT_MAX_S = 10.0
SETTINGS = {
    "port": "0",  # a socket file is enough
    "appendonly": "yes",
    "appendfsync": "always",
    "save": "",
    "maxmemory-policy": "noeviction",
    "daemonize": "no",
}


class PrivateRedis:
    """`with PrivateRedis(binary) as redis`: a server at `redis.url`, gone with its data after."""

    def __init__(self, binary: str) -> None:
        found = shutil.which(binary)
        if found is None:
            raise SetupError(
                f"there is no program {binary!r}", hint="name one: --redis-binary /path/to/redis"
            )
        self._binary = found

    def __enter__(self) -> "PrivateRedis":
        self.folder = Path(tempfile.mkdtemp(prefix="stockgate-redis-"))
        self.socket = self.folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        settings = {**SETTINGS, "dir": str(self.folder), "unixsocket": str(self.socket)}
        words = [word for name, value in settings.items() for word in (f"--{name}", value)]
        self.log = (self.folder / "redis.log").open("wb")
        self.process = subprocess.Popen(
            [self._binary, *words],
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            self._await_socket()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_WAIT_MAX_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _await_socket(self) -> None:
        deadline_s = time.monotonic() + START_WAIT_MAX_S
        while not self.socket.exists():
            if self.process.poll() is not None or time.monotonic() > deadline_s:
                tail = (self.folder / "redis.log").read_text(errors="replace")[-1000:]
                raise SetupError(f"{self._binary} did not start:\n{tail}")
            time.sleep(0.02)
