"""What a deployment has settled on once, for all its gateways: names with a value each."""

from sqlalchemy import Connection, insert, select

from gateway.ledger.tables import settings


def keep(connection: Connection, name: str, value: str) -> str:
    """The value kept under `name`; that is `value` when there was none.

    Whoever loses a race for the first word breaks the primary key and, run again, reads the
    winner's.
    """
    kept = connection.execute(select(settings.c.value).where(settings.c.name == name))
    found = kept.scalar_one_or_none()
    if found is not None:
        return str(found)
    connection.execute(insert(settings).values(name=name, value=value))
    return value
