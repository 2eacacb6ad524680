"""The mark of a shard, by which a store that lost something is told from one that did not.

The same mark is in Redis and in the ledger: a generation, chosen by chance when a store is first
used or rebuilt, and a number of beats that rises while gateways run. In Redis it rises first, so a
Redis with fewer beats than anybody has seen has gone back in time.
"""

from typing import NamedTuple


class Mark(NamedTuple):
    """generation: '' where there is none. rebuild: the token of a rebuild that is going on."""

    generation: str
    beats: int
    rebuild: str = ""


NO_MARK = Mark("", 0)


def fault_of(found: Mark, known: Mark) -> str:
    """What is wrong with a Redis that shows `found` where `known` was seen; "" if nothing."""
    if not found.generation:
        return "Redis has lost what it held"
    if found.generation != known.generation:
        return "Redis holds the data of another time or place"
    if found.beats < known.beats:
        return (
            "Redis has gone back in time: an old copy was put back, or a failover lost writes"
            f" ({found.beats} beats, {known.beats} was seen)"
        )
    return ""
