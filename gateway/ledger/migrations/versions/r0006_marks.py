"""The mark of each shard of the store."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "marks",
        sa.Column("shard", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("generation", sa.String, nullable=False),
        sa.Column("beats", sa.BigInteger, nullable=False),
    )
