"""A payment reference buys one reservation: which of a batch's references are taken already."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Select, select

from gateway.ledger.bulk import among, is_server, listing
from gateway.ledger.tables import ONE_A_REF, deductions
from gateway.ledger.types import Deduction


def taken_refs(connection: Connection, batch: Sequence[Deduction]) -> set[str]:
    """References of the batch with which another reservation was settled.

    Read after the stock is locked. Two settlers may still decide at once about reservations of
    different SKUs: the unique index refuses the second, which is then decided again.
    """
    refs = {deduction.payment_ref for deduction in batch} - {""}
    query = _taken(is_server(connection))
    return set(connection.execute(query, listing(connection, refs)).scalars())


@lru_cache(maxsize=2)
def _taken(on_server: bool) -> Select[Any]:
    """The index's condition word for word, so that it is used."""
    column = deductions.c.payment_ref
    return select(column).where(among(column, on_server), ONE_A_REF)


def owner_of(connection: Connection, payment_ref: str) -> str | None:
    """The reservation that was settled with the reference."""
    query = select(deductions.c.reservation_id).where(
        deductions.c.payment_ref == payment_ref, ONE_A_REF
    )
    return connection.execute(query).scalar_one_or_none()
