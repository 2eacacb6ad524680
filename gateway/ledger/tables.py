"""The ledger's tables. The constraints make an oversell impossible even for wrong code."""

import msgspec
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    UniqueConstraint,
    text,
)

from gateway.core.model import SkuSettings

metadata = MetaData()

SETTINGS_FIELDS = SkuSettings.__struct_fields__


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, default=0, server_default="0")


def _text(name: str) -> Column[str]:
    return Column(name, String, nullable=False, default="", server_default="")


def _settings() -> list[Column[int]]:
    return [_count(field) for field in SETTINGS_FIELDS]


stock = Table(
    "stock",
    metadata,
    Column("sku", String, primary_key=True),
    _count("on_hand"),
    _count("safety_stock"),
    _count("received"),
    _count("sold"),
    *_settings(),
    _count("move_seq"),
    _count("fence"),
    CheckConstraint("on_hand >= 0", name="stock_on_hand"),
    CheckConstraint("safety_stock >= 0", name="stock_safety_stock"),
    CheckConstraint("received >= 0", name="stock_received"),
    CheckConstraint("sold >= 0", name="stock_sold"),
    CheckConstraint("sold + on_hand = received", name="stock_balance"),
)

deductions = Table(
    "deductions",
    metadata,
    Column("reservation_id", String, primary_key=True),
    Column("outcome", String, nullable=False),
    _text("reason"),
    _text("buyer"),
    _text("payment_ref"),
    _count("confirmed_at_ms"),
    _count("deducted_at_ms"),
    Column("shares_ref", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("outcome IN ('settled', 'rejected')", name="deductions_outcome"),
    CheckConstraint("(outcome = 'settled') = (reason = '')", name="deductions_reason"),
    sqlite_with_rowid=False,
)

# A payment reference buys one reservation. `shares_ref` marks sales older than this rule.
ONE_A_REF = text("outcome = 'settled' AND payment_ref <> '' AND shares_ref = 0")
Index(
    "deductions_payment_ref",
    deductions.c.payment_ref,
    unique=True,
    sqlite_where=ONE_A_REF,
    postgresql_where=ONE_A_REF,
)

deduction_lines = Table(
    "deduction_lines",
    metadata,
    Column("reservation_id", String, primary_key=True),
    Column("sku", String, primary_key=True),
    _count("quantity"),
    _count("from_safety"),
    CheckConstraint("quantity > 0", name="deduction_lines_quantity"),
    CheckConstraint(
        "from_safety >= 0 AND from_safety <= quantity", name="deduction_lines_from_safety"
    ),
    # On PostgreSQL a trigger does the same for all rows of a statement together.
    ForeignKeyConstraint(["reservation_id"], ["deductions.reservation_id"]).ddl_if("sqlite"),
    sqlite_with_rowid=False,
)

moves = Table(
    "moves",
    metadata,
    Column("sku", ForeignKey("stock.sku"), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String, nullable=False),
    Column("state", String, nullable=False),
    _count("on_hand_delta"),
    _count("safety_before"),
    _count("safety_after"),
    *_settings(),
    _text("reason"),
    _text("actor"),
    Column("key", String, nullable=True),
    _text("fingerprint"),
    _count("created_at_ms"),
    _count("finished_at_ms"),
    UniqueConstraint("key", name="moves_key"),
    CheckConstraint("kind IN ('put', 'adjust')", name="moves_kind"),
    CheckConstraint("state IN ('pending', 'applied', 'refused')", name="moves_state"),
    CheckConstraint("safety_before >= 0 AND safety_after >= 0", name="moves_safety"),
)
Index(
    "moves_one_pending",
    moves.c.sku,
    unique=True,
    sqlite_where=text("state = 'pending'"),
    postgresql_where=text("state = 'pending'"),
)

# The migrations add triggers that refuse to change or delete rows of the journal, of deductions
# and of their lines.
journal = Table(
    "journal",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("sku", String, nullable=False),
    _count("at_ms"),
    Column("kind", String, nullable=False),
    _count("delta"),
    _count("on_hand_before"),
    _count("on_hand_after"),
    _count("safety_before"),
    _count("safety_after"),
    _text("actor"),
    _text("reason"),
    Column("reservation_id", String, nullable=True),
    _count("fence"),
    # Not IN (...): with more than two values SQLite builds a table for it, a row at a time.
    CheckConstraint(
        "kind = 'sold' OR kind = 'received' OR kind = 'adjusted' OR kind = 'safety'",
        name="journal_kind",
    ),
    CheckConstraint("on_hand_after = on_hand_before + delta", name="journal_delta"),
    CheckConstraint("on_hand_after >= 0 AND safety_after >= 0", name="journal_floor"),
    CheckConstraint("(kind = 'sold') = (reservation_id IS NOT NULL)", name="journal_reservation"),
)

fences = Table(
    "fences",
    metadata,
    Column("name", String, primary_key=True),
    Column("token", BigInteger, nullable=False),
    CheckConstraint("token > 0", name="fences_token"),
)

settings = Table(
    "settings",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", String, nullable=False),
)


marks = Table(
    "marks",
    metadata,
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("generation", String, nullable=False),
    Column("beats", BigInteger, nullable=False),
)


def settings_of(row: Row[tuple[object, ...]]) -> SkuSettings:
    """The settings columns of a row of `stock` or `moves`."""
    return SkuSettings(*(row._mapping[field] for field in SETTINGS_FIELDS))


def settings_values(settings: SkuSettings) -> dict[str, int]:
    """The same, the other way round."""
    return msgspec.structs.asdict(settings)
