"""Dead letters, and one settled reservation a payment reference."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

ONE_A_REF = "outcome = 'settled' AND payment_ref <> '' AND shares_ref = 0"
OPEN = "reservation_id <> '' AND state IN ('waiting', 'retrying')"
UNFINISHED = "unfinished = 1"


def upgrade() -> None:
    _create_dead_letters()
    _make_refs_unique()


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String, nullable=False, server_default="")


def _create_dead_letters() -> None:
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        _text("kind"),
        _count("shard"),
        _text("entry_id"),
        _text("reservation_id"),
        _text("record"),
        _text("reason"),
        _text("detail"),
        _count("tries"),
        _count("first_at_ms"),
        _count("last_at_ms"),
        _text("state"),
        _text("actor"),
        _text("note"),
        _count("decided_at_ms"),
        _count("unfinished"),
        sa.CheckConstraint(
            "state IN ('waiting', 'retrying', 'resolved', 'dismissed')", name="dead_letters_state"
        ),
        sa.CheckConstraint("unfinished IN (0, 1)", name="dead_letters_unfinished"),
    )
    op.create_index(
        "dead_letters_entry", "dead_letters", ["kind", "shard", "entry_id"], unique=True
    )
    _create_partial_index("dead_letters_one_open", ["reservation_id"], OPEN, unique=True)
    op.create_index("dead_letters_state_id", "dead_letters", ["state", "id"])
    _create_partial_index("dead_letters_to_finish", ["id"], UNFINISHED)


def _create_partial_index(
    name: str, columns: list[str], where: str, *, table: str = "dead_letters", unique: bool = False
) -> None:
    op.create_index(
        name,
        table,
        columns,
        unique=unique,
        sqlite_where=sa.text(where),
        postgresql_where=sa.text(where),
    )


def _make_refs_unique() -> None:
    """Sales made before the rule keep their reference: all but the first are marked as sharing."""
    op.add_column("deductions", _count("shares_ref"))
    op.execute(
        "UPDATE deductions SET shares_ref = 1 WHERE outcome = 'settled' AND payment_ref <> ''"
        " AND reservation_id > (SELECT MIN(d.reservation_id) FROM deductions d WHERE"
        " d.payment_ref = deductions.payment_ref AND d.outcome = 'settled')"
    )
    _create_partial_index(
        "deductions_payment_ref", ["payment_ref"], ONE_A_REF, table="deductions", unique=True
    )
