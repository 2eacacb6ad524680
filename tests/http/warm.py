"""Command lines without their second of imports: a process that has done them forks for each.

What runs is the `stockgate` command in a process of its own, with its own outputs and exit code.
"""

import importlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tests.support.processes import Child

ROOT = Path(__file__).resolve().parents[2]
_POLL_S = 0.005


class Job:
    """One command line that was started; its outputs are files `out` and `err` in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def wait(self, timeout_s: float) -> int:
        """Its exit code; subprocess.TimeoutExpired when it runs on."""
        code = self._folder / "code"
        deadline = time.monotonic() + timeout_s
        while not code.exists():
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self._folder), timeout_s)
            time.sleep(_POLL_S)
        return int(code.read_text())

    @property
    def stdout(self) -> str:
        return (self._folder / "out").read_text(encoding="utf-8", errors="replace")

    @property
    def stderr(self) -> str:
        return (self._folder / "err").read_text(encoding="utf-8", errors="replace")


class Warm:
    """The process that forks. Jobs may run at the same time."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._folder = folder
        self._jobs = folder / "jobs"
        os.mkfifo(self._jobs)
        command = [sys.executable, "-m", "tests.http.warm", str(self._jobs)]
        self._child = Child(command, cwd=ROOT, log=folder / "log", env=env)
        self._orders = self._jobs.open("w", encoding="utf-8")
        self._count = 0

    def start(self, words: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Job:
        """Run `stockgate WORDS` in the folder `cwd`."""
        self._count += 1
        folder = self._folder / f"job-{self._count}"
        folder.mkdir()
        order = {"words": list(words), "cwd": str(cwd), "env": dict(env), "folder": str(folder)}
        self._orders.write(json.dumps(order) + "\n")
        self._orders.flush()
        return Job(folder)

    def close(self) -> None:
        """End it and whatever of its jobs still runs."""
        self._orders.close()
        self._child.kill()


def _serve(path: str) -> None:
    command_line = importlib.import_module("gateway.cli.main")
    main = command_line.main
    for module, _ in command_line.COMMANDS.values():
        importlib.import_module(module)
    importlib.import_module("gateway.store.embedded")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with Path(path).open(encoding="utf-8") as orders:
        for order in orders:
            if os.fork() == 0:
                _keep_code(json.loads(order), main)


def _keep_code(order: dict[str, Any], main: Any) -> NoReturn:
    """Between the two: writes down how the command ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    folder = Path(order["folder"])
    pid = os.fork()
    if pid == 0:
        _run(order, folder, main)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    (folder / "partial").write_text(str(code))
    (folder / "partial").rename(folder / "code")
    os._exit(0)


def _run(order: dict[str, Any], folder: Path, main: Any) -> NoReturn:
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    sys.argv = [str(ROOT / "gateway" / "__main__.py"), *order["words"]]
    random.seed()
    code = 1
    try:
        main()
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _serve(sys.argv[1])
