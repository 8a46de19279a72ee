"""Comparing columns with values the way Python does, on every database.

Databases fold upper and lower case, blanks and accents by their collations, compare dates with times as texts, and
bring numbers to a common type that may not hold them. Here columns are compared by the characters that they hold, and
values are converted exactly to what a column holds, or refused.
"""

from __future__ import annotations

import datetime
import math
import numbers
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.expression import ColumnClause
from sqlalchemy.types import TypeDecorator, TypeEngine

from ozelot.checks.check import MARIADB, clause, name_of

#: What a value is for: the least value, the greatest one, or one that is equal.
Role: TypeAlias = Literal["low", "high", "equal"]

_MIDNIGHT = datetime.time()
_LARGEST = 2**63 - 1  # that a column for integers holds anywhere
_SORTED_BYTES = 1024  # MariaDB sorts by so many, and groups what it has sorted


def stored_type(column: sa.ColumnElement[Any], dialect: sa.Dialect) -> TypeEngine[Any]:
    """The type that a database stores, beneath a ``TypeDecorator``."""
    found: TypeEngine[Any] = column.type.dialect_impl(dialect)
    while isinstance(found, TypeDecorator):
        found = found.impl_instance.dialect_impl(dialect)
    return found


def exact(column: sa.ColumnElement[Any], dialect: sa.Dialect) -> sa.ColumnElement[Any]:
    """A column for comparing, sorting and grouping its texts by their characters; other columns are as they are."""
    kind = stored_type(column, dialect)
    is_native_enum = isinstance(kind, sa.Enum) and kind.native_enum and dialect.name != "sqlite"
    if not isinstance(kind, sa.String) or is_native_enum:
        return column
    if dialect.name in MARIADB:
        # Comparing as binary leaves no collation; but first, other character sets than that of the connection go.
        as_utf8 = sa.func.convert(sa.type_coerce(column, sa.Text).op("USING")(sa.text("utf8mb4")))
        return sa.type_coerce(sa.cast(as_utf8, sa.LargeBinary), column.type)
    text: sa.ColumnElement[Any] = sa.type_coerce(column, sa.Text)
    if differs_from_text(column, dialect):
        text = sa.cast(column, sa.Text)
    return sa.type_coerce(sa.collate(text, "BINARY" if dialect.name == "sqlite" else "C"), column.type)


def differs_from_text(column: sa.ColumnElement[Any], dialect: sa.Dialect) -> bool:
    """Whether PostgreSQL compares a column otherwise than text: CHAR is filled up with blanks, CITEXT folds case."""
    declared: Any = column.type  # the types of a dialect no longer tell
    while isinstance(declared, TypeDecorator):
        declared = declared.impl_instance
    return dialect.name == "postgresql" and isinstance(declared, sa.CHAR | postgresql.CITEXT)


def groupable(column: sa.ColumnElement[Any], dialect: sa.Dialect) -> sa.ColumnElement[Any]:
    """A column for grouping: as :func:`exact`, but also right where MariaDB sorts only the beginning of a text."""
    kind = stored_type(column, dialect)
    if dialect.name in MARIADB and isinstance(kind, sa.String | sa.LargeBinary) and not isinstance(kind, sa.Enum):
        length = getattr(kind, "length", None)
        if length is None or 4 * length > _SORTED_BYTES:
            return sa.func.sha2(exact(column, dialect), 256)
    return exact(column, dialect)


def same_text(one: sa.ColumnElement[Any], other: sa.ColumnElement[Any], dialect: sa.Dialect) -> sa.ColumnElement[bool]:
    """Whether two columns are equal; by the plain condition first, which may use an index."""
    if not isinstance(stored_type(one, dialect), sa.String) or isinstance(one.type, sa.Enum):
        return one == other
    return sa.and_(one == other, exact(one, dialect) == exact(other, dialect))


def check_ordered(column: Any, check: str) -> None:
    """Make sure that all databases sort the values of a column alike.

    Raises:
        TypeError: they do not.
    """
    if isinstance(clause(column).type, sa.Enum | sa.Uuid | sa.JSON):
        kind = type(clause(column).type).__name__
        raise TypeError(
            f"{check} is for numbers, times and text, and databases sort the {kind} {name_of(column)} in different "
            "ways: use one_of()"
        )


def comparable(column: Any, value: Any, role: Role) -> Any:
    """A value as the column holds it; None for a bound that no value can pass.

    What an expression or a ``TypeDecorator`` gives is not known, so that values for these stay as they are.

    Raises:
        TypeError: it cannot be compared.
        ValueError: it cannot be equal to any value of the column.
    """
    expression = clause(column)
    kind = expression.type
    if not isinstance(expression, ColumnClause) or isinstance(kind, sa.Enum):
        return value
    convert = next((found for base, found in _CONVERTERS if isinstance(kind, base)), None)
    if convert is None:
        return value
    try:
        return convert(kind, value, role)
    except (TypeError, ValueError) as exc:
        raise type(exc)(f"{value!r} cannot be compared with {name_of(column)}: {exc}") from None


def _day(_: TypeEngine[Any], value: Any, role: Role) -> Any:
    if not isinstance(value, datetime.date):
        raise TypeError("the column holds dates; pass a datetime.date")
    if not isinstance(value, datetime.datetime):
        return value
    if value.tzinfo is not None:
        raise TypeError("it has a time zone, and dates have none; pass its date: value.date()")
    day = value.date()
    if value.time() == _MIDNIGHT or role == "high":
        return day
    if role == "equal":
        raise ValueError("it has a time, and dates have none; pass its date: value.date()")
    return day + datetime.timedelta(days=1)


def _moment(kind: TypeEngine[Any], value: Any, _: Role) -> Any:
    if not isinstance(value, datetime.date):
        raise TypeError("the column holds times; pass a datetime.datetime")
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime.combine(value, _MIDNIGHT)
    is_aware = value.tzinfo is not None
    if is_aware and not getattr(kind, "timezone", False):
        raise TypeError("it has a time zone, and the column has none; pass value.astimezone(UTC).replace(tzinfo=None)")
    if getattr(kind, "timezone", False) and not is_aware:
        raise TypeError("it has no time zone, and the column has one; pass a datetime with tzinfo=UTC")
    return value


def _whole(_: TypeEngine[Any], value: Any, role: Role) -> Any:
    number = _number(value)
    if isinstance(number, int):
        whole = number
    elif math.isinf(number):
        return _unbounded(number, role)
    elif role == "equal" and number != int(number):
        raise ValueError("the column holds whole numbers")
    else:
        whole = math.ceil(number) if role == "low" else math.floor(number)
    if (role == "high" and whole >= _LARGEST) or (role == "low" and whole <= -_LARGEST - 1):
        return None
    # A driver would otherwise be told that it is of the type of the column, which may be too small for it.
    return whole if -(2**31) <= whole < 2**31 else sa.literal(whole, sa.BigInteger)


def _real(_: TypeEngine[Any], value: Any, role: Role) -> Any:
    number = float(_number(value))
    return _unbounded(number, role) if math.isinf(number) else number


def _decimal(_: TypeEngine[Any], value: Any, role: Role) -> Any:
    number = _number(value)
    if math.isinf(number):
        return _unbounded(number, role)
    return Decimal(repr(number)) if isinstance(number, float) else Decimal(number)


def _unbounded(number: Any, role: Role) -> Any:
    return None if role == ("high" if number > 0 else "low") else float(number)


def _number(value: Any) -> int | float | Decimal:
    if isinstance(value, numbers.Integral):
        return int(value)
    if not isinstance(value, numbers.Real | Decimal):
        raise TypeError("the column holds numbers; pass an int, a float or a Decimal")
    number = value if isinstance(value, Decimal) else float(value)
    if math.isnan(number):
        raise ValueError("it is not a number")
    return number


def _text(_: TypeEngine[Any], value: Any, __: Role) -> Any:
    if not isinstance(value, str):
        raise TypeError("the column holds text; pass a str")
    return str.__str__(value)  # of a member of a StrEnum, its value


_CONVERTERS: tuple[tuple[Any, Callable[[TypeEngine[Any], Any, Role], Any]], ...] = (
    (sa.Date, _day),
    (sa.DateTime, _moment),
    (sa.Integer, _whole),
    (sa.Float, _real),
    (sa.Numeric, _decimal),
    (sa.String, _text),
)
