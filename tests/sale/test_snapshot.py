"""What shop windows are told: kept in memory, refreshed by replies and polls, bounded."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.model import SkuSettings, SkuTerms
from gateway.sale.snapshot import ASKED_MEMORY_S, Shown, Snapshot
from gateway.store.commands import Pulse
from tests.sale.clocks import StillClock

T0 = 1_750_000_000_000


def terms(sku: str = "phone", /, **changes: Any) -> SkuTerms:
    """10 units on sale unless `changes` says otherwise."""
    values: dict[str, Any] = {
        "sku": sku,
        "on_hand": 10,
        "available": 10,
        "held": 0,
        "unsettled": 0,
        "safety_stock": 0,
        "sold": 0,
        "version": 1,
        "move_seq": 1,
        "settings": SkuSettings(),
    }
    return SkuTerms(**values | changes)


def pulse(sku: str = "phone", /, **changes: Any) -> Pulse:
    t = terms(sku, **changes)
    return Pulse(
        t.sku, t.on_hand, t.available, t.held, t.unsettled, t.safety_stock, t.sold, t.version
    )


def known(snapshot: Snapshot, sku: str = "phone") -> Shown:
    shown = snapshot.get(sku)
    assert shown is not None
    return shown


def test_what_nobody_fetched_is_not_known() -> None:
    snapshot = Snapshot(StillClock())
    snapshot.on_pulse([pulse()], T0)
    assert snapshot.get("phone") is None


def test_a_reply_of_a_command_refreshes_a_known_sku() -> None:
    snapshot = Snapshot(StillClock())
    snapshot.put([terms()], T0)
    snapshot.on_pulse([pulse(available=7, held=2, unsettled=1, version=2)], T0 + 5)
    shown = known(snapshot)
    assert (shown.available, shown.held, shown.unsettled, shown.version) == (7, 2, 1, 2)
    assert shown.as_of_ms == T0 + 5


def test_older_news_change_nothing() -> None:
    snapshot = Snapshot(StillClock())
    snapshot.put([terms(available=7, held=3, version=5)], T0)
    for late_ms in (0, 5):
        snapshot.on_pulse([pulse(available=9, held=1, version=4)], T0 - late_ms)
        snapshot.put([terms(available=8, held=2, version=4)], T0 - late_ms)
    shown = known(snapshot)
    assert (shown.available, shown.version, shown.as_of_ms) == (7, 5, T0)


def test_a_redis_that_went_back_is_believed() -> None:
    """A replica took over that had not heard of the last holds; nobody may ever hold again."""
    snapshot = Snapshot(StillClock())
    snapshot.put([terms(available=0, held=10, version=9)], T0)
    snapshot.put([terms(available=7, held=3, version=2)], T0 + 1)
    assert (known(snapshot).available, known(snapshot).version) == (7, 2)
    snapshot.on_pulse([pulse(available=8, held=2, version=1)], T0 + 2)
    assert (known(snapshot).available, known(snapshot).version) == (8, 1)


def test_a_poll_without_news_states_that_it_is_fresh() -> None:
    snapshot = Snapshot(StillClock())
    snapshot.put([terms()], T0)
    snapshot.put([terms()], T0 + 250)
    assert known(snapshot).as_of_ms == T0 + 250
    snapshot.put([terms()], T0 + 100)
    assert known(snapshot).as_of_ms == T0 + 250, "its age never grows by a slower answer"


def test_rules_come_with_a_poll() -> None:
    snapshot = Snapshot(StillClock())
    snapshot.put([terms()], T0)
    snapshot.put([terms(version=2, settings=SkuSettings(buyer_limit=3))], T0)
    assert known(snapshot).settings.buyer_limit == 3


def test_those_not_asked_for_longest_make_room() -> None:
    clock = StillClock()
    snapshot = Snapshot(clock, skus_max=3)
    for name in ("a", "b", "c"):
        snapshot.put([terms(name)], T0)
        clock.advance(1)
    snapshot.get("a")
    clock.advance(1)
    snapshot.put([terms("d")], T0)
    assert snapshot.get("b") is None
    assert [known(snapshot, name).sku for name in ("a", "c", "d")] == ["a", "c", "d"]


@given(
    calls=st.lists(
        st.tuples(st.sampled_from(["get", "put", "forget", "pulse"]), st.sampled_from("abcdefgh"))
    )
)
def test_who_makes_room_is_always_who_was_not_asked_for_longest(
    calls: list[tuple[str, str]],
) -> None:
    """Against the plain rule: look at all of them."""
    clock, asked = StillClock(), dict[str, int]()
    snapshot = Snapshot(clock, skus_max=4)
    for now, (call, name) in enumerate(calls):
        clock.advance(1)
        if call == "get":
            assert (snapshot.get(name) is None) == (name not in asked)
        elif call == "put":
            if name not in asked and len(asked) == 4:
                del asked[min(asked, key=lambda other: asked[other])]
            snapshot.put([terms(name)], T0 + now)
        elif call == "forget":
            snapshot.forget(name)
            asked.pop(name, None)
        else:
            snapshot.on_pulse([pulse(name)], T0 + now)
        if (call == "get" and name in asked) or (call == "put" and name not in asked):
            asked[name] = now
        assert set(snapshot.lately_asked(9)) == {n for n, at in asked.items() if now - at <= 60}


def test_only_what_was_asked_for_lately_is_polled_the_stalest_first() -> None:
    clock = StillClock()
    snapshot = Snapshot(clock)
    snapshot.put([terms("quiet")], T0)
    clock.advance(ASKED_MEMORY_S + 1)
    for n, name in enumerate("cab"):
        snapshot.put([terms(name)], T0 + n)
    assert snapshot.lately_asked(9) == ["c", "a", "b"]
    snapshot.put([terms("c")], T0 + 9)
    assert snapshot.lately_asked(2) == ["a", "b"]
    snapshot.get("quiet")
    assert "quiet" in snapshot.lately_asked(9)


def test_a_forgotten_sku_is_unknown() -> None:
    snapshot = Snapshot(StillClock())
    snapshot.put([terms()], T0)
    snapshot.forget("phone")
    snapshot.forget("phone")
    assert snapshot.get("phone") is None


WINDOW = SkuSettings(sale_starts_ms=T0, sale_ends_ms=T0 + 1000)


@pytest.mark.parametrize(
    ("now_ms", "available", "settings", "status"),
    [
        (T0 - 1, 5, WINDOW, "upcoming"),
        (T0 - 1, 0, WINDOW, "upcoming"),
        (T0, 5, WINDOW, "on_sale"),
        (T0 + 999, 5, WINDOW, "on_sale"),
        (T0 + 999, 0, WINDOW, "sold_out"),
        (T0 + 1000, 5, WINDOW, "ended"),
        (T0 + 1000, 0, WINDOW, "ended"),
        (T0, 5, SkuSettings(), "on_sale"),
        (T0, 0, SkuSettings(), "sold_out"),
    ],
)
def test_the_status_follows_the_window_and_the_stock(
    now_ms: int, available: int, settings: SkuSettings, status: str
) -> None:
    snapshot = Snapshot(StillClock())
    snapshot.put([terms(available=available, settings=settings)], T0)
    assert known(snapshot).status(now_ms) == status


def test_without_demand_half_of_what_is_held_is_expected_to_be_bought() -> None:
    snapshot = Snapshot(StillClock())
    snapshot.put([terms(available=0, held=10)], T0)
    assert known(snapshot).expected_occupancy(900_000) == 5


def test_a_shop_whose_holds_are_all_bought_expects_more_than_one_whose_are_not() -> None:
    expected = []
    for bought in (True, False):
        snapshot = Snapshot(StillClock())
        snapshot.put([terms(on_hand=200, available=160, held=40)], T0)
        ended = {"sold": 20, "on_hand": 180} if bought else {"available": 180, "on_hand": 200}
        snapshot.on_pulse([pulse(version=2, **{"available": 160, "held": 20} | ended)], T0 + 60_000)
        expected.append(known(snapshot).expected_occupancy(900_000))
    assert expected[0] > expected[1]


def test_demand_is_expected_to_go_on_and_fades_when_it_stops() -> None:
    clock = StillClock()
    snapshot = Snapshot(clock)
    snapshot.put([terms(on_hand=10_000, available=10_000)], T0)
    snapshot.on_pulse([pulse(on_hand=10_000, available=9_940, held=60, version=2)], T0 + 60_000)
    busy = known(snapshot).expected_occupancy(900_000)
    assert busy > 60
    snapshot.put([terms(on_hand=10_000, available=9_940, held=60, version=2)], T0 + 3_600_000)
    assert 30 <= known(snapshot).expected_occupancy(900_000) < busy


@st.composite
def moments(draw: st.DrawFn) -> tuple[int, dict[str, int]]:
    counts = {name: draw(st.integers(0, 10**6)) for name in ("available", "held", "unsettled")}
    counts["sold"] = draw(st.integers(0, 10**6))
    counts["on_hand"] = counts["available"] + counts["held"] + counts["unsettled"]
    return draw(st.integers(-10_000, 10**8)), counts


@given(
    history=st.lists(moments(), min_size=1, max_size=12),
    sku_ttl_ms=st.integers(0, 14_400_000),
    default_ttl_ms=st.integers(1000, 14_400_000),
)
def test_what_is_expected_is_never_less_than_nothing_nor_more_than_there_is(
    history: list[tuple[int, dict[str, int]]], sku_ttl_ms: int, default_ttl_ms: int
) -> None:
    snapshot = Snapshot(StillClock())
    now_ms = T0
    for version, (passed_ms, counts) in enumerate(history):
        now_ms += passed_ms
        settings = SkuSettings(hold_ttl_ms=sku_ttl_ms)
        snapshot.put([terms(version=version, settings=settings, **counts)], now_ms)
        shown = known(snapshot)
        expected = shown.expected_occupancy(default_ttl_ms)
        assert isinstance(expected, int)
        assert 0 <= expected <= shown.held + shown.available
