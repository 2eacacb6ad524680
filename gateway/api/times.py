"""Milliseconds since the epoch, and the RFC 3339 texts that clients read and write."""

from datetime import datetime

from gateway.core.times import EPOCH, ONE_MS, rfc3339

__all__ = ["EARLIEST_MS", "LATEST_MS", "parse_rfc3339", "rfc3339", "to_ms"]

# What a client may ask for: wide enough for any sale, narrow enough to format and to catch slips.
EARLIEST_MS = 946_684_800_000  # 2000-01-01T00:00:00Z
LATEST_MS = 32_503_679_999_999  # 2999-12-31T23:59:59.999Z


def to_ms(moment: datetime) -> int:
    """An aware datetime as milliseconds since the epoch, rounded down."""
    return (moment - EPOCH) // ONE_MS


def parse_rfc3339(text: str) -> int:
    """Milliseconds since the epoch of `text`; ValueError when it is no time with an offset."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} names no offset: end it with Z or +00:00")
    return to_ms(moment)
