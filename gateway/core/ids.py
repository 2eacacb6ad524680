"""Reservation ids: sortable by time, and derived from the Idempotency-Key.

An id is 26 characters of Crockford base32, shaped like a ULID:
10 for the creation time (48 bits of ms), 2 for the shard, 14 for a 70-bit hash of the caller and
its key. The last 14 are the *field* under which the shard keeps the reservation, so that asking
"was this key seen before?" and "where is this reservation?" are one look-up.
"""

import re
from functools import lru_cache
from hashlib import blake2b

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [a + b for a in ALPHABET for b in ALPHABET]
_VALUES = {c: i for i, c in enumerate(ALPHABET)}
_ID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", re.ASCII)

FIELD_LENGTH = 14
FINGERPRINT_LENGTH = 8

# One character a byte of the digest, of which 5 and 6 bits count.
_BYTE_AS_5_BITS = ALPHABET.encode() * 8
_BYTE_AS_6_BITS = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_" * 4


def key_field(caller: str, key: str) -> str:
    """The field of a caller's Idempotency-Key: 14 characters, 70 bits."""
    digest = blake2b(f"{caller}\0{key}".encode(), digest_size=FIELD_LENGTH).digest()
    return digest.translate(_BYTE_AS_5_BITS).decode()


def fingerprint(key: str, meaning: str) -> str:
    """Eight characters (48 bits) that tell whether a key came back with another meaning."""
    digest = blake2b(f"{key}\0{meaning}".encode(), digest_size=FINGERPRINT_LENGTH).digest()
    return digest.translate(_BYTE_AS_6_BITS).decode()


def time_prefix(created_ms: int) -> str:
    """The first ten characters of an id, from its creation time."""
    pairs = _PAIRS
    return (
        pairs[created_ms >> 40 & 1023]
        + pairs[created_ms >> 30 & 1023]
        + pairs[created_ms >> 20 & 1023]
        + pairs[created_ms >> 10 & 1023]
        + pairs[created_ms & 1023]
    )


def make_id(created_ms: int, shard: int, field: str) -> str:
    """The id of the reservation created at `created_ms` on `shard` under `field`."""
    return _prefix(created_ms, shard) + field


@lru_cache(maxsize=1024)  # what one batch creates has one creation time
def _prefix(created_ms: int, shard: int) -> str:
    return time_prefix(created_ms) + _PAIRS[shard]


def split_id(reservation_id: str) -> tuple[int, int, str] | None:
    """(created_ms, shard, field) of an id, or None when it is not one of ours."""
    if not _ID.fullmatch(reservation_id):
        return None
    created_ms = 0
    for c in reservation_id[:10]:
        created_ms = created_ms << 5 | _VALUES[c]
    shard = _VALUES[reservation_id[10]] << 5 | _VALUES[reservation_id[11]]
    return created_ms, shard, reservation_id[12:]
