"""The first tables: stock, deductions, moves, and a journal that cannot be changed."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _create_stock()
    _create_deductions()
    _create_moves()
    _create_journal()
    if op.get_bind().dialect.name == "postgresql":
        _guard_journal_postgresql()
    else:
        _guard_journal_sqlite()


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String, nullable=False, server_default="")


def _settings() -> list[sa.Column[int]]:
    names = ("buyer_limit", "hold_ttl_ms", "sale_starts_ms", "sale_ends_ms", "fuse_rps")
    return [_count(name) for name in names]


def _create_stock() -> None:
    op.create_table(
        "stock",
        sa.Column("sku", sa.String, primary_key=True),
        _count("on_hand"),
        _count("safety_stock"),
        _count("received"),
        _count("sold"),
        *_settings(),
        _count("move_seq"),
        _count("fence"),
        sa.CheckConstraint("on_hand >= 0", name="stock_on_hand"),
        sa.CheckConstraint("safety_stock >= 0", name="stock_safety_stock"),
        sa.CheckConstraint("received >= 0", name="stock_received"),
        sa.CheckConstraint("sold >= 0", name="stock_sold"),
        sa.CheckConstraint("sold + on_hand = received", name="stock_balance"),
    )


def _create_deductions() -> None:
    op.create_table(
        "deductions",
        sa.Column("reservation_id", sa.String, primary_key=True),
        sa.Column("outcome", sa.String, nullable=False),
        _text("reason"),
        _text("buyer"),
        _text("payment_ref"),
        _count("confirmed_at_ms"),
        _count("deducted_at_ms"),
        sa.CheckConstraint("outcome IN ('settled', 'rejected')", name="deductions_outcome"),
        sa.CheckConstraint("(outcome = 'settled') = (reason = '')", name="deductions_reason"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "deduction_lines",
        sa.Column(
            "reservation_id",
            sa.String,
            sa.ForeignKey("deductions.reservation_id"),
            primary_key=True,
        ),
        sa.Column("sku", sa.String, primary_key=True),
        _count("quantity"),
        _count("from_safety"),
        sa.CheckConstraint("quantity > 0", name="deduction_lines_quantity"),
        sa.CheckConstraint(
            "from_safety >= 0 AND from_safety <= quantity", name="deduction_lines_from_safety"
        ),
        sqlite_with_rowid=False,
    )


def _create_moves() -> None:
    op.create_table(
        "moves",
        sa.Column("sku", sa.String, sa.ForeignKey("stock.sku"), primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        _count("on_hand_delta"),
        _count("safety_before"),
        _count("safety_after"),
        *_settings(),
        _text("reason"),
        _text("actor"),
        sa.Column("key", sa.String, nullable=True),
        _text("fingerprint"),
        _count("created_at_ms"),
        _count("finished_at_ms"),
        sa.UniqueConstraint("key", name="moves_key"),
        sa.CheckConstraint("kind IN ('put', 'adjust')", name="moves_kind"),
        sa.CheckConstraint("state IN ('pending', 'applied', 'refused')", name="moves_state"),
        sa.CheckConstraint("safety_before >= 0 AND safety_after >= 0", name="moves_safety"),
    )
    op.create_index(
        "moves_one_pending",
        "moves",
        ["sku"],
        unique=True,
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )


def _create_journal() -> None:
    op.create_table(
        "journal",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
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
        sa.CheckConstraint(
            "kind IN ('received', 'adjusted', 'sold', 'safety')", name="journal_kind"
        ),
        sa.CheckConstraint("on_hand_after = on_hand_before + delta", name="journal_delta"),
        sa.CheckConstraint("on_hand_after >= 0 AND safety_after >= 0", name="journal_floor"),
        sa.CheckConstraint(
            "(kind = 'sold') = (reservation_id IS NOT NULL)", name="journal_reservation"
        ),
    )
    op.create_index("journal_by_sku", "journal", ["sku", "id"])


def _guard_journal_sqlite() -> None:
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER journal_no_{verb.lower()} BEFORE {verb} ON journal"
            " BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"
        )


def _guard_journal_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION journal_is_append_only() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'the journal is append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER journal_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal"
        " FOR EACH STATEMENT EXECUTE FUNCTION journal_is_append_only()"
    )
