"""Every setting: its name, unit, default, range and meaning; the reference is made from here.

Each field is `Annotated[type, Meta]`; `Meta.extra["allowed"]` says in words what a text field
takes. Ranges live here; rules between fields live in `config.py`.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from gateway.core.config_notify import NotifyConfig, TargetConfig
from gateway.core.config_receipts import ReceiptsConfig

SCOPES = ("storefront", "admin", "metrics")

Durability = Literal["accepted", "replicated", "settled"]


class ServerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[server]: where the HTTP API listens and how it ends."""

    host: Annotated[
        str,
        Meta(
            min_length=1,
            description="Address to listen on; only a loopback address while no [[keys]] exist.",
            extra={"allowed": "an IP address or a host name"},
        ),
    ] = "127.0.0.1"
    port: Annotated[
        int, Meta(ge=0, le=65535, description="TCP port; 0 takes any free port and prints it.")
    ] = 8080
    body_max_bytes: Annotated[
        int,
        Meta(ge=1024, le=64 * 1024 * 1024, description="Larger request bodies are answered 413."),
    ] = 1_048_576
    drain_s: Annotated[
        float,
        Meta(ge=0, le=600, description="How long a stopping server waits for running requests."),
    ] = 10.0


class HoldConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[hold]: how long units are set aside."""

    ttl_s: Annotated[
        int,
        Meta(
            ge=1,
            le=14_400,
            description="How long a hold lasts when neither the request nor the SKU says.",
        ),
    ] = 900
    ttl_max_s: Annotated[
        int, Meta(ge=1, le=14_400, description="Longest time a request may ask for.")
    ] = 14_400
    extend_total_max_s: Annotated[
        int,
        Meta(
            ge=1,
            le=86_400,
            description="Longest time from creation to deadline, all extensions included.",
        ),
    ] = 14_400
    payment_window_s: Annotated[
        int,
        Meta(ge=1, le=86_400, description="How long a buyer has to pay once payment has begun."),
    ] = 1_800


class BatchConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[batch]: how requests are gathered into one script call."""

    size_max: Annotated[int, Meta(ge=1, le=4_096, description="Most requests in one call.")] = 256
    lines_max: Annotated[
        int,
        Meta(
            ge=50,
            le=16_384,
            description="Most lines in one call; a single reservation may have 50.",
        ),
    ] = 1_024
    queue_max: Annotated[
        int,
        Meta(ge=1, le=1_000_000, description="Most requests waiting; one more is answered 503."),
    ] = 20_000
    deadline_ms: Annotated[
        int,
        Meta(ge=10, le=60_000, description="A request that waits longer is answered 503."),
    ] = 1_000


class RedisConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[redis]: how long the store may take to answer."""

    call_timeout_ms: Annotated[
        int,
        Meta(ge=10, le=60_000, description="After this, the outcome of a call counts as unknown."),
    ] = 1_000
    connect_timeout_ms: Annotated[
        int, Meta(ge=10, le=60_000, description="Longest wait for a connection.")
    ] = 1_000


class ConfirmConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[confirm]: how long a confirm waits for the ledger, and what its answer promises."""

    wait_s: Annotated[
        float,
        Meta(ge=0, le=30, description="After this a confirm is answered 202 instead of 200."),
    ] = 2.0
    durability: Annotated[
        Durability,
        Meta(
            description="What a confirm has survived when it is answered: see docs/durability.md.",
            extra={"allowed": '"accepted", "replicated" or "settled"'},
        ),
    ] = "accepted"
    replicas_min: Annotated[
        int,
        Meta(ge=1, le=16, description="With replicated: how many replicas have each confirm."),
    ] = 1
    replicas_wait_ms: Annotated[
        int,
        Meta(
            ge=10,
            le=10_000,
            description="With replicated: a confirm they do not have by then is answered 503.",
        ),
    ] = 500


class SettlerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[settler]: how confirmed reservations are deducted in the ledger."""

    batch_max: Annotated[
        int, Meta(ge=1, le=4_096, description="Most deductions in one transaction.")
    ] = 1_000
    idle_claim_s: Annotated[
        float,
        Meta(
            ge=0.5,
            le=600,
            description="Work that another settler took and left for this long is taken over.",
        ),
    ] = 10.0


class ReaperConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[reaper]: how due holds come back on sale."""

    interval_ms: Annotated[
        int,
        Meta(ge=10, le=500, description="Pause between sweeps; units are back within 1 s."),
    ] = 100
    batch_max: Annotated[
        int, Meta(ge=1, le=4_096, description="Most holds expired in one call.")
    ] = 200


class SnapshotConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[snapshot]: how stock reads are kept fresh."""

    poll_ms: Annotated[int, Meta(ge=10, le=10_000, description="Pause between refreshes.")] = 250
    poll_skus_max: Annotated[
        int, Meta(ge=1, le=10_000, description="Most SKUs refreshed in one call.")
    ] = 500


class RetentionConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[retention]: how long what has ended is remembered."""

    ended_s: Annotated[
        int,
        Meta(
            ge=60,
            le=31_536_000,
            description="How long ended reservations and their idempotency keys are kept.",
        ),
    ] = 86_400


class AuditConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[audit]: how Redis is compared with the ledger, and put right."""

    interval_s: Annotated[
        int, Meta(ge=10, le=86_400, description="How long from one full audit to the next.")
    ] = 300
    compare_s: Annotated[
        float,
        Meta(ge=0.1, le=60.0, description="Pause of the comparator, which always runs."),
    ] = 1.0
    records_per_s: Annotated[
        int,
        Meta(ge=1_000, le=1_000_000, description="Most reservations it reads in a second."),
    ] = 20_000
    recount_max: Annotated[
        int,
        Meta(
            ge=0,
            le=20_000,
            description="Most reservations of a shard that are recounted in one instant, which "
            "keeps Redis about 1 ms a thousand; with more, a SKU is compared when it is quiet.",
        ),
    ] = 2_000
    repair: Annotated[
        bool, Meta(description="Repair what was found twice; false only reports it.")
    ] = True
    unsettled_limit_s: Annotated[
        int,
        Meta(
            ge=5,
            le=86_400,
            description="After this a confirmed reservation without outbox entry or dead letter "
            "is settled, rejected or sent again.",
        ),
    ] = 30


class DemoConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[demo]: goods to start with."""

    catalogue: Annotated[
        str,
        Meta(
            description="TOML or CSV file imported at start; SKUs that exist already are left.",
            extra={"allowed": 'the path of a .toml or .csv file, or ""'},
        ),
    ] = ""


class KeyConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[[keys]]: one bearer key of the HTTP API. Only its hash is written down."""

    name: Annotated[
        str,
        Meta(
            pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z",
            description="What logs and metrics call this key.",
            extra={"allowed": "1 to 64 letters, digits, dots, dashes or underscores"},
        ),
    ]
    sha256: Annotated[
        str,
        Meta(
            pattern=r"\A[0-9a-fA-F]{64}\Z",
            description="Hex SHA-256 of the key that clients send.",
            extra={
                "allowed": "64 hex digits, the SHA-256 of the key (printf %s KEY | sha256sum)",
                "secret": True,
            },
        ),
    ]
    scopes: Annotated[
        tuple[str, ...],
        Meta(
            min_length=1,
            max_length=len(SCOPES),
            description="What the key may do.",
            extra={"allowed": f"an array of one or more of {', '.join(SCOPES)}"},
        ),
    ]


class Origin(msgspec.Struct, frozen=True):
    """Where a configuration came from: its file ("" when none) and each value's source."""

    path: str = ""
    sources: dict[str, str] = field(default_factory=dict)


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole configuration. `Config()` is the default one."""

    store: Annotated[
        str,
        Meta(
            description="Where reservations live: a Valkey of the gateway's own, or a Redis.",
            extra={
                "allowed": '"embedded://", "memory://", "redis://host:port/0" or "unix:///socket"'
            },
        ),
    ] = "embedded://"
    ledger: Annotated[
        str,
        Meta(
            description='Where sales are booked; "" means SQLite under data_dir.',
            extra={
                "allowed": '"", "sqlite+aiosqlite:///path/of/a/file" or '
                '"postgresql+asyncpg://user:password@host/database"'
            },
        ),
    ] = ""
    data_dir: Annotated[
        str,
        Meta(
            min_length=1,
            description="Folder for everything that is kept on disk.",
            extra={"allowed": "the path of a folder"},
        ),
    ] = ".stockgate"
    auto_rebuild: Annotated[
        bool,
        Meta(
            description="Rebuild a Redis that lost data at once, instead of waiting for a person."
        ),
    ] = False
    shards: Annotated[
        int, Meta(ge=1, le=1_024, description="Partitions of the store; only 1 in this version.")
    ] = 1
    server: ServerConfig = field(default_factory=ServerConfig)
    hold: HoldConfig = field(default_factory=HoldConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    redis: RedisConfig = field(default_factory=RedisConfig)
    confirm: ConfirmConfig = field(default_factory=ConfirmConfig)
    settler: SettlerConfig = field(default_factory=SettlerConfig)
    reaper: ReaperConfig = field(default_factory=ReaperConfig)
    snapshot: SnapshotConfig = field(default_factory=SnapshotConfig)
    retention: RetentionConfig = field(default_factory=RetentionConfig)
    audit: AuditConfig = field(default_factory=AuditConfig)
    demo: DemoConfig = field(default_factory=DemoConfig)
    notify: NotifyConfig = field(default_factory=NotifyConfig)
    receipts: ReceiptsConfig = field(default_factory=ReceiptsConfig)
    keys: tuple[KeyConfig, ...] = ()
    targets: tuple[TargetConfig, ...] = ()
    origin: Origin = field(default_factory=Origin)

    @property
    def ledger_is_shared(self) -> bool:
        """Whether the ledger is on a server of its own, for several gateways."""
        return self.ledger.startswith("postgresql")

    @property
    def ledger_url(self) -> str:
        """The ledger's SQLAlchemy URL, with "" resolved to its meaning."""
        if self.ledger:
            return self.ledger
        if self.store == "memory://":
            return "sqlite+aiosqlite://"
        return f"sqlite+aiosqlite:///{self.data_dir}/ledger.sqlite3"
