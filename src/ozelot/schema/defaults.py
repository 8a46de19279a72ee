"""Defaults that the database fills in, brought to one form: each database spells them in its own way."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Any, cast

import sqlalchemy as sa

_PARTS = re.compile(r"'(?:[^']|'')*'|[^']+")
_CAST = re.compile(r"::[\w. ]+(?:\([\d, ]*\))?(?:\[\])?")
_NOW = re.compile(r"\b(?:now|current_timestamp|localtimestamp)\b(?:\((\d*)\))?")


def wanted(column: sa.Column[Any], dialect: sa.Dialect) -> str | None:
    """The default of a column in SQL, as its model says it; None where there is none."""
    default = column.server_default
    if not isinstance(default, sa.DefaultClause):
        return None  # generated columns and sequences are no values
    compiler = cast(Any, dialect.ddl_compiler)(dialect, None)
    text: str | None = compiler.get_column_default_string(column)
    # The compiler escapes for drivers that take a per cent sign for a parameter.
    return text.replace("%%", "%") if text and dialect.paramstyle in ("format", "pyformat") else text


def same(there: str | None, model: str | None) -> bool:
    """Whether two defaults mean the same."""
    if there is None or model is None:
        return (there is None or _plain(there) == "null") and (model is None or _plain(model) == "null")
    return _plain(there) == _plain(model)


def _plain(text: str) -> str:
    parts = []
    for part in _PARTS.findall(text.strip()):
        if part.startswith("'"):
            parts.append(part)
        else:
            # Function names and the like are not told apart by case, and PostgreSQL adds casts.
            parts.append(re.sub(r"\s+", "", _CAST.sub("", part.lower())))
    found = "".join(parts)
    while found.startswith("(") and _closes_at_end(found):
        found = found[1:-1]
    found = _NOW.sub(lambda match: f"now({match[1] or ''})", found)
    found = {"true": "1", "false": "0"}.get(found, found)
    number = found[1:-1] if found.startswith("'") and found.endswith("'") else found
    try:
        return str(Decimal(number).normalize())
    except InvalidOperation:
        return found


def _closes_at_end(text: str) -> bool:
    depth = 0
    for position, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if depth == 0:
            return position == len(text) - 1
    return False
