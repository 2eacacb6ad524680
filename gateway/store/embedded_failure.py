"""Why an embedded Valkey did not start, told from its log."""

import re
import shlex
from pathlib import Path

from gateway.core.errors import SetupError
from gateway.store.embedded_files import Folder, start_anew

_LINES_SHOWN_MAX = 6
_LOG_TAIL_BYTES = 64 * 1024
_LINE_HEAD = re.compile(r"\A\d+:[A-Za-z-]+ .{10,40}? ([*#.-]) ")
_DAMAGED = re.compile(
    r"Bad file format reading the append only file"
    r"|Unrecoverable error reading the append only file"
    r"|AOF MANIFEST FILE ERROR"
    r"|Unable to obtain the AOF file"
    r"|Short read or OOM loading DB"
    r"|Internal error in RDB reading"
    r"|RDB CRC error|Wrong RDB checksum|Wrong signature trying to load DB"
    r"|Can't open the append-only file|Fatal error loading the DB"
    r"|Can't handle RDB format version"
)
_DATA_FILE = re.compile(r"appendonly\.aof(?:\.\d+\.(?:incr\.aof|base\.(?:rdb|aof))|\.manifest)?")
_NOTICE = re.compile(r"!!! .* !!!|!!! Warning|loaded anyway")


def log_since(folder: Folder, offset: int) -> str:
    """What the server has logged from byte `offset` on, at most its last 64 KiB."""
    try:
        with folder.log.open("rb") as log:
            end = log.seek(0, 2)
            log.seek(max(offset, end - _LOG_TAIL_BYTES) if end >= offset else 0)
            return log.read().decode(errors="replace")
    except OSError:
        return ""


def notices_in(log: str) -> list[str]:
    """What a person should know about a start that went well: data that was cut off."""
    return [_bare(line) for line in log.splitlines() if _NOTICE.search(line)]


def explain_end(folder: Folder, binary: Path, log: str, exit_code: int) -> SetupError:
    """The error to raise for a server that ended instead of starting."""
    if _DAMAGED.search(log):
        return _damaged(folder, binary, log)
    told = last_words(log) or "  it said nothing"
    return SetupError(
        f"the embedded Valkey ended instead of starting ({how_it_ended(exit_code)}):\n{told}",
        hint=f'See {folder.log}. store = "memory://" or "redis://host:port/0" do without it.',
    )


def how_it_ended(exit_code: int) -> str:
    """An exit code in words; negative ones are signals."""
    return f"exit code {exit_code}" if exit_code >= 0 else f"signal {-exit_code}"


def last_words(log: str) -> str:
    """The last few warnings in `log`, or its last lines when there are none; indented."""
    lines = _warnings(log) or [line for line in log.splitlines() if line.strip()]
    return "\n".join(f"  {_bare(line)}" for line in lines[-_LINES_SHOWN_MAX:])


def _damaged(folder: Folder, binary: Path, log: str) -> SetupError:
    named = _DATA_FILE.findall("\n".join(_warnings(log))) or _DATA_FILE.findall(log)
    name = "appendonly.aof.manifest" if "MANIFEST" in log else named[-1] if named else ""
    file = folder.data / name
    steps = [f"Stop, and copy {folder.data_dir} somewhere safe before anything else."]
    if name.endswith("incr.aof") and file.exists():
        steps.append(
            "To cut the file off before its first damaged entry (all later ones are lost; "
            "Valkey's own server program is the repair tool when called by this name):\n"
            f"  {_repair_command(binary, file)}\n"
            "then start again and run `stockgate verify`."
        )
    else:
        steps.append(f"Put {file} back from a copy.")
    steps.append(start_anew(folder))
    return SetupError(
        f"the data of the embedded Valkey is damaged: {file}\n{last_words(log)}",
        hint="\n".join(steps),
    )


def _repair_command(binary: Path, file: Path) -> str:
    program = """'exec -a valkey-check-aof "$0" --fix "$1"'"""
    return f"bash -c {program} {shlex.quote(str(binary))} {shlex.quote(str(file))}"


def _warnings(log: str) -> list[str]:
    """The lines that Valkey marks as warnings, and those around no mark at all."""
    kept = []
    for line in log.splitlines():
        head = _LINE_HEAD.match(line)
        if line.strip() and (head is None or head[1] == "#") and "WARNING Memory" not in line:
            kept.append(line)
    return kept


def _bare(line: str) -> str:
    return _LINE_HEAD.sub("", line).strip()
