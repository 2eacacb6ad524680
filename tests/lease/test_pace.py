"""How long terms last, and how tokens are packed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.leases import (
    COUNTER_MAX,
    GENERATION_MAX,
    LeaseKind,
    kind_of,
    lease_name,
    pack,
    unpack,
)
from gateway.lease.pace import SAMPLES_MIN, WINDOW, Durations, Pace, trusted_s

GENERATIONS = st.integers(0, GENERATION_MAX)
COUNTERS = st.integers(0, COUNTER_MAX)


@pytest.mark.parametrize(
    ("expected_s", "ttl_ms"),
    [(0, 5_100), (1, 7_000), (30, 65_000), (300, 605_000), (86_400, 605_000)],
)
def test_a_term_is_twice_what_is_expected_and_five_seconds(expected_s: float, ttl_ms: int) -> None:
    assert Pace().ttl_ms(expected_s) == ttl_ms


@given(st.integers(2_000, 605_000))
def test_a_holder_trusts_its_clock_less_than_the_term(ttl_ms: int) -> None:
    assert 0.9 * ttl_ms < trusted_s(ttl_ms) * 1000 + 0 < ttl_ms * 0.9901 - 99


def test_what_was_observed_replaces_what_was_hoped() -> None:
    durations = Durations()
    assert durations.expected_s("audit", 30) == 30
    durations.add("audit", 2)
    assert durations.expected_s("audit", 30) == 30
    durations.add("audit", 40)
    assert durations.expected_s("audit", 30) == 40, "it has been seen to take longer"
    for _ in range(SAMPLES_MIN):
        durations.add("audit", 2)
    assert durations.expected_s("audit", 30) == 40
    for _ in range(WINDOW):
        durations.add("audit", 2)
    assert durations.expected_s("audit", 30) == 2, "the window moves on"
    assert durations.expected_s("rebuild", 30) == 30


@given(GENERATIONS, COUNTERS, GENERATIONS, COUNTERS)
def test_tokens_compare_as_generation_and_counter(g: int, c: int, h: int, d: int) -> None:
    assert unpack(pack(g, c)) == (g, c)
    assert (pack(g, c) < pack(h, d)) == ((g, c) < (h, d))
    assert float(pack(g, c)) == pack(g, c) < 2**53


@pytest.mark.parametrize(
    ("generation", "counter"),
    [(-1, 0), (0, -1), (GENERATION_MAX + 1, 0), (0, COUNTER_MAX + 1)],
)
def test_no_token(generation: int, counter: int) -> None:
    with pytest.raises(ValueError, match="no token"):
        pack(generation, counter)


def test_names() -> None:
    assert lease_name(LeaseKind.AUDIT) == "audit"
    assert lease_name(LeaseKind.REAP, 12) == "reap:12"
    for kind in LeaseKind:
        assert kind_of(lease_name(kind)) is kind
        assert kind_of(lease_name(kind, 3)) is kind
