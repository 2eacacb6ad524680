"""The mark of each shard, as the ledger remembers it."""

from sqlalchemy import Connection, insert, select, update

from gateway.core.marks import NO_MARK, Mark
from gateway.ledger.tables import marks


def find(connection: Connection, shard: int) -> Mark:
    """The mark; NO_MARK when none was recorded."""
    query = select(marks.c.generation, marks.c.beats).where(marks.c.shard == shard)
    row = connection.execute(query).one_or_none()
    return NO_MARK if row is None else Mark(row[0], row[1])


def raise_count(connection: Connection, shard: int, seen: Mark) -> Mark:
    """Remember a count that was seen in Redis, if it is the highest; the mark as it is now."""
    connection.execute(
        update(marks)
        .where(marks.c.shard == shard, marks.c.generation == seen.generation)
        .where(marks.c.beats < seen.beats)
        .values(beats=seen.beats)
    )
    return find(connection, shard)


def replace(connection: Connection, shard: int, mark: Mark, before: str) -> Mark:
    """Begin another generation after generation `before`, unless another did; the mark now."""
    values = {"generation": mark.generation, "beats": mark.beats}
    if find(connection, shard) == NO_MARK:
        connection.execute(insert(marks).values(shard=shard, **values))
    else:
        of_before = update(marks).where(marks.c.shard == shard, marks.c.generation == before)
        connection.execute(of_before.values(values))
    return find(connection, shard)
