"""`stockgate serve` as a child process, and its command line beside it."""

import atexit
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.http.warm import ROOT, Job, Warm
from tests.support.processes import Child

START_S = 20.0
STOP_S = 20.0
CLI_S = 40.0
_POLL_S = 0.01
_listening = re.compile(r"listens on (http://\S+)").search


class GatewayFailed(Exception):
    """It ended, or did not listen in time; carries its output."""


def until(condition: Callable[[], Any], *, timeout_s: float = 15.0, what: str = "") -> Any:
    """What `condition` returns once that is truthy; AssertionError when it stays falsy."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what or condition}"
        time.sleep(_POLL_S)
    return found


def environment(**more: str) -> dict[str, str]:
    """This process's environment without settings of its own, so that the package is found."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("STOCKGATE_", "COV_"))}
    kept["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def write_config(path: Path, settings: Mapping[str, Any], more: str = "") -> Path:
    """A configuration file of dotted names; `more` is TOML that follows."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    path.write_text("\n".join([*lines, more]) + "\n", encoding="utf-8")
    return path


class Gateway:
    """One gateway in a folder of its own. Whatever it starts works below that folder.

    settings: dotted names of the configuration; a free port and `data_dir = "data"` unless given.
    """

    program: tuple[str, ...] = ("gateway",)
    """The module that is run, and words before its own."""

    def __init__(self, folder: Path, more: str = "", /, **settings: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        named = {name.replace("__", "."): value for name, value in settings.items()}
        self.folder = folder
        self.data = folder / "data"
        self.config = write_config(
            folder / "gateway.toml", {"data_dir": "data", "server.port": 0, **named}, more
        )
        self.url = ""
        self._child: Child | None = None
        self._starts = 0

    @property
    def child(self) -> Child:
        """The process that was started last."""
        assert self._child is not None, "it was not started"
        return self._child

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.url.rpartition(":")[2])

    def launch(self) -> Child:
        """Start it, and do not wait."""
        self._starts += 1
        command = [sys.executable, "-m", *self.program, "serve", "--config", str(self.config)]
        log = self.folder / f"serve-{self._starts}.log"
        self._child = Child(command, cwd=self.folder, log=log, env=environment())
        return self._child

    def start(self) -> Self:
        """Start it and wait until it says where it listens."""
        child = self.launch()
        deadline = time.monotonic() + START_S
        while (found := _listening(child.output())) is None:
            if child.exit_code is not None:
                raise GatewayFailed(f"it ended with {child.exit_code}:\n{child.output()}")
            if time.monotonic() > deadline:
                child.kill()
                raise GatewayFailed(f"it does not listen after {START_S} s:\n{child.output()}")
            time.sleep(_POLL_S)
        self.url = found[1]
        return self

    def terminate(self) -> int:
        """SIGTERM; its exit code."""
        self.child.terminate()
        return self.child.wait(STOP_S)

    def kill(self) -> None:
        """SIGKILL to the gateway; what it started is the kernel's to end."""
        self.child.kill()

    def stop(self) -> None:
        """End it, if it runs."""
        if self._child is not None:
            self._child.kill()

    def output(self) -> str:
        """What the process that was started last has said."""
        return self.child.output()

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`stockgate WORDS --config …`, run to its end in the gateway's folder."""
        return stockgate(*self._configured(words), cwd=self.folder)

    def try_to_serve(self) -> Job:
        """`stockgate serve`, which is expected to fail."""
        return warm().start(self._configured(["serve"]), self.folder, environment())

    def _configured(self, words: Sequence[str]) -> list[str]:
        options, dashes, rest = list(words), [], []
        if "--" in options:
            place = options.index("--")
            options, dashes, rest = options[:place], ["--"], options[place + 1 :]
        return [*options, "--config", str(self.config), *dashes, *rest]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


@cache
def warm() -> Warm:
    """The process that runs command lines; it lives as long as the tests."""
    folder = Path(tempfile.mkdtemp(prefix="stockgate-warm-"))
    forker = Warm(folder, environment())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(forker.close)
    return forker


def stockgate(
    *words: str, cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The command line, run to its end; its two outputs are apart."""
    job = warm().start(words, cwd, environment(COLUMNS="200", **(env or {})))
    return subprocess.CompletedProcess(words, job.wait(CLI_S), job.stdout, job.stderr)
