"""What a tidy rule reports, and which files there are to look at."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Finding(NamedTuple):
    """One thing out of order; `line` counts from 1, 0 is the whole file."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


def report(findings: list[Finding]) -> str:
    """For the message of an assertion: one line each."""
    return "\n" + "\n".join(map(str, findings))


def read(path: str) -> str:
    """The text of a file, by its path from the root of the project."""
    return (ROOT / path).read_text(encoding="utf-8")


def sources(folder: str, suffix: str) -> list[str]:
    """Paths from the root of every file with that suffix under `folder`, sorted."""
    found = (path for path in (ROOT / folder).rglob(f"*{suffix}") if path.is_file())
    return sorted(p.relative_to(ROOT).as_posix() for p in found if "__pycache__" not in p.parts)


def project_files() -> list[str]:
    """Every file of the project, by path from the root: what git knows or would add.

    Outside a clone (an unpacked source archive): every file that is not hidden or generated.
    """
    if not (ROOT / ".git").exists():
        return [path for path in sources(".", "") if not path.startswith((".", "build/", "dist/"))]
    # The clone may belong to another user than the one who tests it, as in a container.
    git = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    listing = subprocess.run(
        [*git, "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    names = sorted(set(listing.stdout.split("\0")) - {""})
    return [name for name in names if (ROOT / name).is_file()]


def texts(paths: list[str]) -> Iterator[tuple[str, str]]:
    """Path and text of each file that is text."""
    for path in paths:
        try:
            yield path, read(path)
        except UnicodeDecodeError:
            continue
