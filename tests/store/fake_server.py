"""A Redis of a few lines that answers scripts with whatever a test wants it to say."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

Answer = bytes | None | Callable[[], "asyncio.Future[bytes]"]

HANG_UP: Answer = None


class FakeServer:
    """Listens on a loopback port; `async with` it.

    answers: what to say to each EVALSHA or EVAL, in order: bytes, HANG_UP, or a function that
    returns a future of bytes. With no answer left it stays silent.
    received: the names of the script calls that came, in order.
    copies: what to say to each WAIT, in order.
    mute: whether it accepts connections and says nothing at all.
    """

    def __init__(self, *answers: Answer, mute: bool = False) -> None:
        self.answers = list(answers)
        self.received: list[str] = []
        self.copies: list[bytes] = []
        self.mute = mute
        self.heard = asyncio.Condition()
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    async def wait_for(self, calls: int) -> None:
        """Return when that many script calls have come."""
        async with self.heard:
            await self.heard.wait_for(lambda: len(self.received) >= calls)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            while await self._answer(await _read_command(reader), writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, words: list[bytes], writer: asyncio.StreamWriter) -> bool:
        name = words[0].decode()
        if self.mute:
            return True
        if name == "WAIT":
            writer.write(self.copies.pop(0))
            return True
        if not name.startswith("EVAL"):
            writer.write(b"+OK\r\n")
            return True
        async with self.heard:
            self.received.append(name)
            self.heard.notify_all()
        if not self.answers:
            return True
        answer = self.answers.pop(0)
        if callable(answer):
            answer = await answer()
        if answer is None:
            return False
        writer.write(answer)
        return True


async def _read_command(reader: asyncio.StreamReader) -> list[bytes]:
    count = int((await reader.readuntil(b"\r\n"))[1:])
    words = []
    for _ in range(count):
        length = int((await reader.readuntil(b"\r\n"))[1:])
        words.append((await reader.readexactly(length + 2))[:-2])
    return words
