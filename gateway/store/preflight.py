"""Looks at the Redis it is given before any stock is trusted to it."""

from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from gateway.core.clock import Clock
from gateway.core.errors import SetupError, StoreUnavailable
from gateway.core.fields import redact
from gateway.store import keys
from gateway.store.client import execute
from gateway.store.listing import guarded

VERSION_MIN = (7, 0)
FORMAT = "1"
"""Of the records and keys; a store of another format is refused."""

_DURABLE = {"appendonly": "yes", "appendfsync": "always"}


async def check(client: Redis, url: str, shards: int, clock: Clock, timeout_s: float) -> list[str]:
    """What this Redis does not promise, in sentences; empty when it keeps every promise.

    Raises SetupError when it cannot be used at all: not reached, too old, evicting, or made for
    another number of shards.
    """
    if url.startswith("memory://"):
        await _check_meta(client, url, shards, clock, timeout_s)
        return ["The store is in memory: nothing survives this process."]
    url = redact(url)
    try:
        _check_version(await guarded(client.info("server"), clock, timeout_s), url)
        notices = await _check_settings(client, url, clock, timeout_s)
        await _check_meta(client, url, shards, clock, timeout_s)
    except StoreUnavailable as error:
        raise SetupError(
            f"{url}: {error}", hint="Start it, or set `store` to where it is."
        ) from error
    return notices


def _check_version(info: Mapping[str, Any], url: str) -> None:
    text = str(info.get("redis_version", "0"))
    version = tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
    if version < VERSION_MIN:
        raise SetupError(
            f"{url} is Redis {text}; at least 7.0 is needed", hint="Upgrade Redis, or use Valkey."
        )


async def _check_settings(client: Redis, url: str, clock: Clock, timeout_s: float) -> list[str]:
    names = ("maxmemory-policy", *_DURABLE)
    try:
        found = await guarded(client.config_get(*names), clock, timeout_s)
    except StoreUnavailable as error:
        if not isinstance(error.__cause__, ResponseError):
            raise
        return [
            f"{url} does not let its settings be read: its persistence, and that it does not "
            "evict keys, are not checked."
        ]
    settings = {_text(name): _text(value) for name, value in found.items()}
    policy = settings.get("maxmemory-policy", "noeviction")
    if policy != "noeviction":
        raise SetupError(
            f"{url} evicts keys (maxmemory-policy {policy}): holds would vanish without a trace",
            hint="CONFIG SET maxmemory-policy noeviction, and write it to redis.conf.",
        )
    weak = [f"{n} {settings.get(n)}" for n, wanted in _DURABLE.items() if settings.get(n) != wanted]
    if weak:
        return [
            f"{url} runs with {', '.join(weak)}: a crash of Redis may forget holds and confirms "
            "that were answered. Set appendonly yes and appendfsync always to keep them."
        ]
    return []


async def _check_meta(client: Redis, url: str, shards: int, clock: Clock, timeout_s: float) -> None:
    """The number of shards is fixed when a store is first used."""
    wanted = {"shards": str(shards), "format": FORMAT}
    for name, value in wanted.items():
        await guarded(execute(client, "HSETNX", keys.META, name, value), clock, timeout_s)
        found = _text(await guarded(execute(client, "HGET", keys.META, name), clock, timeout_s))
        if found != value:
            raise SetupError(
                f"{url} was set up with {name} {found}; this gateway is configured for {value}",
                hint=f"Use {name} {found}, or an empty Redis.",
            )


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
