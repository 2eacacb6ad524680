"""Listens to what settle and reject publish."""

from collections.abc import AsyncGenerator
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.core.clock import Clock
from gateway.core.errors import StoreUnavailable
from gateway.store import keys
from gateway.store.client import reason

POLL_S = 1.0

Feed = AsyncGenerator[tuple[str, list[str]], None]


async def finished(client: Redis, shard: int, clock: Clock, *, call_timeout_s: float) -> Feed:
    """('settle' | 'reject', fields) as they are announced; ('', []) at least once a second.

    Raises StoreUnavailable when the connection is lost; what was published meanwhile is lost too.
    """
    pubsub = client.pubsub()
    try:
        async with clock.timeout(call_timeout_s):
            await pubsub.subscribe(keys.finished_channel(shard))
        while True:
            async with clock.timeout(POLL_S + call_timeout_s):
                message: Any = await pubsub.get_message(
                    ignore_subscribe_messages=True, timeout=POLL_S
                )
            if message is None:
                yield "", []
            else:
                event, _, fields = message["data"].decode().partition(":")
                yield event, fields.split(",")
    except (RedisError, OSError, TimeoutError) as error:
        told = reason(error, call_timeout_s)
        raise StoreUnavailable(f"Redis cannot be reached: {told}") from error
    finally:
        await pubsub.aclose()  # type: ignore[no-untyped-call]
