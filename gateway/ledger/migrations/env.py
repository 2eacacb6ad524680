"""Run by Alembic: migrates on the connection that it is given, in that connection's transaction."""

from alembic import context

from gateway.ledger.migrations import VERSION_TABLE
from gateway.ledger.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
