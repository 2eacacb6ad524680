"""A private gateway: started on a free port with a folder of its own, stopped and removed after."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType

from gateway.cli.demo_client import HttpCaller
from gateway.core.clock import Clock
from gateway.core.errors import SetupError

READY_WAIT_MAX_S = 30.0
STOP_WAIT_MAX_S = 20.0
VERIFY_WAIT_MAX_S = 60.0
LOG_LINES_SHOWN = 15
TABLE_COLUMNS = 80

CONFIG = """\
store = "{store}"
data_dir = "{folder}/data"

[server]
host = "127.0.0.1"
port = {port}
"""


class PrivateGateway:
    """`async with PrivateGateway(…) as gateway`: serving at `gateway.url` inside the block.

    Args:
        store: as in the configuration, e.g. "embedded://", "memory://", "redis://host:port/0".
        more_config: TOML tables added to the configuration.

    Raises SetupError when it does not come up, with the last lines of its log.
    """

    def __init__(self, clock: Clock, *, store: str = "embedded://", more_config: str = "") -> None:
        self._clock = clock
        self._store = store
        self._more_config = more_config
        self._process: subprocess.Popen[bytes] | None = None
        self.folder = Path()
        self.url = ""

    @property
    def config_path(self) -> Path:
        """The configuration file it was started with."""
        return self.folder / "stockgate.toml"

    @property
    def log_path(self) -> Path:
        """Everything it printed."""
        return self.folder / "serve.log"

    async def __aenter__(self) -> "PrivateGateway":
        self.folder = Path(tempfile.mkdtemp(prefix="stockgate-"))
        try:
            self._start()
            await self._until_ready()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop()

    async def run_command(self, *words: str) -> tuple[int, str]:
        """Run `stockgate <words> --config …`; its exit code and what it printed."""
        return await asyncio.to_thread(self._run_command, words)

    def log_tail(self) -> str:
        """The last lines of the log."""
        lines = self.log_path.read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_LINES_SHOWN:])

    def _start(self) -> None:
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        config = CONFIG.format(store=self._store, folder=self.folder, port=port)
        self.config_path.write_text(config + self._more_config)
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [*_STOCKGATE, "serve", "--config", str(self.config_path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(),
                start_new_session=True,  # Ctrl-C is ours: the gateway is stopped by us, in order
            )

    async def _until_ready(self) -> None:
        assert self._process is not None
        deadline_s = self._clock.monotonic() + READY_WAIT_MAX_S
        caller = HttpCaller(self.url, self._clock, call_timeout_s=2.0)
        while (await caller.call("GET", "/readyz")).status != 200:
            if self._process.poll() is not None:
                raise SetupError(f"the private gateway ended at once:\n{self.log_tail()}")
            if self._clock.monotonic() > deadline_s:
                raise SetupError(
                    f"the private gateway was not ready in {READY_WAIT_MAX_S:.0f} s:\n"
                    f"{self.log_tail()}"
                )
            await self._clock.sleep(0.1)
        caller.close()

    async def _stop(self) -> None:
        if self._process is not None:
            self._process.terminate()  # at once: a second Ctrl-C must not leave it running
            await asyncio.to_thread(_end, self._process)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run_command(self, words: tuple[str, ...]) -> tuple[int, str]:
        command = [*_STOCKGATE, *words, "--config", str(self.config_path)]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=_environment(),
                timeout=VERIFY_WAIT_MAX_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return 124, f"no end within {VERIFY_WAIT_MAX_S:.0f} s"
        return done.returncode, done.stdout.decode(errors="replace").rstrip()


_STOCKGATE = (sys.executable, "-m", "gateway")


def _environment() -> dict[str, str]:
    """Ours without settings of Stockgate: they would lead it to stores that are not private.

    Its tables are shown again below ours, on a terminal of unknown width.
    """
    ours = {name: text for name, text in os.environ.items() if not name.startswith("STOCKGATE_")}
    return {**ours, "COLUMNS": str(TABLE_COLUMNS)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(STOP_WAIT_MAX_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
