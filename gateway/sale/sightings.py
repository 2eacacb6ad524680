"""A drift is acted on when the same one was seen twice, some time apart."""

from collections.abc import Collection, Sequence

from gateway.sale.evidence import Drift

APART_S = 1.0
"""Least time between the two sights."""

REMEMBERED_MAX = 10_000
"""Drifts remembered; of more the rest are seen for the first time again."""

Mark = tuple[str, str, str, int, str]


class Sightings:
    """When each drift was first seen, as long as it is seen."""

    def __init__(self) -> None:
        self._first_s: dict[Mark, float] = {}
        self._told: set[Mark] = set()

    def look(
        self, drifts: Sequence[Drift], now_s: float, uncompared: Collection[str] = ()
    ) -> list[Drift]:
        """Those that were seen before, at least APART_S ago. What is not among `drifts` is
        forgotten, unless its SKU could not be compared.
        """
        kept = {mark: s for mark, s in self._first_s.items() if mark[0] in uncompared}
        for drift in drifts[:REMEMBERED_MAX]:
            kept[drift.difference] = self._first_s.get(drift.difference, now_s)
        self._first_s = kept
        self._told &= kept.keys()
        return [drift for drift in drifts if self.is_old(drift, now_s)]

    def is_old(self, drift: Drift, now_s: float) -> bool:
        """Whether this very drift was seen at least APART_S ago."""
        first_s = self._first_s.get(drift.difference)
        return first_s is not None and now_s - first_s >= APART_S

    def new(self, drifts: Sequence[Drift]) -> list[Drift]:
        """Those that were not asked for before, since they are seen."""
        found = [drift for drift in drifts if drift.difference not in self._told]
        self._told.update(drift.difference for drift in found)
        return found
