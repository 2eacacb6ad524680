"""Broken infrastructure and bugs. Business refusals are values, never exceptions.

StockgateError
├── SetupError          a person must fix something before this can start
├── StoreUnavailable    Redis was not reached: nothing happened, retry
│   └── StoreLost       Redis is not what it was: nothing happens until it is rebuilt
├── OutcomeUnknown      Redis was asked but did not answer: retry with the same key
├── Overloaded          refused before anything was sent: the queue is full or too slow
├── LedgerUnavailable   the ledger could not be asked: nothing was committed
├── LeaseUnavailable    nobody could be asked for the lease: nothing was begun, retry
├── LeaseBusy           another process holds the lease: come back when it ends
├── LeaseLost           the lease is no longer ours: stop, what is written now is refused
└── InvariantBreach     counters contradict each other: the change was refused
"""


class StockgateError(Exception):
    """Root of everything Stockgate raises on purpose."""


class SetupError(StockgateError):
    """Something a person must fix; shown without a traceback.

    Args:
        message: what is wrong and where it was looked for.
        hint: what to do about it.
        exit_code: the process's exit code, 2 unless stated.
    """

    def __init__(self, message: str, *, hint: str = "", exit_code: int = 2) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code


class StoreUnavailable(StockgateError):
    """Redis was not reached, or refused before doing anything."""


class StoreLost(StoreUnavailable):
    """Redis has lost data, or holds older data; nothing is sold until it is rebuilt."""


class OutcomeUnknown(StockgateError):
    """A command was sent and its answer never came; it may have happened."""


class Overloaded(StockgateError):
    """The request was refused before it was sent; `retry_after_s` says when to come back."""

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class LedgerUnavailable(StockgateError):
    """The ledger could not be reached or did not commit."""


class InvariantBreach(StockgateError):
    """on_hand = available + held + unsettled + safety_stock does not hold."""


class LeaseUnavailable(StockgateError):
    """A lease could not be granted, or its token not recorded; the work was not begun."""


class LeaseBusy(StockgateError):
    """Another holds the lease; `retry_after_s` is when its term ends unless it is renewed."""

    def __init__(self, message: str, *, holder: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.holder = holder
        self.retry_after_s = retry_after_s


class LeaseLost(StockgateError):
    """The lease ended before the work did, or a later holder has been seen: stop at once."""
