"""A payment reference buys one reservation: which of a batch's references are taken already."""

from collections.abc import Sequence

from sqlalchemy import Connection, select

from gateway.ledger.tables import ONE_A_REF, deductions
from gateway.ledger.types import Deduction

IN_MAX = 1000


def taken_refs(connection: Connection, batch: Sequence[Deduction]) -> set[str]:
    """References of the batch with which another reservation was settled.

    Read after the stock is locked. Two settlers may still decide at once about reservations of
    different SKUs: the unique index refuses the second, which is then decided again.
    """
    refs = sorted({deduction.payment_ref for deduction in batch} - {""})
    taken: set[str] = set()
    for start in range(0, len(refs), IN_MAX):
        query = select(deductions.c.payment_ref).where(
            deductions.c.payment_ref.in_(refs[start : start + IN_MAX]),
            ONE_A_REF,  # word for word, so that the partial index is used
        )
        taken.update(connection.execute(query).scalars())
    return taken


def owner_of(connection: Connection, payment_ref: str) -> str | None:
    """The reservation that was settled with the reference."""
    query = select(deductions.c.reservation_id).where(
        deductions.c.payment_ref == payment_ref, ONE_A_REF
    )
    return connection.execute(query).scalar_one_or_none()
