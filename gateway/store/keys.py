"""Names of Redis keys. Every key of a shard shares the hash tag {sg:<shard>}."""

from zlib import crc32

META = "sg:meta"
"""Hash that records what a deployment was created with (shards, format)."""

GROUP = "settlers"
"""Consumer group of the outbox."""


def prefix(shard: int) -> str:
    """What every key of the shard begins with."""
    return f"{{sg:{shard}}}:"


def shard_of(sku: str, shards: int) -> int:
    """The shard that keeps a SKU: a stable hash, the same on every machine."""
    return crc32(sku.encode()) % shards if shards > 1 else 0


def reservations(shard: int) -> str:
    """Hash: field of a reservation -> record."""
    return prefix(shard) + "reservations"


def outbox(shard: int) -> str:
    """Stream of confirmed reservations on their way to the ledger."""
    return prefix(shard) + "outbox"


def faults(shard: int) -> str:
    """Hash: id of an outbox entry -> 'tries|first ms|last ms|due ms|reason' of its failed tries."""
    return prefix(shard) + "faults"


def refs(shard: int) -> str:
    """Hash: payment reference -> field of the reservation that it bought."""
    return prefix(shard) + "refs"


def mark(key: str) -> str:
    """What is written, on the same shard, to be waited for until replicas have it."""
    return f"{key}:mark"


def sku(shard: int, name: str) -> str:
    """Hash: terms and settings of a SKU."""
    return f"{prefix(shard)}sku:{name}"


def skus(shard: int) -> str:
    """Sorted set (all scores 0) of the shard's SKUs, by name."""
    return prefix(shard) + "skus"


def buyers(shard: int, name: str) -> str:
    """Hash: buyer -> units that count against the SKU's buyer limit."""
    return f"{prefix(shard)}buyers:{name}"


def finished_channel(shard: int) -> str:
    """Channel on which settled and rejected fields are announced."""
    return prefix(shard) + "finished"


LEASE_TERMS = "{sg:leases}:terms"
"""Hash: lease -> its term. A tag of their own: leases belong to no shard, and to one slot."""

LEASE_TOKENS = "{sg:leases}:tokens"
"""Hash: lease -> the last token granted."""


def marker(shard: int) -> str:
    """Hash: generation, beats and rebuild; tells whether the shard still is what it was."""
    return prefix(shard) + "marker"


def due(shard: int) -> str:
    """Sorted set of the lists of reminders, by the time they come due in steps of 100 ms."""
    return prefix(shard) + "due"
