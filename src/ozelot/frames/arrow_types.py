"""The columns of a result: which Arrow type each has.

Values are those of a session: what the driver returns, processed by the type that SQLAlchemy has for the column. The
Arrow type is that of these values: the one that the database returns, or the one of a table's column. Only where
neither tells, the values do; what SQLAlchemy declares for an expression is a guess, for a column of nothing but NULL.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy.engine import Dialect, processors
from sqlalchemy.types import TypeDecorator, TypeEngine

from ozelot.frames.arrow_arrays import (
    OBJECT,
    TIMESTAMP,
    WITH_ZONE,
    Column,
    Convert,
    Objects,
    Quick,
    Value,
    decimal_type,
    zoned_type,
)

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


_ARROW: list[tuple[type[TypeEngine[Any]], pa.DataType]] = [
    (sa.Boolean, pa.bool_()),
    (sa.Uuid, pa.string()),
    (sa.JSON, pa.string()),
    (sa.String, pa.string()),
    (sa.LargeBinary, pa.binary()),
    (sa.BINARY, pa.binary()),
    (sa.VARBINARY, pa.binary()),
    (sa.Date, pa.date32()),
    (sa.Time, pa.time64("us")),
    (sa.Interval, pa.duration("us")),
]


def columns_of(context: Any, result: Sequence[DatabaseType], objects: Objects | None, backend: str) -> list[Column]:
    """The columns of a result.

    Args:
        context: SQLAlchemy's execution context.
        result: what the database says of the columns.
        objects: keeps Python values; None: the frame cannot hold them.
        backend: of the frame.
    """
    matched = _matched(context, result)
    names = _unique(name for name, _, _ in matched)
    frame = _Frame(context.dialect, objects, backend)
    return [
        frame.column(name, kind, found, is_of_table=is_of_table)
        for name, (_, kind, is_of_table), found in zip(names, matched, result, strict=True)
    ]


def _matched(context: Any, result: Sequence[DatabaseType]) -> list[tuple[str, TypeEngine[Any] | None, bool]]:
    """Name and declared type of each column, and whether it is a table's column; in the way of a session's result."""
    if context.compiled is None:
        return [(column.name, None, False) for column in result]
    entries, ordered, textual_ordered, ad_hoc, _loose = context.result_column_struct
    if entries and len(entries) == len(result) and (ordered or textual_ordered or ad_hoc):
        mixes = isinstance(context.compiled.statement, sa.CompoundSelect)
        in_text = textual_ordered or ad_hoc
        return [
            (
                column.name if in_text else entry.keyname,
                entry.type,
                not mixes and not in_text and any(map(_is_of_table, entry.objects)),
            )
            for entry, column in zip(entries, result, strict=True)
        ]
    kinds = {entry.keyname: entry.type for entry in entries or ()}
    return [(column.name, kinds.get(column.name), False) for column in result]


def _is_of_table(thing: Any) -> bool:
    if isinstance(thing, sa.Label):
        thing = thing.element
    table = getattr(thing, "table", None) if isinstance(thing, sa.Column) else None
    while isinstance(table, sa.Alias):
        table = table.element
    return isinstance(table, sa.Table)


def _unique(names: Iterable[str]) -> list[str]:
    """The names, with a number after those that were there already, as polars wants it."""
    found: dict[str, None] = {}
    for name in names:
        other, number = name, 0
        while other in found:
            number += 1
            other = f"{name}_{number}"
        found[other] = None
    return list(found)


class _Frame:
    """What the columns of a frame have in common."""

    def __init__(self, dialect: Dialect, objects: Objects | None, backend: str) -> None:
        self._dialect = dialect
        self._objects = objects
        self._whole = objects if backend == "pandas" else None  # which has a column type for Python objects

    def column(self, name: str, declared: TypeEngine[Any] | None, found: DatabaseType, *, is_of_table: bool) -> Column:
        """A column, by what SQLAlchemy declares and what the database returns."""
        if declared is None or isinstance(declared, sa.types.NullType):
            return self._unprocessed(name, None, found, is_of_table=is_of_table)
        # The one that a session's result calls.
        process: Convert | None = declared._cached_result_processor(self._dialect, found.code)
        kind, own = _without_decorator(declared, self._dialect)
        if getattr(process, "gives_utc", False):
            return self._in_utc(name, found, process)
        if own or (process is not None and not _is_of_sqlalchemy(process)):
            guess = _guess(kind, self._dialect, process)
            return self._by_value(name, guess, process, firm=not own and is_of_table, own=True)
        if isinstance(kind, sa.Enum):
            return self._enum(name, kind, found, process)
        if isinstance(kind, sa.JSON):
            return self._json(name, process)
        if isinstance(kind, sa.Uuid):
            whole = self._whole if kind.as_uuid else None
            if whole is not None:
                return self._object(name, process)
            return Column(name, pa.string(), process=process, written=str)
        if process is None:
            return self._unprocessed(name, kind, found, is_of_table=is_of_table)
        return self._processed(name, kind, found, process, is_of_table=is_of_table)

    def _by_value(
        self,
        name: str,
        guess: pa.DataType | None,
        process: Convert | None,
        *,
        firm: bool,
        own: bool = False,
        quick: Quick | None = None,
    ) -> Column:
        """A column whose values decide on its type; with ``firm``, only if there is no guess, or none that is exact."""
        driver_only = self._dialect.name == "sqlite" and process is None  # which returns what Arrow has types for
        return Column(
            name,
            guess,
            firm=firm and guess is not None and not _is_decimal(guess) and self._dialect.name == "sqlite",
            varies=_is_decimal(guess),
            own=own,
            quick=quick,
            process=process,
            objects=self._objects,
            keeps_objects=self._whole is not None and not driver_only,
        )

    def _unprocessed(
        self, name: str, kind: TypeEngine[Any] | None, found: DatabaseType, *, is_of_table: bool
    ) -> Column:
        """A column whose values are those of the driver."""
        if found.is_json:
            return self._json(name, None)
        if found.arrow is not None:
            return Column(name, found.arrow, firm=True, in_text=found.in_text, objects=self._objects)
        guess = None if kind is None else _guess(kind, self._dialect, None)
        if found.is_decimal:
            guess = guess if _is_decimal(guess) else None
            return Column(name, guess, in_text=found.in_text, varies=True, objects=self._objects)
        if is_defined_here(found):
            guess = pa.string()
        return self._by_value(name, guess, None, firm=is_of_table)

    def _processed(
        self, name: str, kind: TypeEngine[Any], found: DatabaseType, process: Convert, *, is_of_table: bool
    ) -> Column:
        """A column whose values a type of SQLAlchemy processes."""
        if process is processors.to_float:
            is_number = found.is_decimal or found.arrow in (pa.int64(), pa.uint64(), pa.float64())
            in_text = found.in_text and is_number
            return Column(name, pa.float64(), firm=True, in_text=in_text, quick=_floats, process=process)
        if process is processors.int_to_boolean:
            in_text = found.in_text and found.arrow == pa.int64()
            return Column(name, pa.bool_(), firm=True, in_text=in_text, quick=_from_numbers, process=process)
        if isinstance(kind, sa.LargeBinary) and found.arrow == pa.binary():
            return Column(name, pa.binary(), firm=True, in_text=found.in_text, process=process)
        quick = None
        if process is processors.str_to_datetime:
            quick = _from_text(TIMESTAMP)
        elif process is processors.str_to_date:
            quick = _from_text(pa.date32())
        return self._by_value(name, _guess(kind, self._dialect, process), process, firm=is_of_table, quick=quick)

    def _enum(self, name: str, kind: sa.Enum, found: DatabaseType, process: Convert | None) -> Column:
        in_text = (found.in_text and found.arrow == pa.string()) or is_defined_here(found)
        if kind.enum_class is None or in_text or self._whole is None:
            to_object = process if kind.enum_class is not None and self._whole is not None else None
            return Column(
                name,
                pa.string(),
                firm=True,
                in_text=in_text,
                process=_accepted(process),
                check=process,
                to_object=to_object,
            )
        return self._object(name, process)

    def _json(self, name: str, process: Convert | None) -> Column:
        if self._whole is not None:
            return self._object(name, process)
        return Column(name, pa.string(), process=process, written=_as_json)

    def _object(self, name: str, process: Convert | None) -> Column:
        return Column(name, OBJECT, process=process, objects=self._whole, only_objects=True)

    def _in_utc(self, name: str, found: DatabaseType, process: Convert | None) -> Column:
        """Times that a type returns as aware values in UTC, and that a database without zones keeps as such."""
        expected = WITH_ZONE if self._dialect.name == "postgresql" else TIMESTAMP
        quick = _from_text(TIMESTAMP, WITH_ZONE) if self._dialect.name == "sqlite" else None
        in_text = found.in_text and found.arrow == expected
        return Column(name, WITH_ZONE, firm=True, in_text=in_text, quick=quick, process=process)


def _accepted(process: Convert | None) -> Convert | None:
    """Text of the database, if a session accepts it."""
    if process is None:
        return None

    def checked(value: Value) -> Value:
        process(value)
        return value

    return checked


def _without_decorator(declared: TypeEngine[Any], dialect: Dialect) -> tuple[TypeEngine[Any], bool]:
    """The type below decorators, and whether one of these returns values of its own."""
    kind: TypeEngine[Any] = declared.dialect_impl(dialect)
    own = False
    while isinstance(kind, TypeDecorator) and not isinstance(kind, sa.Interval):
        own = own or any(
            getattr(type(kind), method) is not getattr(TypeDecorator, method)
            for method in ("process_result_value", "result_processor")
        )
        kind = kind.impl_instance
    return kind, own


def _is_of_sqlalchemy(process: Any) -> bool:
    module = getattr(process, "__module__", None) or type(process).__module__
    return bool(module.startswith("sqlalchemy."))


def _is_decimal(arrow: pa.DataType | None) -> bool:
    return arrow is not None and pa.types.is_decimal(arrow)


def _guess(kind: TypeEngine[Any], dialect: Dialect, process: Convert | None) -> pa.DataType | None:
    """The Arrow type of the values that a type of SQLAlchemy declares; None: it declares none."""
    if isinstance(kind, sa.Integer):
        return pa.uint64() if getattr(kind, "unsigned", False) else pa.int64()
    if isinstance(kind, (sa.Numeric, sa.Float)):
        if not kind.asdecimal:
            return pa.float64()
        if kind.scale is None or isinstance(kind, sa.Float):
            return pa.decimal128(38, 10)
        # Not the precision of the column: a sum has the type of what it sums.
        return pa.decimal128(38, kind.scale) if (kind.precision or 0) <= 38 else pa.decimal256(76, kind.scale)
    if isinstance(kind, sa.DateTime):
        return _guess_of_time(kind, dialect, process)
    return next((arrow for parent, arrow in _ARROW if isinstance(kind, parent)), None)


def _guess_of_time(kind: sa.DateTime, dialect: Dialect, process: Convert | None) -> pa.DataType | None:
    """Whether times have a zone: if the type processes them, what it makes of one."""
    zone = dt.UTC if dialect.name == "postgresql" and kind.timezone else None
    if process is not None:
        sample: Value = dt.datetime(2000, 1, 1, tzinfo=zone)
        with suppress(Exception):
            sample = process("2000-01-01 00:00:00.000000" if dialect.name == "sqlite" else sample)
            zone = sample.tzinfo
    return zoned_type(zone)


def _floats(values: Sequence[Value]) -> pa.Array:
    array = pa.array(values)
    if array.type != pa.float64():
        raise TypeError("not all are floats")
    return array


def _from_numbers(values: Sequence[Value]) -> pa.Array:
    array = pa.array(values)
    if array.type == pa.bool_():
        return array
    if array.type != pa.int64():
        raise TypeError("not all are integers")
    return pc.not_equal(array, 0)


def _from_text(*kinds: pa.DataType) -> Quick:
    def read(values: Sequence[Value]) -> pa.Array:
        array = pa.array(values)
        if array.type != pa.string():
            raise TypeError("not all are text")
        for kind in kinds:
            array = array.cast(kind)
        return array

    return read


def _as_json(value: Value) -> str:
    return json.dumps(value, ensure_ascii=False)
