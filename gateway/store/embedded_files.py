"""The folder of the embedded Valkey: who may use it, what is in it, where its socket is.

    data_dir/
    ├── lock                 held by the one gateway that owns the folder; contains its pid
    └── valkey/
        ├── server.lock      held by the server's processes for as long as any of them lives
        ├── valkey.json      the running server: pids and socket, for those who attach
        ├── valkey.sock      (in a temporary folder when this path is too long for a socket)
        ├── valkey.log       what the server says
        └── appendonlydir/   the data

Both locks are flock(2): they end with the processes that hold them, however those die.
"""

import contextlib
import fcntl
import os
import tempfile
from pathlib import Path

import msgspec

from gateway.core.errors import SetupError

# sun_path holds 104 bytes on macOS and 108 on Linux, its closing zero included.
SOCKET_PATH_BYTES_MAX = 100

_LOG_BYTES_MAX = 8 * 1024 * 1024
_FRESH_BASE_BYTES_MAX = 200
_MANIFEST = "appendonly.aof.manifest"
_TEMPORARY_PREFIX = "stockgate-"


class ServerState(msgspec.Struct, frozen=True):
    """A server that was started. `server_pid` is also its process group."""

    server_pid: int
    owner_pid: int
    socket: str


class Flock:
    """An exclusive lock on a file, held until `release` or the end of the process."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def try_take(cls, path: Path) -> "Flock | None":
        """The lock, or None when another process holds it. Raises OSError."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        except OSError:
            os.close(fd)
            raise
        return cls(fd)

    def write(self, text: str) -> None:
        """Replace the file's content."""
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, text.encode(), 0)

    def release(self) -> None:
        """Let go; a child that inherited the descriptor keeps the lock. Safe to repeat."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


class Folder:
    """The paths under one data folder, and what is done to them without a running server."""

    def __init__(self, data_dir: str | Path) -> None:
        self.data_dir = Path(data_dir).absolute()
        self.valkey = self.data_dir / "valkey"
        self.owner_lock = self.data_dir / "lock"
        self.server_lock = self.valkey / "server.lock"
        self.state_file = self.valkey / "valkey.json"
        self.log = self.valkey / "valkey.log"
        self.data = self.valkey / "appendonlydir"

    def create(self) -> None:
        """Make the folders, for this user only.

        Raises:
            SetupError: something is in the way, or it is not writable.
        """
        try:
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.valkey.mkdir(mode=0o700, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.valkey):
                pass
        except OSError as error:
            raise self.unusable(error) from None

    def unusable(self, error: OSError) -> SetupError:
        """What to say when the operating system refuses something in here."""
        at = error.filename or self.data_dir
        return SetupError(
            f"cannot keep data in {self.data_dir}: {at}: {error.strerror}",
            hint="Set data_dir to a folder that this user may write to.",
        )

    def take_ownership(self) -> Flock | None:
        """The lock on the whole folder, or None when another process has it."""
        try:
            lock = Flock.try_take(self.owner_lock)
            if lock is not None:
                lock.write(str(os.getpid()))
        except OSError as error:
            raise self.unusable(error) from None
        return lock

    def owner_pid(self) -> int:
        """The process that owns the folder, or 0 when it has not said so yet."""
        try:
            return int(self.owner_lock.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return 0

    def read_state(self) -> ServerState | None:
        """The server recorded last, which may have ended since."""
        try:
            return msgspec.json.decode(self.state_file.read_bytes(), type=ServerState)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def write_state(self, state: ServerState) -> None:
        """Record a server, in one step for whoever reads meanwhile."""
        draft = self.state_file.with_suffix(".json.new")
        draft.write_bytes(msgspec.json.encode(state))
        draft.replace(self.state_file)

    def forget_server(self) -> None:
        """Remove the record of a server that has ended, and its socket."""
        state = self.read_state()
        self.state_file.unlink(missing_ok=True)
        if state is None:
            return
        socket = Path(state.socket)
        with contextlib.suppress(OSError):
            socket.unlink(missing_ok=True)
        temporary = socket.parent.name.startswith(_TEMPORARY_PREFIX)
        if temporary and socket.parent != self.valkey:
            with contextlib.suppress(OSError):
                socket.parent.rmdir()

    def new_socket(self) -> Path:
        """Where the next server listens: in the folder, or in a short one only we may enter."""
        here = self.valkey / "valkey.sock"
        if len(os.fsencode(here)) <= SOCKET_PATH_BYTES_MAX:
            return here
        short = Path(tempfile.mkdtemp(prefix=_TEMPORARY_PREFIX)) / "valkey.sock"
        if len(os.fsencode(short)) > SOCKET_PATH_BYTES_MAX:
            short.parent.rmdir()
            raise SetupError(
                f"{here} is too long for a socket (over {SOCKET_PATH_BYTES_MAX} bytes), "
                f"and so is {short}",
                hint="Set data_dir to a shorter path, or TMPDIR to a short one such as /tmp.",
            )
        return short

    def rotate_log(self) -> None:
        """Keep one older log once the log is large."""
        with contextlib.suppress(FileNotFoundError):
            if self.log.stat().st_size > _LOG_BYTES_MAX:
                self.log.replace(self.log.with_suffix(".log.1"))

    def refuse_lost_manifest(self) -> None:
        """Valkey starts empty when the list of its data files is gone; say so instead.

        The files of a first start that was cut short hold nothing and are let pass, and so is a
        damaged list: Valkey refuses that by itself.
        """
        if not self.data.is_dir() or _lists_files(self.data / _MANIFEST):
            return
        kept = [file for file in sorted(self.data.iterdir()) if not _is_blank(file)]
        if kept:
            raise SetupError(
                f"{self.data} has data ({kept[0].name}) that no {_MANIFEST} lists; "
                "Valkey would start empty and forget every reservation",
                hint=f"Put the manifest back from a copy.\n{start_anew(self)}",
            )


def start_anew(folder: Folder) -> str:
    """The last resort, when data cannot be read and there is no copy of it."""
    return (
        f"Without a copy: move {folder.data_dir} away to start anew; "
        "the ledger in it still says what was sold."
    )


def _lists_files(manifest: Path) -> bool:
    """Whether there is a manifest with an entry; lines that begin with # are comments."""
    try:
        lines = manifest.read_bytes().splitlines()
    except FileNotFoundError:
        return False
    return any(line.strip() and not line.startswith(b"#") for line in lines)


def _is_blank(file: Path) -> bool:
    """Whether nothing can be lost with it."""
    if file.name == _MANIFEST:
        return True
    size_bytes = file.stat().st_size
    first_base = file.name == "appendonly.aof.1.base.rdb" and size_bytes <= _FRESH_BASE_BYTES_MAX
    return size_bytes == 0 or first_base
