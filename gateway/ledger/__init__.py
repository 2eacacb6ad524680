"""The ledger: what is on hand, what was sold, and why. The only place that speaks SQL."""

from gateway.ledger.audit_book import AuditBook
from gateway.ledger.audit_types import (
    AuditFinding,
    AuditRun,
    FindingState,
    NewFinding,
    RunCounts,
    RunState,
    Trigger,
)
from gateway.ledger.ledger import Ledger
from gateway.ledger.letter_types import (
    LETTER_STATES,
    OPEN_STATES,
    Dismissal,
    Letter,
    LetterState,
    NewLetter,
)
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
    "LETTER_STATES",
    "MIGRATE",
    "OPEN_STATES",
    "AuditBook",
    "AuditFinding",
    "AuditRun",
    "Deduction",
    "DeductionLine",
    "Dismissal",
    "FindingState",
    "Ledger",
    "LedgerCheck",
    "LedgerState",
    "Letter",
    "LetterState",
    "Move",
    "MoveAnswer",
    "MoveConflict",
    "MovePending",
    "MoveRefused",
    "MoveRequest",
    "MoveUnknownSku",
    "NewFinding",
    "NewLetter",
    "Outcome",
    "Recorded",
    "RunCounts",
    "RunState",
    "StockRow",
    "Trigger",
]
