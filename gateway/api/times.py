"""Milliseconds since the epoch, and the RFC 3339 texts that clients read and write."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ONE_MS = timedelta(milliseconds=1)

# What a client may ask for: wide enough for any sale, narrow enough to format and to catch slips.
EARLIEST_MS = 946_684_800_000  # 2000-01-01T00:00:00Z
LATEST_MS = 32_503_679_999_999  # 2999-12-31T23:59:59.999Z


def rfc3339(ms: int) -> str:
    """`ms` since the epoch as UTC text with milliseconds: `2026-11-11T10:00:00.250Z`.

    Raises OverflowError or ValueError for years outside 1..9999.
    """
    seconds, rest = divmod(ms, 1000)
    return f"{_to_the_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=4096)  # deadlines of one rush fall into the same few seconds
def _to_the_second(seconds: int) -> str:
    moment = EPOCH + timedelta(seconds=seconds)
    return moment.replace(tzinfo=None).isoformat(timespec="seconds")


def to_ms(moment: datetime) -> int:
    """An aware datetime as milliseconds since the epoch, rounded down."""
    return (moment - EPOCH) // ONE_MS


def parse_rfc3339(text: str) -> int:
    """Milliseconds since the epoch of `text`; ValueError when it is no time with an offset."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} names no offset: end it with Z or +00:00")
    return to_ms(moment)
