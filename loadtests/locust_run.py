"""Runs Locust as a process of its own and reads the figures that it leaves behind."""

import asyncio
import importlib.util
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from gateway.core.errors import SetupError

STOP_WAIT_S = 20  # for visitors still inside when the time is up
OVERRUN_MAX_S = 90.0
FLASH = Path(__file__).with_name("flash.py")


@dataclass(frozen=True)
class Load:
    """How hard to push, and how long."""

    users: int
    duration_s: int
    arrivals_per_s: float
    hold_s: int
    draw: int
    processes: int = 1


def check_locust(python: str) -> None:
    """Raise SetupError when there is no such interpreter, or it is this one without Locust."""
    if shutil.which(python) is None:
        raise SetupError(f"there is no interpreter {python!r}", hint="see --locust-python")
    if python == sys.executable and importlib.util.find_spec("locust") is None:
        raise SetupError(
            "Locust is not installed for this interpreter",
            hint="`make loadtest` sets it up; or name one that has it: --locust-python PATH",
        )


def command(python: str, url: str, load: Load, folder: Path, skus: dict[str, str]) -> list[str]:
    """The words that start Locust without its web pages."""
    words = [python, "-m", "locust", "-f", str(FLASH), "--headless", "--only-summary"]
    words += ["--host", url, "--users", str(load.users), "--spawn-rate", str(load.users)]
    words += ["--load-s", str(load.duration_s), "--stop-timeout", str(STOP_WAIT_S)]
    words += ["--html", str(folder / "report.html"), "--csv", str(folder / "locust")]
    # Locust adds the ".json" itself.
    words += ["--json-file", str(folder / "locust"), "--exit-code-on-error", "0"]
    words += ["--record-dir", str(folder), "--arrivals-per-s", str(load.arrivals_per_s)]
    words += ["--hold-s", str(load.hold_s), "--draw", str(load.draw)]
    words += ["--phone-sku", skus["phone"], "--case-sku", skus["case"]]
    return words + (["--processes", str(load.processes)] if load.processes > 1 else [])


@contextmanager
def _log(folder: Path) -> Iterator[Any]:
    with (folder / "locust.log").open("wb") as log:
        yield log


async def run_locust(words: list[str], load: Load, folder: Path) -> None:
    """Run it to its end. Raises SetupError when it fails by itself; stops it when cancelled."""
    with _log(folder) as log:
        process = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            async with asyncio.timeout(load.duration_s + STOP_WAIT_S + OVERRUN_MAX_S):
                code = await process.wait()
        except TimeoutError:
            raise SetupError("Locust did not end", hint=f"see {folder / 'locust.log'}") from None
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()
    if code != 0:
        tail = (folder / "locust.log").read_text(errors="replace")[-1500:]
        raise SetupError(f"Locust ended with exit code {code}:\n{tail}")


@dataclass(frozen=True)
class Step:
    """What Locust measured under one name. Milliseconds, from the intended start."""

    name: str
    count: int
    failures: int
    p50: float
    p99: float
    max: float


def read_steps(text: str) -> list[Step]:
    """The steps out of Locust's JSON, most frequent first."""
    steps = [_step(entry) for entry in json.loads(text)]
    return sorted(steps, key=lambda step: -step.count)


def _step(entry: dict[str, Any]) -> Step:
    times = sorted((float(ms), int(count)) for ms, count in entry["response_times"].items())
    return Step(
        name=str(entry["name"]),
        count=int(entry["num_requests"]),
        failures=int(entry["num_failures"]),
        p50=_percentile(times, 0.50),
        p99=_percentile(times, 0.99),
        max=float(entry.get("max_response_time") or 0.0),
    )


def _percentile(times: list[tuple[float, int]], share: float) -> float:
    """Nearest rank over (milliseconds, count) pairs in rising order."""
    left = ceil(share * sum(count for _, count in times))
    for ms, count in times:
        left -= count
        if left <= 0:
            return ms
    return 0.0
