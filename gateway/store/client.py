"""Connections to Redis that never repeat a command by themselves.

Commands that move stock go through a `ScriptChannel`: one connection, no retries, a deadline for
every call, and an error that tells "nothing happened" (StoreUnavailable) from "nobody knows"
(OutcomeUnknown). Everything else may use `Store.client`.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from hiredis import pack_command
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoScriptError,
    RedisError,
    ResponseError,
)

from gateway.core.clock import Clock
from gateway.core.errors import InvariantBreach, OutcomeUnknown, StoreUnavailable
from gateway.core.marks import Mark
from gateway.store.scripts import Script

Arg = str | int | bytes


class Judge(Protocol):
    """Says by the mark that a new connection shows whether it may be used."""

    @property
    def question(self) -> tuple[str, ...]:
        """The command that reads the mark."""
        ...

    @property
    def known(self) -> Mark:
        """What the mark must not be below, if it is read after this was."""
        ...

    def judge(self, found: Mark, known: Mark) -> None:
        """Take in the mark that was found after `known` was."""
        ...

    def check(self) -> None:
        """Return if the connection may be used. Raises StoreLost."""
        ...


def mark_of(values: Sequence[Any]) -> Mark:
    """The mark in a reply of its generation, beats and rebuild."""
    generation, beats, rebuild = values
    return Mark((generation or b"").decode(), int(beats or 0), (rebuild or b"").decode())


_REFUSALS = ("MISCONF ", "NOREPLICAS ", "BUSY ", "NOGROUP ", "UNBLOCKED ")
"""Replies with which Redis refuses a command before running it, beside those redis-py names."""

_REPLIES = (ResponseError, BusyLoadingError, AuthenticationError)
"""Errors that Redis answered with; to redis-py the last two are lost connections."""


def connect(url: str, *, connect_timeout_s: float) -> Redis:
    """A client for `memory://`, `redis://`, `rediss://` or `unix://`; it does not connect yet.

    No socket timeout: every caller sets its own deadline. RESP2, bytes, no retries.
    """
    if url.startswith("memory://"):
        from fakeredis import FakeAsyncRedis, FakeServer

        return FakeAsyncRedis(server=FakeServer(), decode_responses=False)
    return Redis.from_url(
        url,
        protocol=2,
        decode_responses=False,
        socket_timeout=None,
        socket_connect_timeout=connect_timeout_s,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
    )


class ScriptChannel:
    """One connection that runs scripts one after the other. Not for concurrent use.

    judge: asked on every new connection, which may lead to a Redis that has lost something.
    """

    def __init__(
        self, client: Redis, clock: Clock, *, call_timeout_s: float, judge: Judge | None = None
    ) -> None:
        self._client = client
        self._judge = judge
        self._clock = clock
        self._call_timeout_s = call_timeout_s
        self._connection: AbstractConnection | None = None

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Arg]) -> list[Any]:
        """The script's reply.

        StoreUnavailable: it did not run. OutcomeUnknown: it may have run.
        InvariantBreach: it refused because the counters would no longer add up.
        """
        connection = await self._ready()
        command = ("EVALSHA", script.sha, len(keys), *keys, *args)
        try:
            return await self._exchange(connection, command)
        except NoScriptError:
            # The only automatic repeat: Redis said that it has not run the script.
            return await self._exchange(connection, ("EVAL", script.text, *command[2:]))

    async def _ready(self) -> AbstractConnection:
        connection = self._connection
        if connection is not None and connection.is_connected:
            if not await _was_closed(connection):
                return connection
            await connection.disconnect(nowait=True)
        return await self._connect()

    async def _connect(self) -> AbstractConnection:
        if self._connection is None:
            self._connection = _new_connection(self._client)
        connection = self._connection
        try:
            async with self._clock.timeout(self._call_timeout_s):
                await connection.connect()  # type: ignore[no-untyped-call]
                if self._judge is not None:
                    await _ask(connection, self._judge)
        except (RedisError, OSError, TimeoutError) as error:
            await self.close()
            told = reason(error, self._call_timeout_s)
            raise StoreUnavailable(f"Redis cannot be reached: {told}") from error
        if self._judge is not None:
            self._judge.check()
        return connection

    async def _exchange(
        self, connection: AbstractConnection, command: tuple[Arg, ...]
    ) -> list[Any]:
        try:
            async with self._clock.timeout(self._call_timeout_s):
                return await self._talk(connection, command)
        except NoScriptError:
            raise
        except _REPLIES as error:
            raise refusal(error) from error
        except (RedisError, OSError, TimeoutError) as error:
            await self.close()
            told = reason(error, self._call_timeout_s)
            raise OutcomeUnknown(f"Redis did not answer: {told}") from error
        except BaseException:
            await self.close()  # its reply must not be taken for that of the next call
            raise

    async def _talk(self, connection: AbstractConnection, command: tuple[Arg, ...]) -> list[Any]:
        """Send the command and read all that is answered to it."""
        packed = pack_command(command)  # type: ignore[arg-type]
        await connection.send_packed_command(packed, check_health=False)
        reply: list[Any] = await connection.read_response()
        return reply

    async def close(self) -> None:
        """Drop the connection; the next call opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)


def _new_connection(client: Redis) -> AbstractConnection:
    connection: AbstractConnection = client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
    return connection


async def _ask(connection: AbstractConnection, judge: Judge) -> None:
    known = judge.known
    await connection.send_command(*judge.question)
    judge.judge(mark_of(await connection.read_response()), known)


async def execute(client: Redis, *command: Any) -> Any:
    """One plain command."""
    return await client.execute_command(*command)  # type: ignore[no-untyped-call]


async def _was_closed(connection: AbstractConnection) -> bool:
    """Whether the server hung up on an idle connection, which otherwise has nothing to say."""
    try:
        return await connection.can_read()
    except (RedisError, OSError):
        return True


def reason(error: Exception, timeout_s: float) -> str:
    """What went wrong, in words; a deadline of `timeout_s` that passed has none of its own."""
    if text := str(error):
        return text
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    return type(error).__name__


def refusal(error: RedisError) -> Exception:
    """What to raise for an error reply: nothing was done, unless it is the error itself."""
    text = str(error)
    if text.startswith("INVARIANT "):
        return InvariantBreach(f"counters of {text.removeprefix('INVARIANT ')} do not add up")
    if text.startswith(_REFUSALS) or type(error) is not ResponseError:
        return StoreUnavailable(f"Redis refuses commands: {text}")
    return error
