"""The tables of the audits."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
)

from gateway.ledger.tables import metadata


def _text(name: str) -> Column[str]:
    return Column(name, String, nullable=False, default="", server_default="")


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, default=0, server_default="0")


def _id() -> Column[int]:
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True)


audit_runs = Table(
    "audit_runs",
    metadata,
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
    CheckConstraint("state IN ('running', 'done', 'failed')", name="audit_runs_state"),
)

audit_findings = Table(
    "audit_findings",
    metadata,
    _id(),
    Column("run_id", BigInteger, ForeignKey("audit_runs.id"), nullable=False),
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
    CheckConstraint(
        "state IN ('found', 'repairing', 'repaired', 'refused', 'interrupted')",
        name="audit_findings_state",
    ),
)
Index("audit_findings_run", audit_findings.c.run_id, audit_findings.c.id)
