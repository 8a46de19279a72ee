"""Quoted names in SQL that a driver gets without parameters."""

from __future__ import annotations

import sqlalchemy as sa


def unescaped(text: str, dialect: sa.Dialect) -> str:
    """Quoted names as the server reads them.

    SQLAlchemy doubles each ``%`` for drivers that replace ``%s`` by parameters. A statement without parameters, and a
    name that is a parameter itself, must have it once.
    """
    doubles = "%%" in dialect.identifier_preparer.quote("%")
    return text.replace("%%", "%") if doubles else text
