"""Folding: one message a minute a cause, and no event lost. In virtual time."""

from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.events import SAMPLES_MAX, Event, EventKind, Notice
from gateway.workers.notify_fold import CAUSES_PER_KIND_MAX, Folds

FOLD_S = 60.0

EVENTS = st.builds(
    Event,
    kind=st.sampled_from([EventKind.DRIFT_FOUND, EventKind.DEAD_LETTER_ADDED]),
    sku=st.sampled_from(["", *[f"sku-{n}" for n in range(CAUSES_PER_KIND_MAX + 4)]]),
    cause=st.sampled_from(["", "held", "available"]),
    count=st.integers(1, 5),
)
STEPS = st.lists(st.tuples(st.floats(0, 40), st.one_of(EVENTS, st.just("tick"))), max_size=80)


def new_ids() -> Callable[[], str]:
    numbers = count(1)
    return lambda: f"msg_{next(numbers)}"


def run(folds: Folds, steps: Any) -> list[tuple[float, Notice]]:
    """Everything sent and when, the final flush at time infinity."""
    now_s, sent = 0.0, []
    for wait_s, what in steps:
        now_s += wait_s
        now_ms = int(now_s * 1000)
        notices = folds.due(now_s) if what == "tick" else folds.add(what, now_s, now_ms)
        sent += [(now_s, notice) for notice in notices]
    return sent + [(float("inf"), notice) for notice in folds.flush()]


@given(STEPS)
def test_no_event_is_lost_and_counts_add_up(steps: Any) -> None:
    sent = run(Folds(FOLD_S, new_ids()), steps)
    told = [what for _, what in steps if what != "tick"]
    for kind in EventKind:
        notices = [notice for _, notice in sent if notice.kind is kind]
        events = [event for event in told if event.kind is kind]
        assert sum(notice.times for notice in notices) == len(events)
        assert sum(notice.count for notice in notices) == sum(event.count for event in events)
    assert all(notice.first_ms <= notice.last_ms for _, notice in sent)
    assert len({notice.id for _, notice in sent}) == len(sent)


class Watched(Folds):
    """Folds that note the cause of each notice, which notices themselves tell only in part."""

    def __init__(self, fold_s: float) -> None:
        super().__init__(fold_s, new_ids())
        self.sent: list[tuple[Any, str]] = []

    def _notice(self, cause: Any, pile: Any) -> Notice:
        made = super()._notice(cause, pile)
        self.sent.append((cause, made.id))
        return made


def too_soon(folds: Watched, steps: Any) -> list[Any]:
    """Causes with two messages within FOLD_S."""
    at = {notice.id: now_s for now_s, notice in run(folds, steps)}
    last: dict[Any, float] = {}
    found = []
    for cause, message_id in folds.sent:
        now_s = at[message_id]
        if now_s != float("inf") and now_s - last.get(cause, -FOLD_S) < FOLD_S - 1e-6:
            found.append(cause)
        last[cause] = now_s
    return found


@given(STEPS)
def test_at_most_one_message_a_minute_a_cause(steps: Any) -> None:
    assert not too_soon(Watched(FOLD_S), steps)


def test_without_folding_messages_would_come_too_soon() -> None:
    """Negative control: windows of no length."""
    steps = [(1.0, Event(EventKind.DRIFT_FOUND))] * 3
    assert too_soon(Watched(0.0), steps)
    assert not too_soon(Watched(FOLD_S), steps)


@given(STEPS)
def test_a_fault_of_everything_is_few_messages(steps: Any) -> None:
    folds = Folds(FOLD_S, new_ids())
    for wait_s, what in steps:
        if what != "tick":
            folds.add(what, 0.0, int(wait_s))
    per_kind = Counter(notice.kind for notice in folds.flush())
    assert all(number <= CAUSES_PER_KIND_MAX + 1 for number in per_kind.values())


def test_the_first_is_told_at_once_and_the_rest_after_a_minute() -> None:
    folds = Folds(FOLD_S, new_ids())
    event = Event(EventKind.DEAD_LETTER_ADDED, sku="phone", reservation="r1", detail="first")
    (first,) = folds.add(event, 0.0, 5_000)
    assert (first.times, first.count, first.first_ms, first.last_ms) == (1, 1, 5_000, 5_000)
    for second in (10, 20):
        later = Event(event.kind, sku="phone", reservation=f"r{second}", count=2, detail="later")
        assert folds.add(later, float(second), second * 1000) == []
    assert folds.due(59.9) == []
    (rest,) = folds.due(60.0)
    assert (rest.times, rest.count, rest.first_ms, rest.last_ms) == (2, 4, 10_000, 20_000)
    assert (rest.skus, rest.reservations, rest.detail) == (("phone",), ("r10", "r20"), "later")
    assert rest.id != first.id
    assert folds.due(120.0) == []
    assert len(folds.add(event, 121.0, 121_000)) == 1, "quiet for a minute: told at once again"
    assert folds.flush() == []


def test_other_causes_are_told_apart() -> None:
    folds = Folds(FOLD_S, new_ids())
    events = [
        Event(EventKind.DRIFT_FOUND, sku="a"),
        Event(EventKind.DRIFT_FOUND, sku="b"),
        Event(EventKind.DRIFT_FOUND, sku="a", cause="held"),
        Event(EventKind.DRIFT_REPAIRED, sku="a"),
    ]
    assert all(len(folds.add(event, 0.0, 0)) == 1 for event in events)


def test_a_notice_names_a_few_of_many() -> None:
    folds = Folds(FOLD_S, new_ids())
    for number in range(30):
        folds.add(Event(EventKind.HOLDS_STUCK, reservation=f"r{number}"), 0.0, 0)
    (rest,) = folds.flush()
    assert len(rest.reservations) == SAMPLES_MAX
    assert rest.times == 29


@pytest.mark.parametrize(
    "text", ["a\nb", "a\r\n b", "a\u2028b", "a\x1b b", "a\u202e b", "a\ud800b"]
)
def test_texts_become_one_line(text: str) -> None:
    event = Event(EventKind.DRIFT_FOUND, sku=text, reservation=text, cause=text, detail=text * 999)
    (it,) = Folds(FOLD_S, new_ids()).add(event, 0.0, 0)
    assert (it.skus, it.reservations, it.cause) == (("a b",), ("a b",), "a b")
    assert it.detail.isprintable()
    assert len(it.detail) <= 300
