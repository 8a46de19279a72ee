"""The message for one value that does not fit its column, with what to do about it."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from ozelot.column_type import ColumnType
from ozelot.number_types import DecimalType, FloatType, IntegerType
from ozelot.orm.shown import shown
from ozelot.time_types import DateTimeType, DateType, IntervalType, TimeType
from ozelot.value_types import TextType

_NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MariaDB", "mariadb": "MariaDB"}
_NUMBERS = (int, float, Decimal)


def rejection(where: str, value: Any, reason: str, rule: ColumnType, database: str) -> str:
    """One line: the column, what it expects, the value and its type, the reason, and the remedy.

    Args:
        where: ``table.column``; empty where it is not known.
        value: the value.
        reason: what is wrong with it.
        rule: what the column takes.
        database: the name of the dialect.
    """
    kind = type(value).__name__
    detail = "" if reason == f"a value of type {kind}" else f", {reason.rstrip(',')}"
    column = f"{where or 'A column'} on {_NAMES.get(database, database)}"
    remedy = "Round it, or use a type with more digits of seconds" if "finer" in reason else _remedy(value, rule)
    return f"{column} expects {_expected(rule)}; got {shown(where, value)} of type {kind}{detail}. {remedy}"


def _expected(rule: ColumnType) -> str:
    if isinstance(rule, IntegerType):
        return f"an int from {rule.low:,} to {rule.high:,}"
    if isinstance(rule, FloatType):
        return "a float"
    if isinstance(rule, DecimalType):
        return f"a Decimal{rule.bounds}"
    if isinstance(rule, TextType):
        return "a str" if rule.length is None else f"a str of at most {rule.length:,} characters"
    if isinstance(rule, DateType):
        return "a date"
    if isinstance(rule, DateTimeType):
        return f"a datetime {'with' if rule.aware else 'without'} a time zone"
    if isinstance(rule, TimeType):
        return f"a time {'with' if rule.aware else 'without'} a time zone"
    if isinstance(rule, IntervalType):
        return "a timedelta"
    kinds = " or ".join(sorted(kind.__name__ for kind in rule.exact or ()))
    return f"a value of type {kinds}" if kinds else "a value of its type"


def _remedy(value: Any, rule: ColumnType) -> str:
    if _is_missing(value):
        return "For a missing value, use None"
    if isinstance(rule, IntegerType):
        is_whole = isinstance(value, _NUMBERS) and math.isfinite(value) and value == int(value)
        return "Use a larger type, such as BigInteger" if is_whole else "Convert it: int(value)"
    if isinstance(rule, FloatType):
        return "Use a Numeric column, which keeps more" if isinstance(value, _NUMBERS) else "Convert it: float(value)"
    if isinstance(rule, DecimalType):
        if isinstance(value, _NUMBERS):
            return "Round it, or use a column that keeps all digits, such as String"
        return "Convert it: Decimal(value)"
    if isinstance(rule, TextType):
        return "Change it, or the column" if isinstance(value, str) else "Convert it: str(value)"
    if isinstance(rule, DateType):
        return "Convert it: value.date()" if hasattr(value, "date") else "Convert it: date.fromisoformat(value)"
    if isinstance(rule, DateTimeType | TimeType):
        if not hasattr(value, "tzinfo"):
            return "Convert it, such as with fromisoformat(value)"
        if not rule.aware:
            remedy = "Remove the zone after a conversion to the one that you mean: value.replace(tzinfo=None)"
            return f"{remedy}, or use DateTime(timezone=True)" if isinstance(rule, DateTimeType) else remedy
        return "Give it its distance from UTC: value.replace(tzinfo=...), such as datetime.UTC"
    return "Convert it to a value that the column takes"


def _is_missing(value: Any) -> bool:
    if isinstance(value, float):
        return math.isnan(value)
    if isinstance(value, Decimal):
        return value.is_nan()
    return type(value).__name__ in ("NAType", "NaTType")
