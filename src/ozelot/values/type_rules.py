"""What each type of column takes, and how to tell at once whether a whole list of values fits.

A list is looked at by functions that loop in C; only where these find something are the values looked at one by one,
to name the bad ones.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.types import TypeDecorator, TypeEngine

from ozelot.values.column_rule import (
    CONVERSIONS,
    EXPECTED,
    NUL,
    SURROGATE,
    ColumnType,
    Converter,
    InvalidValue,
    KnownValues,
    OwnType,
    Reason,
    Values,
    kinds_of,
    too_long,
)
from ozelot.values.numbers import DecimalType, FloatType, IntegerType
from ozelot.values.times import DateTimeType, DateType, IntervalType, TimeType

__all__ = ["ColumnType", "Converter", "InvalidValue", "value_type_of"]

_BITS = ((mysql.TINYINT, 8), (mysql.MEDIUMINT, 24), (sa.SmallInteger, 16), (sa.BigInteger, 64))
_NAMES = 30  # of an Enum that are listed
_MYSQL_BYTES = {mysql.TINYTEXT: 2**8 - 1, mysql.MEDIUMTEXT: 2**24 - 1, mysql.LONGTEXT: 2**32 - 1}
#: Significant digits that a float of 8 bytes keeps, whatever they are; SQLite stores a ``Numeric`` as one.
_DIGITS_OF_FLOAT = 15
_LARGEST_OF_MARIADB = (65, 30)  # digits, and digits after the point, of a DECIMAL
_SINGLE = re.compile(r"FLOAT(?!8)|REAL")  # in the SQL of a type
_MOST_BITS_OF_SINGLE = 24


class TextType(ColumnType):
    """Text.

    Args:
        length: in characters; None: any.
        size: in bytes; None: any.
        nul: whether the database stores the character NUL.
        padded: whether the database pads text with spaces, so that those at the end of a value are lost.
    """

    exact = frozenset({str})
    expects = "a string"
    conversions = ((bytes, "value.decode()", bytes.decode), (object, "str(value)", str))

    def __init__(self, length: int | None, size: int | None, *, nul: bool, padded: bool = False) -> None:
        self.length, self._size, self._nul, self.padded = length, size, nul, padded

    def converter(self, kind: type) -> Converter | None:
        return str.__str__ if issubclass(kind, str) else None

    def all_fit(self, values: Values) -> bool:
        if self.padded:
            return False
        known = values.longest if isinstance(values, KnownValues) else None
        longest = max(map(len, values)) if known is None else known
        if self.length is not None and longest > self.length:
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
        if self.length is not None and len(value) > self.length:
            return too_long(len(value), self.length, "characters")
        if self.padded and value.endswith(" "):
            return Reason(
                "it ends with spaces, which the column does not keep",
                remedy="Remove them: value.rstrip(' '), or make the column a String",
            )
        if not self._nul and "\0" in value:
            return NUL
        if not _is_unicode(value):
            return SURROGATE
        if self._size is not None and len(value.encode()) > self._size:
            return too_long(len(value.encode()), self._size, "bytes")
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
        listed = ", ".join(list(names)[:_NAMES])
        more = f" and {len(names) - _NAMES:,} more" if len(names) > _NAMES else ""
        self.expects = f"one of {listed}{more}" if kind is None else f"a member of {kind.__name__} ({listed}{more})"

    def all_fit(self, values: Values) -> bool:
        return self._names.issuperset(values) if kinds_of(values) == {str} else False

    def fault(self, value: Any) -> str | None:
        if (type(value) is str and value in self._names) or (self._kind is not None and isinstance(value, self._kind)):
            return None
        return Reason("not one of them", expects=self.expects)


class BooleanType(ColumnType):
    """True and false."""

    exact = frozenset({bool})
    expects = "a boolean"

    def converter(self, kind: type) -> Converter | None:
        return _flag if issubclass(kind, int | float) else None


def _flag(value: Any) -> bool:
    if value not in (0, 1):
        raise InvalidValue("neither 0 nor 1")
    return bool(value)


class UuidTextType(ColumnType):
    """UUIDs as text, which come back in lower case and with hyphens."""

    exact = frozenset({str})
    expects = "a UUID as a string"
    conversions = ((uuid.UUID, "str(value)", str),)

    def converter(self, kind: type) -> Converter | None:
        return str.__str__ if issubclass(kind, str) else None

    def all_fit(self, values: Values) -> bool:
        return False

    def fault(self, value: Any) -> str | None:
        return None if _UUID.fullmatch(value) else Reason("not a UUID", remedy="Correct it")


_UUID = re.compile(r"[0-9a-fA-F]{8}(-?)([0-9a-fA-F]{4}\1){3}[0-9a-fA-F]{12}")


class InstanceType(ColumnType):
    """Values of certain Python types."""

    def __init__(self, *kinds: type, convert: dict[type, Converter] | None = None) -> None:
        self.exact = frozenset(kinds)
        self.expects = EXPECTED.get(kinds[0], kinds[0].__name__)
        self.conversions = CONVERSIONS.get(kinds[0], ())
        self._convert = convert or {}

    def converter(self, kind: type) -> Converter | None:
        return next((found for base, found in self._convert.items() if issubclass(kind, base)), None)


class PaddedBytesType(InstanceType):
    """Bytes that the database pads with NUL.

    Args:
        length: to which it pads them.
    """

    def __init__(self, length: int) -> None:
        super().__init__(bytes, convert={bytearray: bytes, memoryview: bytes})
        self._length = length

    def all_fit(self, values: Values) -> bool:
        return False

    def fault(self, value: Any) -> str | None:
        if len(value) == self._length:
            return None
        return Reason(
            "another length, which the database pads or refuses",
            expects=f"exactly {self._length:,} bytes",
            detail=f"{len(value):,} bytes",
            remedy="Make the column a LargeBinary, or the value so long",
        )


def value_type_of(kind: TypeEngine[Any], dialect: sa.Dialect) -> ColumnType:
    """What a column of a type takes on a database."""
    found = kind.dialect_impl(dialect)
    name = dialect.name
    on_mysql = name in ("mysql", "mariadb")
    if isinstance(found, TypeDecorator) and not isinstance(found, sa.Interval):
        return OwnType()
    if isinstance(found, sa.Enum):
        return EnumType(found.enums, found.enum_class)
    if isinstance(found, sa.String):
        length = None if isinstance(found, sa.Text) else found.length
        size = None
        if on_mysql and length is None:
            size = next((size for text, size in _MYSQL_BYTES.items() if isinstance(found, text)), 2**16 - 1)
        padded = isinstance(_declared(kind, name), sa.CHAR) and name != "sqlite"
        return TextType(length, size, nul=name != "postgresql", padded=padded)
    if isinstance(found, sa.Boolean):
        return BooleanType()
    if isinstance(found, sa.Integer):
        bits = 64 if name == "sqlite" else next((bits for base, bits in _BITS if isinstance(found, base)), 32)
        low, high = (0, 2**bits - 1) if getattr(found, "unsigned", False) else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        return IntegerType(low, high)
    if isinstance(found, sa.Float):
        single = "short" if on_mysql and _is_single(kind, dialect) else name != "sqlite" and _is_single(kind, dialect)
        return FloatType(finite=on_mysql, nan=name != "sqlite", single=single)
    if isinstance(found, sa.Numeric):
        return _decimal_type(found, name, on_mysql=on_mysql)
    if isinstance(found, sa.Date):
        return DateType()
    if isinstance(found, sa.DateTime):
        return DateTimeType(aware=found.timezone, digits=_digits_of_seconds(kind, found, name))
    if isinstance(found, sa.Time):
        return TimeType(aware=found.timezone and name == "postgresql", digits=_digits_of_seconds(kind, found, name))
    if isinstance(found, sa.Interval | postgresql.INTERVAL):
        native = name == "postgresql" and getattr(found, "native", True)
        return IntervalType(by_moment=not native, digits=_digits_of_seconds(kind, found, name) if native else None)
    if isinstance(found, sa.BINARY) and on_mysql:
        return PaddedBytesType(found.length or 1)
    if isinstance(found, sa.LargeBinary | sa.BINARY | sa.VARBINARY):
        return InstanceType(bytes, convert={bytearray: bytes, memoryview: bytes})
    if isinstance(found, sa.Uuid):
        return InstanceType(uuid.UUID) if found.as_uuid else UuidTextType()
    return ColumnType()


def _decimal_type(found: Any, name: str, *, on_mysql: bool) -> DecimalType:
    digits = _DIGITS_OF_FLOAT if name == "sqlite" or not found.asdecimal else None
    if found.precision is not None:
        return DecimalType(found.precision, found.scale or 0, digits)
    if on_mysql:
        return DecimalType(*_LARGEST_OF_MARIADB, digits, rounds=False)
    return DecimalType(None, found.scale if name == "sqlite" else None, digits)


def _is_single(kind: TypeEngine[Any], dialect: sa.Dialect) -> bool:
    """Whether a column of this type has floats of 4 bytes, by its SQL."""
    text = kind.compile(dialect=dialect)
    if not _SINGLE.match(text):
        return False
    bits = re.search(r"\((\d+)\)", text)
    if text.startswith("REAL"):
        return dialect.name == "postgresql"
    return int(bits[1]) <= _MOST_BITS_OF_SINGLE if bits else dialect.name != "postgresql"


def _declared(kind: TypeEngine[Any], name: str) -> TypeEngine[Any]:
    """The type that the model names for a database."""
    return kind._variant_mapping.get(name, kind)


def _digits_of_seconds(kind: TypeEngine[Any], found: Any, name: str) -> int | None:
    """The digits of seconds that a type names, as PostgreSQL, MariaDB and SQLAlchemy's own text for SQLite do."""
    form = getattr(found, "_storage_format", None)
    if form is not None:
        return None if "%(microsecond)" in form else 0
    declared = _declared(kind, name)
    digits = (getattr(declared, attribute, None) for attribute in ("precision", "fsp", "second_precision"))
    return next((number for number in digits if number is not None), None)
