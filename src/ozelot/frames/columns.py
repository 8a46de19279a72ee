"""The columns of a result: which Arrow type each has, and how what the driver gives becomes an Arrow array.

The type comes from the SELECT, not from the values: so an empty result, and a column of nothing but NULL, have the
types that a full one has. Only where the SELECT does not tell (SQL as text, ``func.avg``), the values do.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from ozelot.errors import FrameError

Value = Any
Convert = Callable[[Value], Value]

#: What Arrow raises for a value that it cannot hold.
MISFIT = (pa.ArrowException, TypeError, ValueError, OverflowError)

_TIMESTAMP = pa.timestamp("us")  # as exact as Python's datetime
_WITH_ZONE = pa.timestamp("us", tz="UTC")
_SCALE = 10  # of decimals whose type names none: what SQLAlchemy gives on SQLite
_DECIMAL = pa.decimal128(38, _SCALE)
_CODE_WITH_ZONE = 1184  # PostgreSQL's timestamptz

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


@dataclass(frozen=True)
class Column:
    """One column of a result.

    Attributes:
        name: as SQLAlchemy names it.
        arrow: its type; None where the values tell.
        in_text: Arrow reads it from the text that a server sends.
        widens: a decimal that gets as many places as its values need.
        quick: from values of the driver to an array without a look at each; raises where one of them needs it.
        process: from a value of the driver to that of the ORM; None: they are the same.
        written: from a value of the ORM to what Arrow can hold, where it has no such type; None: it has.
        to_object: back from there to the value of the ORM.
    """

    name: str
    arrow: pa.DataType | None
    in_text: bool = False
    widens: bool = False
    quick: Callable[[Sequence[Value]], pa.Array] | None = None
    process: Convert | None = None
    written: Convert | None = None
    to_object: Convert | None = None

    def array(self, values: Sequence[Value]) -> pa.Array:
        """Values of the driver as an array.

        Raises:
            FrameError: one does not fit the type of the column.
        """
        if self.quick is not None:
            try:
                return self.quick(values)
            except MISFIT:
                pass  # below, each is looked at
        if self.process is not None:
            values = [self.process(value) for value in values]
        if self.written is not None:
            values = [None if value is None else self.written(value) for value in values]
        try:
            arrow = _decimal_of(values, self.arrow) if self.widens or self.arrow is None else self.arrow
            return pa.array(values, arrow)
        except MISFIT as exc:
            raise self.misfit(exc) from exc

    def misfit(self, exc: Exception) -> FrameError:
        """The error for a value that does not fit."""
        kind = "one type" if self.arrow is None else str(self.arrow)
        return FrameError(
            f"Column '{self.name}' holds a value that does not fit {kind} ({str(exc).splitlines()[0]}): name another "
            "type in the query, as in sqlalchemy.cast(column, type) or text(...).columns(name=type)"
        )


def columns_of(context: Any, codes: Sequence[Any] | None = None) -> list[Column] | None:
    """The columns of a statement, as far as the statement tells.

    Args:
        context: SQLAlchemy's execution context.
        codes: the driver's code of each column's type; without, the columns are only good for reading text.

    Returns:
        None where the statement tells nothing, being text.
    """
    entries = [] if context.compiled is None else context.compiled._result_columns
    if not entries or (codes is not None and len(codes) != len(entries)):
        return None
    names = _unique(entry.keyname for entry in entries)
    if codes is None:
        return [_in_text(name, entry.type, context.dialect) for name, entry in zip(names, entries, strict=True)]
    return [
        _by_value(name, entry.type, context.dialect, code)
        for name, entry, code in zip(names, entries, codes, strict=True)
    ]


def untyped(names: Iterable[str]) -> list[Column]:
    """Columns whose types only their values tell."""
    return [Column(name, None) for name in _unique(names)]


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


def _in_text(name: str, kind: TypeEngine[Any], dialect: Dialect) -> Column:
    """A column for reading text, if its text is plain: as Arrow would write it, too."""
    arrow = _arrow(kind, dialect)
    if isinstance(kind, sa.Enum):
        plain = True
    elif isinstance(kind, sa.LargeBinary):
        plain = dialect.name != "postgresql"  # which sends it in hexadecimal
    elif isinstance(kind, sa.String):
        plain = kind.dialect_impl(dialect).result_processor(dialect, None) is None
    else:
        plain = isinstance(kind, (sa.Integer, sa.Numeric, sa.Float, sa.Boolean, sa.Date, sa.DateTime))
    return Column(
        name, arrow, in_text=plain and arrow is not None and not _is_own(kind), to_object=_member(kind, dialect)
    )


def _by_value(name: str, kind: TypeEngine[Any], dialect: Dialect, code: Any) -> Column:
    """A column for values of the driver."""
    arrow, process = _arrow(kind, dialect), kind.dialect_impl(dialect).result_processor(dialect, code)
    if _is_own(kind):
        return Column(name, arrow, process=process)
    if isinstance(kind, sa.Enum) and kind.enum_class is not None:
        return Column(name, arrow, to_object=process)
    if isinstance(kind, sa.JSON):
        return Column(name, arrow, process=process, written=_as_json, to_object=json.loads)
    if isinstance(kind, sa.Uuid):
        return Column(name, arrow, process=process, written=str, to_object=uuid.UUID if kind.as_uuid else None)
    if isinstance(kind, (sa.Numeric, sa.Float)) and kind.asdecimal and arrow is None:
        return Column(name, _DECIMAL, widens=True, process=process)
    if arrow == _TIMESTAMP and code == _CODE_WITH_ZONE and dialect.name == "postgresql":
        arrow = _WITH_ZONE  # func.now(), whose type does not tell
    quick: Callable[[Sequence[Value]], pa.Array] | None = None
    if isinstance(kind, sa.Boolean) and process is not None:
        quick = _from_numbers
    elif dialect.name == "sqlite" and type(kind) in (sa.Date, sa.DATE, sa.DateTime, sa.DATETIME, sa.TIMESTAMP):
        quick = _from_text(arrow)
    return Column(name, arrow, quick=quick, process=process)


def _is_own(kind: TypeEngine[Any]) -> bool:
    """Whether somebody wrote the type, who may make anything of the values."""
    return not type(kind).__module__.startswith("sqlalchemy.") or (
        isinstance(kind, TypeDecorator) and not isinstance(kind, sa.Interval)
    )


def _member(kind: TypeEngine[Any], dialect: Dialect) -> Convert | None:
    if isinstance(kind, sa.Enum) and kind.enum_class is not None:
        return kind.dialect_impl(dialect).result_processor(dialect, None)
    return None


def _arrow(kind: TypeEngine[Any], dialect: Dialect) -> pa.DataType | None:
    """The Arrow type of an SQLAlchemy type; None where only values tell."""
    while isinstance(kind, TypeDecorator) and not isinstance(kind, sa.Interval):
        kind = kind.impl_instance
    if isinstance(kind, sa.Integer):
        return pa.uint64() if getattr(kind, "unsigned", False) else pa.int64()
    if isinstance(kind, (sa.Numeric, sa.Float)):
        if not kind.asdecimal:
            return pa.float64()
        if kind.scale is None or isinstance(kind, sa.Float):
            return None
        # Not the precision of the column: a sum has the type of what it sums.
        return pa.decimal128(38, kind.scale) if (kind.precision or 0) <= 38 else pa.decimal256(76, kind.scale)
    if isinstance(kind, sa.DateTime):
        return _WITH_ZONE if kind.timezone else _TIMESTAMP
    return next((arrow for parent, arrow in _ARROW if isinstance(kind, parent)), None)


def _decimal_of(values: Iterable[Value], least: pa.DataType | None) -> pa.DataType | None:
    """The type for decimals that holds all of these; ``least`` where there are none."""
    places = whole = -1
    for value in values:
        if isinstance(value, Decimal) and value.is_finite():
            places = max(places, -int(value.as_tuple().exponent))
            whole = max(whole, value.adjusted() + 1)
    if places < 0 and whole < 0:
        return least
    scale = max(_SCALE, places)
    return pa.decimal128(38, scale) if whole + scale <= 38 else pa.decimal256(76, scale)


def _from_numbers(values: Sequence[Value]) -> pa.Array:
    return pc.not_equal(pa.array(values, pa.int64()), 0)


def _from_text(arrow: pa.DataType) -> Callable[[Sequence[Value]], pa.Array]:
    return lambda values: in_type(pa.array(values, pa.string()), arrow)


def in_type(texts: pa.Array, arrow: pa.DataType) -> pa.Array:
    """Texts as values of a type; times that say no zone are in UTC where the type has one."""
    if arrow == _WITH_ZONE:
        return pc.assume_timezone(texts.cast(_TIMESTAMP), "UTC")
    return texts.cast(arrow)


def _as_json(value: Value) -> str:
    return json.dumps(value, ensure_ascii=False)
