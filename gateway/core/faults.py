"""Why an outbox entry cannot be settled though both stores answer. The numbers of tries are few."""

from typing import Final

UNREADABLE: Final = "unreadable"
"""The entry's text is no reservation."""

INVALID: Final = "invalid"
"""The reservation makes no sense: no units, or a SKU twice."""

LEDGER_REFUSED: Final = "ledger-refused"
"""The ledger cannot take it down: one of its constraints, or the driver, refuses it."""

MIRROR_REFUSED: Final = "mirror-refused"
"""The ledger has decided, and the store's record is in no state that could follow."""

STOCK_INCONSISTENT: Final = "stock-inconsistent"
"""The ledger has decided, and the store's counters of a SKU do not add up."""

REASONS: Final = (UNREADABLE, INVALID, LEDGER_REFUSED, MIRROR_REFUSED, STOCK_INCONSISTENT)

REPAIRABLE: Final = frozenset({STOCK_INCONSISTENT})
"""Not the entry's fault, and repaired for all entries of the SKU at once: they wait for it."""
