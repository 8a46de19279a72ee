"""The message for one value that does not fit its column, with what to do about it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ozelot.column_type import ColumnType
from ozelot.orm.shown import shown_with_type
from ozelot.value_reasons import Reason

_NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MariaDB", "mariadb": "MariaDB"}


def rejection(where: str, value: Any, reason: str, rule: ColumnType, database: str) -> str:
    """One line: the column, what it expects, the value and its type, the reason, and the remedy.

    Args:
        where: ``table.column``; empty where it is not known.
        value: the value.
        reason: what is wrong with it.
        rule: what the column takes.
        database: the name of the dialect.
    """
    why = reason if isinstance(reason, Reason) else Reason(reason)
    column = f"{where or 'A column'} on {_NAMES.get(database, database)}"
    detail = f" ({why.detail})" if why.detail else ""
    remedy = f". {why.remedy}" if why.remedy else ""
    if _is_missing(value):
        remedy = ". For a missing value, use None"
    return f"{column} expects {why.expects or rule.expects}; got {shown_with_type(where, value)}{detail}{remedy}"


def _is_missing(value: Any) -> bool:
    is_nan = isinstance(value, float | Decimal) and value != value
    return is_nan or type(value).__name__ in ("NAType", "NaTType")
