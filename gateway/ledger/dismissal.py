"""An operator's final no to a confirmed reservation, as the ledger keeps it."""

from sqlalchemy import Connection

from gateway.ledger.bulk import Values, insert_rows
from gateway.ledger.deduct import (
    DEDUCTION_COLUMNS,
    LINE_COLUMNS,
    Shelf,
    lock_shelves,
    recorded_outcomes,
)
from gateway.ledger.letter_types import Dismissal
from gateway.ledger.tables import deduction_lines, deductions, journal
from gateway.ledger.types import DeductionLine

NOTE_COLUMNS = (
    "sku",
    "at_ms",
    "on_hand_before",
    "on_hand_after",
    "safety_before",
    "safety_after",
    "actor",
    "reason",
)
NOTE_SAME = (("kind", "adjusted"), ("delta", 0), ("fence", 0))


def refuse(connection: Connection, reservation_id: str, dismissal: Dismissal, now_ms: int) -> None:
    """Record that the reservation is never to be deducted, unless something was decided before.

    No unit moves in the ledger; a journal row a line says who gave up the sale, and why.
    """
    shelves = lock_shelves(connection, {line.sku for line in dismissal.lines})
    if recorded_outcomes(connection, {reservation_id}):
        return
    head = (reservation_id, "rejected", "dismissed", dismissal.buyer, dismissal.payment_ref)
    insert_rows(connection, deductions, DEDUCTION_COLUMNS, [(*head, 0, now_ms)])
    lines = [(reservation_id, it.sku, it.quantity, it.from_safety) for it in dismissal.lines]
    insert_rows(connection, deduction_lines, LINE_COLUMNS, lines)
    words = f"reservation {reservation_id} dismissed: {dismissal.note}"
    rows = [
        _journal_row(line, shelves[line.sku], dismissal.actor, words, now_ms)
        for line in dismissal.lines
        if line.sku in shelves
    ]
    insert_rows(connection, journal, NOTE_COLUMNS, rows, NOTE_SAME)


def _journal_row(line: DeductionLine, shelf: Shelf, actor: str, words: str, now_ms: int) -> Values:
    on_hand, safety = shelf.on_hand, shelf.safety_stock
    return (line.sku, now_ms, on_hand, on_hand, safety, safety, actor, words)
