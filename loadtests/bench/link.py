"""One connection to Redis that does one thing at a time, and Redis's own account of the cost.

It stands in for the gateway's connection, so that what is measured is what the gateway sends. It
blocks: nothing else runs in this process meanwhile, and no event loop is paid for.
"""

import socket
import time
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar

import hiredis
import msgspec

from gateway.store.client import Arg
from gateway.store.scripts import Script

T = TypeVar("T")

ANSWER_WAIT_MAX_S = 60.0
READ_BYTES = 1 << 20


class Cost(msgspec.Struct, frozen=True):
    """What an amount of work took of Redis, microseconds each.

    command_us: inside the command, by INFO commandstats. cpu_us: of its main thread, reading and
    answering included. waited_us: from sending to the answer.
    """

    command_us: float
    cpu_us: float
    waited_us: float


class Link:
    """Sends commands and waits for their answers. Speaks RESP2; answers are bytes and numbers."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(ANSWER_WAIT_MAX_S)
        self._socket.connect(path)
        self._reader = hiredis.Reader()
        self._loaded: set[str] = set()
        self.waited_s = 0.0
        """Time spent between sending and the answer, since the link was made."""

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Arg]) -> Any:
        """What the gateway's typed commands ask of a connection; never suspends."""
        if script.sha not in self._loaded:
            self.call("SCRIPT", "LOAD", script.text)
            self._loaded.add(script.sha)
        return self.call("EVALSHA", script.sha, len(keys), *keys, *args)

    def call(self, *words: Arg) -> Any:
        """One command's answer; raises hiredis.ReplyError when it is an error."""
        return self.exchange(pack(words), 1)[0]

    def exchange(self, packed: bytes, answers: int) -> list[Any]:
        """Sends what was packed, returns that many answers."""
        begun = time.perf_counter()
        self._socket.sendall(packed)
        found: list[Any] = []
        while len(found) < answers:
            answer = self._reader.gets()
            while answer is False:
                self._read()
                answer = self._reader.gets()
            if isinstance(answer, hiredis.ReplyError):
                raise answer
            found.append(answer)
        self.waited_s += time.perf_counter() - begun
        return found

    def _read(self) -> None:
        data = self._socket.recv(READ_BYTES)
        if not data:
            raise ConnectionError("the server hung up")
        self._reader.feed(data)

    def info(self, part: str) -> dict[str, str]:
        """A part of INFO, name to text."""
        text: str = self.call("INFO", part).decode()
        pairs = (line.partition(":")[::2] for line in text.splitlines() if ":" in line)
        return dict(pairs)

    def used_memory(self) -> int:
        """Bytes that the data and everything else take."""
        return int(self.info("memory")["used_memory"])


def pack(words: Sequence[Arg]) -> bytes:
    """A command as it goes over the wire."""
    packed: bytes = hiredis.pack_command(tuple(words))  # type: ignore[arg-type]
    return packed


def result(step: Coroutine[Any, Any, T]) -> T:
    """The result of a typed command on a Link, which never has to wait for an event loop."""
    try:
        step.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    step.close()
    raise RuntimeError("a command on a Link suspended")


class Meter:
    """Measures work on one link by the server's own counters."""

    def __init__(self, link: Link, command: str = "evalsha") -> None:
        self._link = link
        self._command = f"cmdstat_{command}"

    def start(self) -> None:
        """From here on."""
        self._link.call("CONFIG", "RESETSTAT")
        self._cpu_s = self._cpu()
        self._waited_s = self._link.waited_s

    def stop(self, amount: int) -> Cost:
        """The cost of each of `amount` things done since `start`."""
        waited_s = self._link.waited_s - self._waited_s
        cpu_s = self._cpu() - self._cpu_s
        taken_us = command_us(self._link.info("commandstats").get(self._command, ""))
        return Cost(taken_us / amount, cpu_s * 1e6 / amount, waited_s * 1e6 / amount)

    def _cpu(self) -> float:
        found = self._link.info("cpu")
        names = ("used_cpu_user_main_thread", "used_cpu_sys_main_thread")
        if names[0] not in found:  # systems that do not tell threads apart
            names = ("used_cpu_user", "used_cpu_sys")
        return sum(float(found[name]) for name in names)


def command_us(stat: str) -> int:
    """Microseconds of a line of commandstats, 'calls=2,usec=31,...'; 0 when it never ran."""
    pairs: Iterable[tuple[str, str, str]] = (part.partition("=") for part in stat.split(","))
    return next((int(value) for name, _, value in pairs if name == "usec"), 0)
