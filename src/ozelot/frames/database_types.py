"""The types that a database says the columns of a result have, and the Arrow types that hold their values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ozelot.frames.arrays import TIMESTAMP, WITH_ZONE, decimal_type

_POSTGRESQL: dict[int, pa.DataType] = {
    16: pa.bool_(),
    **dict.fromkeys((20, 21, 23, 26), pa.int64()),
    **dict.fromkeys((700, 701), pa.float64()),
    **dict.fromkeys((19, 25, 1042, 1043), pa.string()),
    17: pa.binary(),
    1082: pa.date32(),
    1083: pa.time64("us"),
    1114: TIMESTAMP,
    1184: WITH_ZONE,
    1186: pa.duration("us"),
}
#: COPY writes these as Arrow reads them.
_POSTGRESQL_TEXT = {16, 19, 20, 21, 23, 25, 26, 700, 701, 1042, 1043, 1082, 1114, 1184, 1700}
_NUMERIC = 1700
_JSON = {114, 3802}
_OF_SERVER = 16_384  # the types of a database have numbers from here on

_MARIADB: dict[int, pa.DataType] = {
    **dict.fromkeys((1, 2, 3, 8, 9, 13), pa.int64()),
    **dict.fromkeys((4, 5), pa.float64()),
    **dict.fromkeys((10, 14), pa.date32()),
    **dict.fromkeys((7, 12), TIMESTAMP),
}
_MARIADB_TEXT = {249, 250, 251, 252, 253, 254, 15, 247, 248}
_DECIMALS = {0, 246}
_YEAR = 13
_UNSIGNED, _BINARY = 32, 63  # a flag; the number of the character set that is none


@dataclass(frozen=True)
class DatabaseType:
    """The type of a column of a result.

    Attributes:
        name: of the column.
        code: the driver's number for the type.
        arrow: what holds its values as the driver returns them; None: that depends on the values.
        in_text: the server sends text that Arrow reads as the driver does.
        is_decimal: its values are decimals, of any scale if ``arrow`` is None.
        is_json: its values are JSON, which the driver has parsed.
    """

    name: str
    code: Any = None
    arrow: pa.DataType | None = None
    in_text: bool = False
    is_decimal: bool = False
    is_json: bool = False


def of_cursor(dialect: str, description: Iterable[Sequence[Any]]) -> list[DatabaseType]:
    """The types of a result, of a driver that follows PEP 249."""
    if dialect == "postgresql":
        return [of_postgresql(entry[0], entry[1], entry[4], entry[5]) for entry in description]
    if dialect in ("mysql", "mariadb"):
        # Neither the sign nor the character set is told here, so that values decide on text and integers.
        return [DatabaseType(entry[0], entry[1], _mariadb_except_text(entry[1])) for entry in description]
    return [DatabaseType(entry[0], entry[1]) for entry in description]


def of_postgresql(name: str, code: int, precision: int | None, scale: int | None) -> DatabaseType:
    """The type of a column, by its number and, for ``numeric(p, s)``, the two."""
    arrow = _POSTGRESQL.get(code)
    if code == _NUMERIC and precision is not None and scale is not None and 0 <= scale <= precision:
        arrow = decimal_type(precision - scale, scale)
    in_text = code in _POSTGRESQL_TEXT
    return DatabaseType(name, code, arrow, in_text, is_decimal=code == _NUMERIC, is_json=code in _JSON)


def is_defined_here(kind: DatabaseType) -> bool:
    """Whether PostgreSQL's type comes from an extension or ``CREATE TYPE``, such as an enum."""
    return isinstance(kind.code, int) and kind.code >= _OF_SERVER


def of_pymysql(fields: Iterable[Any]) -> list[DatabaseType]:
    """The types of a result, by the packets that describe its columns."""
    return [_of_field(field) for field in fields]


def _of_field(field: Any) -> DatabaseType:
    code, unsigned = field.type_code, bool(field.flags & _UNSIGNED)
    if code in _DECIMALS:
        precision = field.length - bool(field.scale) - (not unsigned)
        arrow = decimal_type(max(precision, field.scale) - field.scale, field.scale)
        return DatabaseType(field.name, code, arrow, arrow is not None, is_decimal=True)
    if code in _MARIADB_TEXT:
        return DatabaseType(field.name, code, pa.binary() if field.charsetnr == _BINARY else pa.string(), in_text=True)
    arrow = _MARIADB.get(code)
    if arrow == pa.int64() and unsigned and code != _YEAR:
        arrow = pa.uint64()
    return DatabaseType(field.name, code, arrow, arrow is not None)


def _mariadb_except_text(code: Any) -> pa.DataType | None:
    arrow = _MARIADB.get(code)
    return None if arrow == pa.int64() else arrow
