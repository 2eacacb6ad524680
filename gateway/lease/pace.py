"""How long terms last: twice what the work is expected to take, and a little."""

from collections import deque
from math import ceil

import msgspec

WINDOW = 64
"""Durations remembered of each lease."""

SAMPLES_MIN = 8
"""With fewer, whoever asks for the lease knows better: the longer of the two estimates counts."""

CLOCK_DRIFT = 0.01
"""How much faster or slower than another a clock may run: 1 %, far more than quartz does."""

MARGIN_S = 0.1
"""Beside drift: what lies between looking at the clock and the write that follows."""


class Pace(msgspec.Struct, frozen=True):
    """TTL = factor x expected duration + slack; expected within its bounds, all in seconds."""

    factor: float = 2.0
    slack_s: float = 5.0
    expected_min_s: float = 0.05
    expected_max_s: float = 300.0

    def ttl_ms(self, expected_s: float) -> int:
        """How long a term lasts for work expected to take `expected_s`."""
        bounded_s = min(max(expected_s, self.expected_min_s), self.expected_max_s)
        return round((self.factor * bounded_s + self.slack_s) * 1000)


def trusted_s(ttl_ms: int) -> float:
    """How much of a term its holder may use, by its own clock, from when it sent for it."""
    return ttl_ms / 1000 * (1 - CLOCK_DRIFT) - MARGIN_S


class Durations:
    """How long each lease was needed lately."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[float]] = {}

    def add(self, name: str, duration_s: float) -> None:
        """Remember one; the oldest of too many is forgotten."""
        self._seen.setdefault(name, deque(maxlen=WINDOW)).append(duration_s)

    def expected_s(self, name: str, hint_s: float) -> float:
        """The 99th percentile of what was seen, or `hint_s` while little was."""
        seen = sorted(self._seen.get(name, ()))
        if not seen:
            return hint_s
        observed_s = seen[ceil(0.99 * len(seen)) - 1]
        return observed_s if len(seen) >= SAMPLES_MIN else max(hint_s, observed_s)
