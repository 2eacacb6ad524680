"""Looks at the Redis it is given before any stock is trusted to it."""

from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from gateway.core.clock import Clock
from gateway.core.config import ConfirmConfig
from gateway.core.errors import SetupError, StoreUnavailable
from gateway.core.fields import redact
from gateway.store import keys
from gateway.store.client import execute
from gateway.store.listing import guarded

VERSION_MIN = (7, 0)
FORMAT = "1"
"""Of the records and keys; a store of another format is refused."""

ACCEPTED = ConfirmConfig()

_AT_RISK = {
    "accepted": "a crash of Redis may forget holds and confirms that were answered.",
    "replicated": "a crash of Redis may forget holds that were answered, and confirms, too, unless "
    "a replica takes over.",
    "settled": "a crash of Redis may forget holds that were answered; confirms answered 200 are in "
    "the ledger.",
}
_KEEP = "Set appendonly yes and appendfsync always to keep them."

_DURABLE = {"appendonly": "yes", "appendfsync": "always"}


async def check(
    client: Redis,
    url: str,
    shards: int,
    clock: Clock,
    timeout_s: float,
    promise: ConfirmConfig = ACCEPTED,
) -> list[str]:
    """What this Redis does not promise, in sentences; empty when it keeps every promise.

    promise: what a confirm's answer stands for.
    Raises SetupError when it cannot be used at all: not reached, too old, evicting, made for
    another number of shards, or without the replicas that were promised.
    """
    if url.startswith("memory://"):
        if promise.durability == "replicated":
            raise SetupError(
                'confirm.durability = "replicated", and store = "memory://" has no replicas',
                hint='Set confirm.durability to "accepted" or "settled", or use a Redis.',
            )
        await _check_meta(client, url, shards, clock, timeout_s)
        return ["The store is in memory: nothing survives this process."]
    url = redact(url)
    try:
        _check_version(await guarded(client.info("server"), clock, timeout_s), url)
        notices = await _check_settings(client, url, clock, timeout_s, promise)
        if promise.durability == "replicated":
            await _check_replicas(client, url, clock, timeout_s, promise.replicas_min)
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


async def _check_replicas(
    client: Redis, url: str, clock: Clock, timeout_s: float, replicas_min: int
) -> None:
    """Enough replicas are in step, and this user may wait for them."""
    await guarded(execute(client, "WAIT", 0, 1), clock, timeout_s)
    found = await guarded(client.info("replication"), clock, timeout_s)
    online = [
        name
        for name, replica in found.items()
        if name.startswith("slave") and isinstance(replica, dict) and replica["state"] == "online"
    ]
    if len(online) < replicas_min:
        raise SetupError(
            f'{url} has {len(online)} replicas online; confirm.durability = "replicated" with '
            f"confirm.replicas_min = {replicas_min} needs {replicas_min}",
            hint="Attach replicas (on each: REPLICAOF HOST PORT), or promise less: set "
            'confirm.durability to "accepted" or "settled".',
        )


async def _check_settings(
    client: Redis, url: str, clock: Clock, timeout_s: float, promise: ConfirmConfig
) -> list[str]:
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
        return [f"{url} runs with {', '.join(weak)}: {_AT_RISK[promise.durability]} {_KEEP}"]
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
