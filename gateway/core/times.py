"""Moments as people read them."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ONE_MS = timedelta(milliseconds=1)


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
