"""Defaults that the database fills in, brought to one form: each database spells them in its own way."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Any, cast

import sqlalchemy as sa

_PARTS = re.compile(r"'(?:[^']|'')*'|[^']+")
_CAST = re.compile(r"::[\w. ]+(?:\([\d, ]*\))?(?:\[\])?")
_FRACTION = re.compile(r"(:\d\d)(\.\d*[1-9])?\.?0*(?='$)")
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
    return plain(there) == plain(model)


def plain(text: str | None) -> str:
    """A default without what databases add or spell differently: casts, brackets, blanks, upper case, zeros."""
    if text is None:
        return "null"
    # PostgreSQL adds casts; outside quotes, case and blanks mean nothing.
    found = "".join(
        part if part.startswith("'") else re.sub(r"\s+", "", _CAST.sub("", part.lower()))
        for part in _PARTS.findall(text.strip())
    )
    while found.startswith("(") and _closes_at_end(found):
        found = found[1:-1]
    found = _NOW.sub(lambda match: f"now({match[1] or ''})", found)
    found = {"true": "1", "false": "0"}.get(found, found)
    found = _FRACTION.sub(r"\1\2", found)
    number = found[1:-1] if found.startswith("'") and found.endswith("'") else found
    try:
        return f"{Decimal(number).normalize():f}"
    except InvalidOperation:
        return found


def _closes_at_end(text: str) -> bool:
    depth = 0
    for position, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if depth == 0:
            return position == len(text) - 1
    return False
