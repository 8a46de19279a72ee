"""What each type of column takes, and how to tell at once whether a whole list of values fits.

A list is looked at by functions that loop in C; only where these find something are the values looked at one by one,
to name the bad ones.
"""

from __future__ import annotations

import datetime
import math
import uuid
from collections.abc import Callable, Collection
from decimal import Decimal, InvalidOperation
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.types import TypeDecorator, TypeEngine

from ozelot.value_lists import KnownValues, Values, bounds_of, kinds_of

Converter = Callable[[Any], Any]

_BITS = ((mysql.TINYINT, 8), (mysql.MEDIUMINT, 24), (sa.SmallInteger, 16), (sa.BigInteger, 64))
_MYSQL_BYTES = {mysql.TINYTEXT: 2**8 - 1, mysql.MEDIUMTEXT: 2**24 - 1, mysql.LONGTEXT: 2**32 - 1}


class InvalidValue(ValueError):
    """A value does not fit; its text is the reason."""


class ColumnType:
    """What a column takes: here, anything.

    Attributes:
        exact: the types of values that need no conversion; None: any.
    """

    exact: frozenset[type] | None = None

    def converter(self, kind: type) -> Converter | None:
        """What converts values of another type, or raises :class:`InvalidValue`; None: nothing does."""
        return None

    def all_fit(self, values: Values) -> bool:
        """Whether all of the values, which are of the right type and not NULL, surely fit."""
        return True

    def fault(self, value: Any) -> str | None:
        """What is wrong with a value of the right type, if anything."""
        return None


class IntegerType(ColumnType):
    """Whole numbers."""

    exact = frozenset({int})

    def __init__(self, low: int, high: int) -> None:
        self._low, self._high = low, high

    def converter(self, kind: type) -> Converter | None:
        if issubclass(kind, int):
            return int
        return _whole if issubclass(kind, float | Decimal) else None

    def all_fit(self, values: Values) -> bool:
        low, high = bounds_of(values)
        return bool(self._low <= low and high <= self._high)

    def fault(self, value: Any) -> str | None:
        return None if self._low <= value <= self._high else f"not in the range {self._low:,} to {self._high:,}"


def _whole(value: Any) -> int:
    whole = int(value) if math.isfinite(value) else None
    if whole is None or whole != value:
        raise InvalidValue("no whole number")
    return whole


class FloatType(ColumnType):
    """Floating point numbers."""

    exact = frozenset({float})

    def __init__(self, *, finite: bool) -> None:
        self._finite = finite

    def converter(self, kind: type) -> Converter | None:
        return _real if issubclass(kind, int | float | Decimal) else None

    def all_fit(self, values: Values) -> bool:
        return not self._finite or all(map(math.isfinite, bounds_of(values)))

    def fault(self, value: Any) -> str | None:
        return "a number that this database cannot store" if self._finite and not math.isfinite(value) else None


def _real(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        raise InvalidValue("too large") from None


class DecimalType(ColumnType):
    """Decimals.

    Args:
        precision: the number of digits; None: any.
        scale: how many of them come after the point.
    """

    exact = frozenset({Decimal})

    def __init__(self, precision: int | None, scale: int | None) -> None:
        self._scale = scale or 0
        self._bounded = precision is not None
        self._limit = Decimal(10) ** ((precision or 0) - self._scale)
        self._smallest = Decimal(1).scaleb(-self._scale)

    def converter(self, kind: type) -> Converter | None:
        if issubclass(kind, int):
            return Decimal
        return self._rounded if issubclass(kind, float) else None

    def _rounded(self, value: float) -> Decimal:
        # The shortest text that means this float; its further digits are not meant to be kept.
        found = Decimal(repr(float(value)))
        try:
            return found.quantize(self._smallest) if self._bounded and found.is_finite() else found
        except InvalidOperation:
            return found  # too large, as is found out next

    def all_fit(self, values: Values) -> bool:
        return False

    def fault(self, value: Any) -> str | None:
        if not value.is_finite():
            return "no finite number"
        if not self._bounded:
            return None
        if abs(value) >= self._limit:
            return f"not below {self._limit:f}"
        if value.as_tuple().exponent < -self._scale and value % self._smallest:
            return f"more than {self._scale} digits after the point"
        return None


class TextType(ColumnType):
    """Text.

    Args:
        length: in characters; None: any.
        size: in bytes; None: any.
        nul: whether the database stores the character NUL.
    """

    exact = frozenset({str})

    def __init__(self, length: int | None, size: int | None, *, nul: bool) -> None:
        self._length, self._size, self._nul = length, size, nul

    def converter(self, kind: type) -> Converter | None:
        return str.__str__ if issubclass(kind, str) else None

    def all_fit(self, values: Values) -> bool:
        known = values.longest if isinstance(values, KnownValues) else None
        longest = max(map(len, values)) if known is None else known
        if self._length is not None and longest > self._length:
            return False
        if self._size is not None and longest > self._size // 4:
            return False
        if known is not None:
            return True
        joined = "".join(values)
        if not self._nul and "\0" in joined:
            return False
        return joined.isascii() or _is_unicode(joined)

    def fault(self, value: Any) -> str | None:
        if self._length is not None and len(value) > self._length:
            return f"longer than {self._length:,} characters"
        if not self._nul and "\0" in value:
            return "the character NUL, which this database cannot store,"
        if not _is_unicode(value):
            return "half of a surrogate pair, which is no character,"
        if self._size is not None and len(value.encode()) > self._size:
            return f"longer than {self._size:,} bytes"
        return None


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


class EnumType(ColumnType):
    """The values of an ``Enum``, or their names; SQLAlchemy would let other text through."""

    def __init__(self, names: Collection[str], kind: type | None) -> None:
        self._names, self._kind = frozenset(names), kind

    def all_fit(self, values: Values) -> bool:
        return self._names.issuperset(values) if kinds_of(values) == {str} else False

    def fault(self, value: Any) -> str | None:
        if (type(value) is str and value in self._names) or (self._kind is not None and isinstance(value, self._kind)):
            return None
        return "none of the values of the Enum"


class BooleanType(ColumnType):
    """True and false."""

    exact = frozenset({bool})

    def converter(self, kind: type) -> Converter | None:
        return _flag if issubclass(kind, int | float) else None


def _flag(value: Any) -> bool:
    if value not in (0, 1):
        raise InvalidValue("neither true nor false")
    return bool(value)


class DateType(ColumnType):
    """Dates."""

    exact = frozenset({datetime.date})

    def converter(self, kind: type) -> Converter | None:
        return _day if issubclass(kind, datetime.datetime) else None


def _day(value: datetime.datetime) -> datetime.date:
    if value.time() != datetime.time() or value.tzinfo is not None:
        raise InvalidValue("a date with a time")
    return value.date()


class DateTimeType(ColumnType):
    """Dates with times.

    Args:
        aware: whether the column knows time zones.
        keeps_zone: whether the database does.
    """

    exact = frozenset({datetime.datetime})

    def __init__(self, *, aware: bool, keeps_zone: bool) -> None:
        self._aware, self._keeps_zone = aware, keeps_zone

    def converter(self, kind: type) -> Converter | None:
        if kind is datetime.date:
            return lambda value: datetime.datetime(value.year, value.month, value.day)
        return None

    def all_fit(self, values: Values) -> bool:
        zones = {value.tzinfo for value in values}
        return not zones or (zones == {None} and not (self._aware and self._keeps_zone))

    def fault(self, value: Any) -> str | None:
        if self._aware and self._keeps_zone:
            return "no time zone" if value.utcoffset() is None else None
        if value.tzinfo is None or (self._aware and value.utcoffset() == datetime.timedelta()):
            return None
        if self._aware:
            return "a time zone other than UTC, which this database does not keep,"
        return "a time zone, which the column does not keep,"


class InstanceType(ColumnType):
    """Values of certain Python types."""

    def __init__(self, *kinds: type, convert: dict[type, Converter] | None = None) -> None:
        self.exact = frozenset(kinds)
        self._convert = convert or {}

    def converter(self, kind: type) -> Converter | None:
        return next((found for base, found in self._convert.items() if issubclass(kind, base)), None)


def value_type_of(kind: TypeEngine[Any], dialect: sa.Dialect) -> ColumnType:
    """What a column of a type takes on a database."""
    found = kind.dialect_impl(dialect)
    name = dialect.name
    on_mysql = name in ("mysql", "mariadb")
    if isinstance(found, TypeDecorator) and not isinstance(found, sa.Interval):
        return ColumnType()
    if isinstance(found, sa.Enum):
        return EnumType(found.enums, found.enum_class)
    if isinstance(found, sa.String):
        length = None if isinstance(found, sa.Text) else found.length
        size = None
        if on_mysql and length is None:
            size = next((size for text, size in _MYSQL_BYTES.items() if isinstance(found, text)), 2**16 - 1)
        return TextType(length, size, nul=name != "postgresql")
    if isinstance(found, sa.Boolean):
        return BooleanType()
    if isinstance(found, sa.Integer):
        bits = 64 if name == "sqlite" else next((bits for base, bits in _BITS if isinstance(found, base)), 32)
        low, high = (0, 2**bits - 1) if getattr(found, "unsigned", False) else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        return IntegerType(low, high)
    if isinstance(found, sa.Float):
        return FloatType(finite=on_mysql)
    if isinstance(found, sa.Numeric):
        return DecimalType(found.precision, found.scale)
    if isinstance(found, sa.Date):
        return DateType()
    if isinstance(found, sa.DateTime):
        return DateTimeType(aware=found.timezone, keeps_zone=name not in ("sqlite", "mysql", "mariadb"))
    if isinstance(found, sa.Time):
        return InstanceType(datetime.time)
    if isinstance(found, sa.Interval | postgresql.INTERVAL):
        return InstanceType(datetime.timedelta)
    if isinstance(found, sa.LargeBinary):
        return InstanceType(bytes, convert={bytearray: bytes, memoryview: bytes})
    if isinstance(found, sa.Uuid):
        return InstanceType(uuid.UUID) if found.as_uuid else TextType(None, None, nul=True)
    return ColumnType()
