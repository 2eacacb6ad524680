"""Which errors of a database are about the values it was given, and not about itself."""

from sqlalchemy.exc import DataError, DBAPIError

DATA_CLASSES = ("22", "54")
"""SQLSTATE classes: data exception, program limit exceeded."""


def concerns_data(error: DBAPIError) -> bool:
    """Whether the same values would be refused again, however healthy the database is."""
    state = getattr(error.orig, "sqlstate", None) or ""
    return isinstance(error, DataError) or str(state).startswith(DATA_CLASSES)
