"""A server of the embedded store to test with, and ways to look at it from outside."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from gateway.core.clock import SystemClock
from gateway.store.embedded import EmbeddedValkey, start
from gateway.store.embedded_files import Folder

CLOCK = SystemClock()


@asynccontextmanager
async def running(data_dir: Path, **options: Any) -> AsyncIterator[EmbeddedValkey]:
    server = await start(data_dir, clock=CLOCK, **options)
    try:
        yield server
    finally:
        await server.stop()


async def call(server: EmbeddedValkey, *command: str) -> Any:
    client: Redis = Redis.from_url(server.url, decode_responses=True, socket_timeout=5)
    try:
        return await client.execute_command(*command)
    finally:
        await client.aclose()


def server_pid(data_dir: Path) -> int:
    state = Folder(data_dir).read_state()
    assert state is not None
    return state.server_pid


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not condition():
            await asyncio.sleep(0.01)
