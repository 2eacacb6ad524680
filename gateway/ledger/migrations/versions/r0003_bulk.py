"""Batches at full speed, and decisions that cannot be changed.

The journal goes without its second index: it cost a quarter of a deduction on SQLite and a tenth on
PostgreSQL, and whoever checks the journal reads it whole. SQLite builds a table for every look at a
list of more than two values, a row of the journal at a time: the CHECK says the same with OR.
PostgreSQL looks up a foreign key row by row: a trigger looks up a statement's rows together.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

# Ordered by their bytes, as everywhere else, whatever the language of the database; and faster.
IDS = (
    ("stock", "sku"),
    ("moves", "sku"),
    ("deductions", "reservation_id"),
    ("deduction_lines", "reservation_id"),
    ("deduction_lines", "sku"),
    ("journal", "sku"),
    ("journal", "reservation_id"),
)

KINDS = "kind = 'sold' OR kind = 'received' OR kind = 'adjusted' OR kind = 'safety'"


def upgrade() -> None:
    op.drop_index("journal_by_sku", "journal")
    if op.get_bind().dialect.name == "postgresql":
        _upgrade_postgresql()
    else:
        _upgrade_sqlite()


# ── PostgreSQL ───────────────────────────────────────────────────────────────


def _upgrade_postgresql() -> None:
    op.drop_constraint("journal_kind", "journal")
    op.create_check_constraint("journal_kind", "journal", KINDS)
    _look_up_lines_together()
    for table, column in IDS:
        op.execute(f'ALTER TABLE {table} ALTER COLUMN {column} TYPE varchar COLLATE "C"')
    _refusing("journal_is_append_only", "the journal is append-only")
    _refusing("decisions_are_final", "what was deducted cannot be changed")
    for table in ("deductions", "deduction_lines"):
        op.execute(
            f"CREATE TRIGGER {table}_final BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION decisions_are_final()"
        )


def _refusing(function: str, why: str) -> None:
    op.execute(
        f"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION '{why}'"
        " USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )


def _look_up_lines_together() -> None:
    """The plan is kept while the tables grow, so it must use the index from the start."""
    op.drop_constraint("deduction_lines_reservation_id_fkey", "deduction_lines")
    op.execute(
        "CREATE FUNCTION lines_have_a_deduction() RETURNS trigger LANGUAGE plpgsql"
        " SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$"
        " BEGIN IF EXISTS (SELECT FROM added WHERE NOT EXISTS (SELECT FROM deductions"
        " WHERE deductions.reservation_id = added.reservation_id))"
        " THEN RAISE EXCEPTION 'a line belongs to no deduction'"
        " USING ERRCODE = 'foreign_key_violation'; END IF; RETURN NULL; END $$"
    )
    op.execute(
        "CREATE TRIGGER deduction_lines_known AFTER INSERT ON deduction_lines"
        " REFERENCING NEW TABLE AS added"
        " FOR EACH STATEMENT EXECUTE FUNCTION lines_have_a_deduction()"
    )


# ── SQLite ───────────────────────────────────────────────────────────────────


def _upgrade_sqlite() -> None:
    for verb in ("update", "delete"):
        op.execute(f"DROP TRIGGER journal_no_{verb}")
    op.rename_table("journal", "journal_before")
    _create_journal_sqlite()
    op.execute("INSERT INTO journal SELECT * FROM journal_before")
    op.drop_table("journal_before")
    for verb in ("UPDATE", "DELETE"):
        _refuse_sqlite("journal", verb, "the journal is append-only")
        for table in ("deductions", "deduction_lines"):
            _refuse_sqlite(table, verb, "what was deducted cannot be changed")


def _refuse_sqlite(table: str, verb: str, why: str) -> None:
    op.execute(
        f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table}"
        f" BEGIN SELECT RAISE(ABORT, '{why}'); END"
    )


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String, nullable=False, server_default="")


def _create_journal_sqlite() -> None:
    op.create_table(
        "journal",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("sku", sa.String, nullable=False),
        _count("at_ms"),
        sa.Column("kind", sa.String, nullable=False),
        _count("delta"),
        _count("on_hand_before"),
        _count("on_hand_after"),
        _count("safety_before"),
        _count("safety_after"),
        _text("actor"),
        _text("reason"),
        sa.Column("reservation_id", sa.String, nullable=True),
        _count("fence"),
        sa.CheckConstraint(KINDS, name="journal_kind"),
        sa.CheckConstraint("on_hand_after = on_hand_before + delta", name="journal_delta"),
        sa.CheckConstraint("on_hand_after >= 0 AND safety_after >= 0", name="journal_floor"),
        sa.CheckConstraint(
            "(kind = 'sold') = (reservation_id IS NOT NULL)", name="journal_reservation"
        ),
    )
