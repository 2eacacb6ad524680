"""What a lease is, for those who grant it, hold it and check it.

A token is one integer: generation x 2^40 + counter, below 2^53, so that SQL, Lua and JSON compare
it exactly. The generation rises when another backend takes over, the counter with every grant.
"""

import re
from enum import Enum
from typing import NamedTuple

import msgspec

COUNTER_BITS = 40
COUNTER_MAX = 2**COUNTER_BITS - 1
GENERATION_MAX = 2 ** (53 - COUNTER_BITS) - 1

_NAME = re.compile(r"([a-z]+)(?::(0|[1-9][0-9]{0,4}))?")


class LeaseKind(str, Enum):
    """What leases are for: a closed set, so that each may label a metric."""

    ADJUST = "adjust"
    ADMIT = "admit"
    AUDIT = "audit"
    MIGRATE = "migrate"
    REAP = "reap"
    REBUILD = "rebuild"


class Fence(NamedTuple):
    """What a write under a lease carries: an older token than one seen is refused."""

    name: str
    token: int


class Term(msgspec.Struct, frozen=True):
    """One grant of a lease. Only name, owner and token together name it.

    remaining_ms: until it ends, by the clock of whoever granted it, when it was looked at.
    """

    name: str
    owner: str
    token: int
    remaining_ms: int


def lease_name(kind: LeaseKind, shard: int | None = None) -> str:
    """`audit`, or `reap:3` where each shard has its own."""
    return kind.value if shard is None else f"{kind.value}:{shard}"


def kind_of(name: str) -> LeaseKind:
    """The kind of a lease's name. ValueError: it is no such name."""
    matched = _NAME.fullmatch(name)
    kinds = {kind.value: kind for kind in LeaseKind}
    if matched is None or matched[1] not in kinds:
        told = ", ".join(kinds)
        raise ValueError(f"{name!r} is no lease: use one of {told}, with :<shard> if it has one")
    return kinds[matched[1]]


def pack(generation: int, counter: int) -> int:
    """The token of a generation and a counter. ValueError: out of range."""
    if not 0 <= generation <= GENERATION_MAX or not 0 <= counter <= COUNTER_MAX:
        raise ValueError(f"no token of generation {generation}, counter {counter}")
    return generation << COUNTER_BITS | counter


def unpack(token: int) -> tuple[int, int]:
    """(generation, counter)"""
    return token >> COUNTER_BITS, token & COUNTER_MAX
