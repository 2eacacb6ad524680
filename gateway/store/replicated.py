"""Scripts that count as run once replicas have what they wrote."""

from typing import Any

from hiredis import pack_command
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import ResponseError

from gateway.core.clock import Clock
from gateway.core.errors import OutcomeUnknown
from gateway.store import keys
from gateway.store.client import Arg, Judge, ScriptChannel

FIRST_KEY = 3
"""Its place in EVALSHA and EVAL."""


class ReplicatedChannel(ScriptChannel):
    """Sends a mark and WAIT behind each script, in one write, and reads all answers.

    WAIT counts the replicas that have what its own connection wrote last, and all before it. A
    script that found its work done writes nothing, and its work may have been another connection's:
    the mark is what it waits for then. `run` raises OutcomeUnknown when fewer than `replicas_min`
    have it after `wait_ms`: it is done here, and may be lost in a failover.
    """

    def __init__(
        self,
        client: Redis,
        clock: Clock,
        *,
        call_timeout_s: float,
        replicas_min: int,
        wait_ms: int,
        judge: Judge | None = None,
    ) -> None:
        super().__init__(client, clock, call_timeout_s=call_timeout_s + wait_ms / 1000, judge=judge)
        self._replicas_min = replicas_min
        self._wait_ms = wait_ms
        self._wait = pack_command(("WAIT", replicas_min, wait_ms))  # type: ignore[arg-type]

    async def _talk(self, connection: AbstractConnection, command: tuple[Arg, ...]) -> list[Any]:
        mark = ("SET", keys.mark(str(command[FIRST_KEY])), 1)
        packed = pack_command(command) + pack_command(mark)  # type: ignore[arg-type]
        await connection.send_packed_command(packed + self._wait, check_health=False)
        try:
            reply: list[Any] = await connection.read_response()
        except LostConnection:
            raise
        except ResponseError:
            await _count(connection)  # so that the next call reads its own answers
            raise
        count = await _count(connection)
        if count < self._replicas_min:
            raise OutcomeUnknown(
                f"{count} of {self._replicas_min} replicas have it after {self._wait_ms} ms"
            )
        return reply


async def _count(connection: AbstractConnection) -> int:
    """WAIT's answer; 0 when Redis refuses the mark or the wait."""
    marked = await _answer(connection)
    count = await _answer(connection)
    return int(count) if marked is not None and count is not None else 0


async def _answer(connection: AbstractConnection) -> Any:
    """The next answer; None when it is a refusal."""
    try:
        return await connection.read_response()
    except LostConnection:
        raise
    except ResponseError:
        return None
