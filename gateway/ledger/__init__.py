"""The ledger: what is on hand, what was sold, and why. The only place that speaks SQL."""

from gateway.ledger.ledger import Ledger
from gateway.ledger.opening import MIGRATE, LedgerState
from gateway.ledger.types import (
    Deduction,
    DeductionLine,
    LedgerCheck,
    Move,
    MoveAnswer,
    MoveConflict,
    MovePending,
    MoveRefused,
    MoveRequest,
    MoveUnknownSku,
    Outcome,
    Recorded,
    StockRow,
)

__all__ = [
    "MIGRATE",
    "Deduction",
    "DeductionLine",
    "Ledger",
    "LedgerCheck",
    "LedgerState",
    "Move",
    "MoveAnswer",
    "MoveConflict",
    "MovePending",
    "MoveRefused",
    "MoveRequest",
    "MoveUnknownSku",
    "Outcome",
    "Recorded",
    "StockRow",
]
