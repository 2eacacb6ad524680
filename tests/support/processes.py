"""Child processes that never outlive the test run."""

import atexit
import contextlib
import os
import pwd
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_alive: set["Child"] = set()


class Child:
    """A process in a group of its own, whose output goes to a file.

    Stopping it stops everything it started. What is still running when the interpreter exits is
    killed.

    user: who runs it, for programs that refuse root.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        log: Path,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                list(command),
                cwd=cwd,
                env=None if env is None else dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **as_user(user),
            )
        _alive.add(self)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the process and to everything in its group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def terminate(self) -> None:
        """SIGTERM to the process alone: what it started is its own to look after."""
        if self.exit_code is None:
            self._process.terminate()

    def wait(self, timeout_s: float) -> int:
        """Its exit code; subprocess.TimeoutExpired when it runs on."""
        return self._process.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL to the whole group, even when its leader has gone, and reap the leader."""
        self.signal(signal.SIGKILL)
        self._process.wait()
        _alive.discard(self)

    def stop(self, timeout_s: float = 5.0) -> None:
        """SIGTERM, then SIGKILL to whatever is left after `timeout_s`."""
        self.signal(signal.SIGCONT)
        self.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(timeout_s)
        self.kill()

    def output(self) -> str:
        """Everything it has printed so far."""
        return self.log.read_text(errors="replace")


def as_user(user: str | None) -> dict[str, Any]:
    """Arguments of subprocess.Popen that make it run as `user`; none for None."""
    if user is None:
        return {}
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def processes_in(folder: Path) -> list[int]:
    """Ids of processes that work in `folder` or below it. Linux; elsewhere none are found."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").readlink().is_relative_to(folder):
                found.append(int(process.name))
    return found


@atexit.register
def _kill_all() -> None:
    for child in list(_alive):
        child.kill()
