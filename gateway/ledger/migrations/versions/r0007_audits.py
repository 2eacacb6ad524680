"""Audits and what they found."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String, nullable=False, server_default="")


def _id() -> sa.Column[int]:
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    return sa.Column("id", number, primary_key=True)


def upgrade() -> None:
    op.create_table(
        "audit_runs",
        _id(),
        _text("trigger"),
        _text("actor"),
        _text("state"),
        _count("started_at_ms"),
        _count("finished_at_ms"),
        _count("skus"),
        _count("reservations"),
        _count("buyers"),
        _count("ledger_rows"),
        _count("uncompared"),
        _count("findings"),
        _count("repaired"),
        _text("method"),
        _text("error"),
        sa.CheckConstraint("state IN ('running', 'done', 'failed')", name="audit_runs_state"),
    )
    op.create_table(
        "audit_findings",
        _id(),
        sa.Column("run_id", sa.BigInteger, sa.ForeignKey("audit_runs.id"), nullable=False),
        _count("at_ms"),
        _text("sku"),
        _text("term"),
        _text("subject"),
        _count("found"),
        _count("expected"),
        _text("detail"),
        _text("before"),
        _text("after"),
        _text("state"),
        _count("finished_at_ms"),
        _count("fence"),
        sa.CheckConstraint(
            "state IN ('found', 'repairing', 'repaired', 'refused', 'interrupted')",
            name="audit_findings_state",
        ),
    )
    op.create_index("audit_findings_run", "audit_findings", ["run_id", "id"])
