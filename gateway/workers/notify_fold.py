"""Folding: one message a cause within a while; what comes in between is counted, never lost."""

from collections.abc import Callable
from itertools import islice

from gateway.core.events import SAMPLES_MAX, Event, EventKind, Notice, one_line

CAUSES_PER_KIND_MAX = 8
"""More causes of one kind at a time are told as one: a fault of all SKUs is one fault."""

SAMPLE_CHARS_MAX = 80

Cause = tuple[EventKind, str, str]


class _Pile:
    """Events of one cause that are not told yet."""

    def __init__(self) -> None:
        self.times = self.count = 0
        self.first_ms = self.last_ms = 0
        self.detail = ""
        # Dicts as sets that remember the order.
        self.skus: dict[str, None] = {}
        self.reservations: dict[str, None] = {}

    def add(self, event: Event, now_ms: int) -> None:
        if self.times == 0:
            self.first_ms = now_ms
        self.last_ms = max(now_ms, self.last_ms)
        self.times += 1
        self.count += event.count
        self.detail = event.detail
        _sample(self.skus, event.sku)
        _sample(self.reservations, event.reservation)


def _sample(samples: dict[str, None], text: str) -> None:
    if text and len(samples) < SAMPLES_MAX:
        samples[one_line(text, SAMPLE_CHARS_MAX)] = None


class _Window:
    """The while after a message of one cause, in which no other is sent."""

    def __init__(self, ends_at: float) -> None:
        self.ends_at = ends_at
        self.pile = _Pile()


class Folds:
    """The first event of a cause is told at once, those in the next `fold_s` together at its end.

    A cause is kind, SKU and the event's own `cause`. Times are handed in: `now_s` monotonic,
    `now_ms` since the epoch. What is returned is to be sent.
    """

    def __init__(self, fold_s: float, new_id: Callable[[], str]) -> None:
        self._fold_s = fold_s
        self._new_id = new_id
        self._windows: dict[Cause, _Window] = {}

    def add(self, event: Event, now_s: float, now_ms: int) -> list[Notice]:
        """Take an event; the notice that it makes due, if any."""
        cause = self._cause_of(event)
        window = self._windows.get(cause)
        if window is None:
            window = self._windows[cause] = _Window(now_s)
        window.pile.add(event, now_ms)
        return self._close(cause, now_s) if now_s >= window.ends_at else []

    def due(self, now_s: float) -> list[Notice]:
        """The notices whose time has come."""
        ended = [cause for cause, window in self._windows.items() if now_s >= window.ends_at]
        return [notice for cause in ended for notice in self._close(cause, now_s)]

    def flush(self) -> list[Notice]:
        """All that was counted and not told yet."""
        windows, self._windows = self._windows, {}
        return [self._notice(c, w.pile) for c, w in windows.items() if w.pile.times]

    def _cause_of(self, event: Event) -> Cause:
        cause = (event.kind, event.sku, event.cause)
        if cause in self._windows:
            return cause
        open_now = sum(kind is event.kind for kind, _, _ in self._windows)
        return cause if open_now < CAUSES_PER_KIND_MAX else (event.kind, "", "")

    def _close(self, cause: Cause, now_s: float) -> list[Notice]:
        """End a window: tell what it gathered and begin the next one, if it gathered anything."""
        pile = self._windows.pop(cause).pile
        if not pile.times:
            return []
        self._windows[cause] = _Window(now_s + self._fold_s)
        return [self._notice(cause, pile)]

    def _notice(self, cause: Cause, pile: _Pile) -> Notice:
        kind, _, word = cause
        return Notice(
            id=self._new_id(),
            kind=kind,
            skus=tuple(islice(pile.skus, SAMPLES_MAX)),
            reservations=tuple(islice(pile.reservations, SAMPLES_MAX)),
            cause=one_line(word, SAMPLE_CHARS_MAX),
            detail=one_line(pile.detail),
            times=pile.times,
            count=pile.count,
            first_ms=pile.first_ms,
            last_ms=pile.last_ms,
        )
