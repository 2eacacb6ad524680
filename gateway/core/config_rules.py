"""The rules between settings, which types and ranges cannot say."""

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from gateway.core.config_receipts import receipts_rules
from gateway.core.config_schema import SCOPES, Config, KeyConfig
from gateway.core.fields import Report, did_you_mean, found

SQLITE = "sqlite+aiosqlite://"
POSTGRESQL = "postgresql+asyncpg://"
POSTGRESQL_SCHEMES = ("postgresql+asyncpg", "postgresql")

Broken = tuple[list[str], str]


def broken_rules(config: Config) -> Iterator[Broken]:
    """Every rule that `config` breaks, as (the keys it is about, the complaint)."""
    yield from _store_rules(config)
    yield from _ledger_rules(config)
    yield from _order_rules(config)
    yield from _durability_rules(config)
    yield from receipts_rules(config.receipts)
    yield from _audit_rules(config)
    if config.shards != 1:
        yield (
            ["shards"],
            f"found {config.shards}; allowed: 1 (carts across shards are not built yet)",
        )
    if not config.keys and not is_loopback(config.server.host):
        yield (
            ["server.host"],
            (
                f"found {found(config.server.host)} while no [[keys]] are configured; "
                "allowed: a loopback address such as 127.0.0.1, until a key guards the API"
            ),
        )
    catalogue = config.demo.catalogue
    if catalogue and not Path(catalogue).is_file():
        yield ["demo.catalogue"], f"there is no file at {catalogue}"


def _store_rules(config: Config) -> Iterator[Broken]:
    allowed = '"embedded://", "memory://", "redis://host:port/0" or "unix:///socket"'
    if config.store in ("embedded://", "memory://"):
        return
    if not _is_redis_url(config.store):
        yield ["store"], f"found {found(config.store)}; allowed: {allowed}"


def _is_redis_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    if parts.scheme == "unix":
        return not parts.netloc.rpartition("@")[2] and len(parts.path) > 1
    database = parts.path.strip("/")
    named = parts.scheme in ("redis", "rediss") and bool(parts.hostname) and port != 0
    return named and re.fullmatch(r"[0-9]{0,4}", database) is not None


def _ledger_rules(config: Config) -> Iterator[Broken]:
    yield from _ledger_address_rules(config.ledger)
    kept = config.ledger_url not in (SQLITE, f"{SQLITE}/", f"{SQLITE}/:memory:")
    if kept and config.store == "memory://":
        yield (
            ["ledger", "store"],
            (
                f"a ledger in a {'database' if config.ledger_is_shared else 'file'} would outlive "
                'the stock of store = "memory://"; '
                'allowed: ledger = "" with it, or another store'
            ),
        )
    if not kept and config.store != "memory://":
        yield (
            ["ledger", "store"],
            (
                "a ledger in memory would forget sales that the store remembers; "
                'allowed: a file, or ledger = ""'
            ),
        )


def _ledger_address_rules(ledger: str) -> Iterator[Broken]:
    if not ledger or ledger.startswith(SQLITE):
        return
    scheme, _, rest = ledger.partition("://")
    allowed = f'"", "{SQLITE}/path/of/a/file" or "{POSTGRESQL}user:password@host/database"'
    if scheme not in POSTGRESQL_SCHEMES:
        near = "postgres" in scheme or scheme == "pg"
        hint = f'; did you mean "{POSTGRESQL}…"?' if near else ""
        yield ["ledger"], f"found {found(ledger)}; allowed: {allowed}{hint}"
    elif rest.count("@") > 1:
        yield ["ledger"], "found more than one @; allowed: one, and %40 for @ in the password"
    elif not _is_database(ledger):
        yield ["ledger"], f"found {found(ledger)}, without host or database; allowed: {allowed}"


def _is_database(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    return bool(parts.hostname) and port != 0 and re.fullmatch(r"/[^/]+", parts.path) is not None


def _order_rules(config: Config) -> Iterator[Broken]:
    hold, batch, notify = config.hold, config.batch, config.notify
    pairs = (
        ("hold.ttl_s", hold.ttl_s, "hold.ttl_max_s", hold.ttl_max_s),
        ("hold.ttl_max_s", hold.ttl_max_s, "hold.extend_total_max_s", hold.extend_total_max_s),
        ("batch.size_max", batch.size_max, "batch.lines_max", batch.lines_max),
        ("batch.size_max", batch.size_max, "batch.queue_max", batch.queue_max),
        (
            "notify.backoff_first_s",
            notify.backoff_first_s,
            "notify.backoff_max_s",
            notify.backoff_max_s,
        ),
    )
    for low_key, low, high_key, high in pairs:
        if low > high:
            yield [low_key, high_key], f"found {low}; allowed: at most {high_key}, which is {high}"
    if config.settler.idle_claim_s * 1000 <= config.redis.call_timeout_ms:
        yield (
            ["settler.idle_claim_s", "redis.call_timeout_ms"],
            (
                f"found {config.settler.idle_claim_s} s; allowed: more than redis.call_timeout_ms "
                f"({config.redis.call_timeout_ms} ms), or work in progress would be taken over"
            ),
        )
    if config.retention.ended_s < hold.payment_window_s:
        yield (
            ["retention.ended_s", "hold.payment_window_s"],
            (
                f"found {config.retention.ended_s}; allowed: at least hold.payment_window_s "
                f"({hold.payment_window_s}), or late payments would find nothing"
            ),
        )


def _durability_rules(config: Config) -> Iterator[Broken]:
    durability = config.confirm.durability
    if durability == "replicated" and config.store in ("embedded://", "memory://"):
        yield (
            ["confirm.durability", "store"],
            (
                f'found "replicated" with store = {found(config.store)}, which has no replicas; '
                'allowed: "accepted" or "settled", or a Redis of your own with replicas'
            ),
        )
    if durability == "settled" and config.confirm.wait_s == 0:
        yield (
            ["confirm.durability", "confirm.wait_s"],
            (
                'found "settled" with confirm.wait_s = 0; allowed: a wait above 0, or no confirm '
                "could ever be answered 200"
            ),
        )


def _audit_rules(config: Config) -> Iterator[Broken]:
    if config.audit.compare_s >= config.audit.interval_s:
        yield (
            ["audit.compare_s", "audit.interval_s"],
            (
                f"found {config.audit.compare_s:g}; allowed: less than audit.interval_s, "
                f"which is {config.audit.interval_s}"
            ),
        )


def check_key(key: KeyConfig, others: list[KeyConfig], report: Report) -> None:
    """Reports what is wrong with one of [[keys]] beside its types, the `others` being before it."""
    unknown = [scope for scope in key.scopes if scope not in SCOPES]
    if unknown:
        choice = ", ".join(SCOPES)
        hint = did_you_mean(unknown[0], SCOPES)
        report("scopes", f"found {found(unknown[0])}; allowed: one or more of {choice}{hint}")
    if key.name in {other.name for other in others}:
        report("name", f"{found(key.name)} is the name of an earlier key; names are unique")
    if key.sha256.lower() in {other.sha256 for other in others}:
        report("sha256", "an earlier key has the same hash; one key has one set of scopes")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
