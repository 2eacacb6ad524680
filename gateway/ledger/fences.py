"""The highest token of each lease, and the refusal of writes that carry an older one.

Both in one row: a token is recorded before its holder begins, and from that commit on the ledger
refuses the holder before. The row is locked by whoever writes under it until that write commits,
so the next holder's token waits for a write that was in time.
"""

from sqlalchemy import Connection, insert, select, update

from gateway.core.errors import LeaseLost
from gateway.ledger.tables import fences


def last_token(connection: Connection, name: str) -> int:
    """The highest token recorded for the lease; 0 when none was."""
    query = select(fences.c.token).where(fences.c.name == name)
    return connection.execute(query).scalar_one_or_none() or 0


def record_token(connection: Connection, name: str, token: int) -> bool:
    """Record a token above all before; False, and no change, when it is not above them."""
    higher = update(fences).where(fences.c.name == name, fences.c.token < token)
    if connection.execute(higher.values(token=token)).rowcount:
        return True
    if last_token(connection, name):
        return False
    connection.execute(insert(fences).values(name=name, token=token))
    return True


def refuse_stale(connection: Connection, name: str, token: int) -> None:
    """To be called first in a transaction that writes under a lease.

    Raises:
        LeaseLost: a later holder is on record. The transaction must end with this.
    """
    query = select(fences.c.token).where(fences.c.name == name).with_for_update()
    seen = connection.execute(query).scalar_one_or_none() or 0
    if token < seen:
        raise LeaseLost(
            f"lease {name} is lost: the ledger has seen token {seen}, and refuses {token}"
        )
    if token > seen:  # a ledger put back from a copy knows less than the lease's holder
        record_token(connection, name, token)
