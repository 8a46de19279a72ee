"""Python values as Arrow arrays, without a change to any of them.

Left to itself, Arrow makes 7 of 7.5 where the type is an integer, text of bytes, and a date of a time. Here an array
equals the values that it is made of, or there is an error.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from ozelot.errors import FrameError

Value = Any

#: What Arrow raises for a value that it cannot hold.
MISFIT = (pa.ArrowException, TypeError, ValueError, OverflowError)

TIMESTAMP = pa.timestamp("us")  # as exact as Python's datetime
WITH_ZONE = pa.timestamp("us", tz="UTC")
#: Stands for Python objects in :class:`Objects`. No other column has this type.
OBJECT = pa.uint32()

_MIN_SCALE = 10  # of decimals whose type has no scale: that of SQLAlchemy on SQLite
_MAX_DIGITS = 76
_INFERRED = (pa.int64(), pa.float64(), pa.string())  # types that Arrow infers only from values that it can hold
_NUMBERS = {pa.int64(), pa.uint64(), pa.float64()}
_BYTES = (bytes, bytearray, memoryview)
_KINDS: dict[type, pa.DataType] = {
    bool: pa.bool_(),
    str: pa.string(),
    float: pa.float64(),
    dt.date: pa.date32(),
    dt.timedelta: pa.duration("us"),
    **dict.fromkeys(_BYTES, pa.binary()),
}
_PLAIN = {*_KINDS, int, Decimal, dt.datetime, dt.time}
_CONTAINERS = (list, tuple, dict, set, frozenset)


class MixedTypes(ValueError):
    """No Arrow type holds all the values."""


class Objects:
    """Python objects of a frame, each until the frame is built. Arrow arrays hold their numbers."""

    def __init__(self) -> None:
        self._objects: dict[int, Value] = {}
        self._numbers = count()

    def hold(self, values: Sequence[Value]) -> pa.Array:
        """Keep the values; None stays NULL."""
        numbers = [None if value is None else next(self._numbers) for value in values]
        self._objects.update(
            (number, value) for number, value in zip(numbers, values, strict=True) if number is not None
        )
        return pa.array(numbers, OBJECT)

    def take(self, numbers: pa.ChunkedArray) -> list[Value]:
        """The objects with these numbers, which are not kept any longer."""
        return [None if number is None else self._objects.pop(number) for number in numbers.to_pylist()]


def typed(values: Sequence[Value], arrow: pa.DataType) -> pa.Array | None:
    """The values as an array of a type; None if it cannot hold them exactly."""
    try:
        if arrow in _INFERRED:
            array = pa.array(values)
            if array.type == arrow:
                return array
            if pa.types.is_null(array.type) or (arrow == pa.float64() and array.type == pa.int64()):
                return array.cast(arrow)
            return None
        return pa.array(values, arrow) if _holds(arrow, values) else None
    except MISFIT:
        return None


def _holds(arrow: pa.DataType, values: Sequence[Value]) -> bool:
    kinds = _kinds(values)
    if pa.types.is_decimal(arrow):
        return kinds <= {Decimal, int}
    if pa.types.is_integer(arrow):
        return kinds <= {int}
    if pa.types.is_timestamp(arrow):
        return kinds <= {dt.datetime} and all(
            value is None or (value.tzinfo is None if arrow.tz is None else _is_instant(value)) for value in values
        )
    if pa.types.is_time(arrow):
        return kinds <= {dt.time} and all(value is None or value.tzinfo is None for value in values)
    return all(_KINDS.get(kind) == arrow for kind in kinds)


def _is_instant(value: dt.datetime) -> bool:
    if value.year in (dt.MINYEAR, dt.MAXYEAR) and value.tzinfo is not None:
        value.astimezone(dt.UTC)  # raises for the first and the last hours that Python knows
    return value.utcoffset() is not None


def zoned_type(zone: dt.tzinfo | None) -> pa.DataType | None:
    """The type for times of a zone; None: Arrow cannot name it."""
    if zone is None or zone == dt.UTC:
        return TIMESTAMP if zone is None else WITH_ZONE
    return pa.timestamp("us", tz=zone.key) if isinstance(zone, ZoneInfo) and zone.key else None


def _kinds(values: Sequence[Value]) -> set[type]:
    return set(map(type, values)) - {type(None)}


def inferred(values: Sequence[Value], objects: Objects | None, *, own: bool) -> pa.Array:
    """The values as an array of the type that they have.

    Args:
        values: of one column.
        objects: keeps values that Arrow cannot hold; None: these are an error.
        own: they come from a type that may return any Python value.

    Raises:
        MixedTypes: no type holds all of them.
    """
    kinds = _kinds(values)
    if not kinds:
        return pa.nulls(len(values))
    if kinds <= _PLAIN:
        with suppress(*MISFIT):
            arrow = _plain(kinds, values, own=own)
            if arrow is not None and (array := typed(values, arrow)) is not None:
                return array
        if objects is not None and (own or len(kinds) == 1):
            return objects.hold(values)
        raise MixedTypes(_names(kinds) if len(kinds) > 1 else f"{_names(kinds)}, which backend='pandas' holds")
    if kinds == {uuid.UUID}:
        return pa.array([None if value is None else str(value) for value in values])
    with suppress(*MISFIT):
        array = pa.array(values)
        if array.to_pylist() == [list(value) if type(value) is tuple else value for value in values]:
            return array
    if objects is not None:
        return objects.hold(values)
    raise MixedTypes(f"{_names(kinds)}, which backend='pandas' holds")


def are_objects(values: Sequence[Value]) -> bool:
    """Whether pandas has the values only as Python objects."""
    return any(kind not in _PLAIN for kind in _kinds(values))


def _names(kinds: Collection[type]) -> str:
    return ", ".join(sorted(kind.__name__ for kind in kinds))


def _plain(kinds: set[type], values: Sequence[Value], *, own: bool) -> pa.DataType | None:
    if kinds == {int}:
        low, high = min(v for v in values if v is not None), max(v for v in values if v is not None)
        if low >= -(2**63) and high < 2**63:
            return pa.int64()
        return pa.uint64() if low >= 0 and high < 2**64 else _decimal(values)
    if kinds == {int, float}:
        return pa.float64()
    if kinds <= {int, Decimal}:
        return _decimal(values)
    if kinds == {dt.datetime}:
        zones = {value.tzinfo for value in values if value is not None}
        if None in zones:
            return TIMESTAMP if len(zones) == 1 else None
        if not own:  # the server's zone says nothing of the value
            return WITH_ZONE
        return zoned_type(zones.pop()) if len(zones) == 1 else None
    if kinds == {dt.time}:
        return pa.time64("us")
    arrows = {_KINDS.get(kind) for kind in kinds}
    return arrows.pop() if len(arrows) == 1 else None


def _decimal(values: Sequence[Value]) -> pa.DataType | None:
    """The type that holds numbers of any scale."""
    places = whole = 0
    for value in values:
        if value is not None:
            number = Decimal(value)
            if not number.is_finite():
                return None
            places = max(places, -int(number.as_tuple().exponent))
            whole = max(whole, number.adjusted() + 1)
    return decimal_type(whole, max(_MIN_SCALE, places) if whole + _MIN_SCALE <= _MAX_DIGITS else places)


def decimal_type(whole: int, places: int) -> pa.DataType | None:
    """The type for decimals of so many digits before and after the point; None: there is none."""
    if whole + places > _MAX_DIGITS:
        return None
    return pa.decimal128(38, places) if whole + places <= 38 else pa.decimal256(_MAX_DIGITS, places)


def decimals_of(texts: pa.Array, arrow: pa.DataType | None) -> pa.Array:
    """Numbers as a server writes them, in a type that holds all of them.

    Args:
        texts: digits, perhaps with a sign and a point.
        arrow: the type to use if it holds them.

    Raises:
        pyarrow.ArrowInvalid: there is no such type.
    """
    if arrow is not None:
        with suppress(*MISFIT):
            return texts.cast(arrow)
    if texts.null_count == len(texts):
        return pa.nulls(len(texts))
    size, point = pc.binary_length(texts), pc.find_substring(texts, ".")
    has_point = pc.greater_equal(point, 0)
    places = pc.max(pc.if_else(has_point, pc.subtract(pc.subtract(size, point), 1), 0)).as_py()
    whole = pc.max(pc.if_else(has_point, point, size)).as_py()
    kind = decimal_type(whole, max(places, _MIN_SCALE)) or decimal_type(whole, places)
    if kind is None:
        raise pa.ArrowInvalid("a number of more than 76 digits")
    return texts.cast(kind)


def joined(arrays: Sequence[pa.Array], objects: Objects | None, *, own: bool) -> list[pa.Array]:
    """Arrays of one column in the one type that holds all of their values.

    Raises:
        MixedTypes: there is no such type.
    """
    found = {array.type for array in arrays if not pa.types.is_null(array.type)}
    if len(found) > 1:
        target: pa.DataType | None = None
        if OBJECT in found:
            target = OBJECT
        elif found <= _NUMBERS and pa.float64() in found:
            target = pa.float64()
        elif all(kind in _NUMBERS or pa.types.is_decimal(kind) for kind in found) and pa.float64() not in found:
            target = _common_decimal(found, arrays)
        elif any(pa.types.is_nested(kind) for kind in found):
            array = inferred([value for array in arrays for value in array.to_pylist()], objects, own=own)
            ends = [sum(map(len, arrays[:at])) for at in range(len(arrays))]
            return [array.slice(end, len(part)) for end, part in zip(ends, arrays, strict=True)]
        elif own and objects is not None:
            target = OBJECT
        if target is None:
            raise MixedTypes(", ".join(sorted(map(str, found))))
        found = {target}
    return [cast(array, next(iter(found)), objects) for array in arrays] if found else list(arrays)


def _common_decimal(found: set[pa.DataType], arrays: Sequence[pa.Array]) -> pa.DataType:
    scale = max(kind.scale if pa.types.is_decimal(kind) else 0 for kind in found)
    kinds = [pa.decimal128(38, scale), pa.decimal256(_MAX_DIGITS, scale)]
    if not any(map(pa.types.is_decimal, found)):
        kinds.insert(0, pa.uint64())
    for kind in kinds:
        with suppress(*MISFIT):
            for array in arrays:
                cast(array, kind, None)
            return kind
    raise MixedTypes("decimals of more than 76 digits")


def cast(array: pa.Array, arrow: pa.DataType, objects: Objects | None) -> pa.Array:
    """The array in another type, with equal values.

    Raises:
        pyarrow.ArrowException: one of them does not fit.
        MixedTypes: the types have no values in common.
    """
    own = array.type
    if own == arrow:
        return array
    if arrow == OBJECT and objects is not None:
        return objects.hold(array.to_pylist())
    whole = pa.types.is_integer(own) and own != OBJECT
    number = whole or pa.types.is_decimal(own)
    if (
        pa.types.is_null(own)
        or (whole and arrow in _NUMBERS)
        or (number and pa.types.is_decimal(arrow))
        or (pa.types.is_list(own) and pa.types.is_null(own.value_type) and pa.types.is_list(arrow))
    ):
        if whole and pa.types.is_decimal(arrow):
            array = array.cast(pa.decimal128(38, 0))
        return array.cast(arrow)
    raise MixedTypes(f"{own}, not {arrow}")


Convert = Callable[[Value], Value]
Quick = Callable[[Sequence[Value]], pa.Array]

_SHOWN = 60  # characters of a value in a message


@dataclass(frozen=True)
class Column:
    """One column of a result.

    Attributes:
        name: as SQLAlchemy names it.
        arrow: its type; None where the values decide.
        firm: every value has that type; else it is a guess, which values overrule.
        in_text: Arrow reads it from the text that a server sends.
        varies: decimals whose scale is that of the values.
        own: its type is written by a user, and may return any Python value.
        quick: from values of the driver to an array without a look at each; raises where one of them needs it.
        process: from a value of the driver to that of a session; None: they are the same.
        check: raises for a text of the database that a session does not accept.
        written: from a value of a session to what Arrow can hold, where it has no such type; None: it has.
        to_object: back from there to the value of a session.
        objects: keeps Python values for a frame that can hold them; None: it cannot.
        only_objects: all values are kept there.
        keeps_objects: values without a plain Arrow type, such as lists, are kept there.
    """

    name: str
    arrow: pa.DataType | None = None
    firm: bool = False
    in_text: bool = False
    varies: bool = False
    own: bool = False
    quick: Quick | None = None
    process: Convert | None = None
    check: Convert | None = None
    written: Convert | None = None
    to_object: Convert | None = None
    objects: Objects | None = None
    only_objects: bool = False
    keeps_objects: bool = False

    def array(self, values: Sequence[Value], row: int = 0) -> pa.Array:
        """Values of the driver as an array.

        Args:
            values: what the driver returned.
            row: the number of the first of them, for messages.

        Raises:
            FrameError: one does not fit the type of the column.
        """
        if self.quick is not None:
            try:
                return self.quick(values)
            except MISFIT:
                pass  # below, each is looked at
        values = self._in_session(values, row)
        if self.objects is not None and (self.only_objects or (self.keeps_objects and are_objects(values))):
            return self.objects.hold(values)
        if self.written is not None:
            try:
                values = [None if value is None else self.written(value) for value in values]
            except MISFIT as exc:
                raise self.misfit(exc) from exc
        if self.arrow is not None and (self.firm or (not self._keeps_zone and any(v is not None for v in values))):
            array = typed(values, self.arrow)
            if array is not None:
                return array
            if self.firm:
                raise self._first_misfit(values, row)
        try:
            return inferred(values, self.objects, own=self.own)
        except MISFIT as exc:
            raise self.mixed(exc) from exc

    @property
    def _keeps_zone(self) -> bool:
        """Whether the zones of times matter, as Arrow would convert them without an error."""
        return self.own and self.arrow is not None and pa.types.is_timestamp(self.arrow)

    def checked(self, array: pa.Array) -> pa.Array:
        """The array, whose values a server sent as text, if a session accepts them.

        Raises:
            FrameError: it does not.
        """
        if self.check is not None:
            try:
                for value in pc.unique(array).to_pylist():
                    self.check(value)
            except (LookupError, *MISFIT) as exc:
                raise self.misfit(exc) from exc
        return array

    def _in_session(self, values: Sequence[Value], row: int) -> Sequence[Value]:
        process = self.process
        if process is None:
            return values
        processed: list[Value] = []
        try:
            processed.extend(map(process, values))
        except (LookupError, *MISFIT) as exc:
            value = values[len(processed)]
            raise self.misfit(f"row {row + len(processed)}: {_short(value)}: {_first_line(exc)}") from exc
        return processed

    def _first_misfit(self, values: Sequence[Value], row: int) -> FrameError:
        assert self.arrow is not None
        at = next((at for at, value in enumerate(values) if typed([value], self.arrow) is None), 0)
        return self.misfit(f"row {row + at}: {_short(values[at])}")

    def mixed(self, types: object) -> FrameError:
        """The error for values that no type holds."""
        return FrameError(
            f"Column '{self.name}' holds values for which Arrow has no common type ({types}): name a type in the "
            "query, with sqlalchemy.cast(column, type)"
        )

    def misfit(self, reason: object) -> FrameError:
        """The error for a value that does not fit."""
        kind = "one type" if self.arrow is None or self.only_objects else str(self.arrow)
        return FrameError(
            f"Column '{self.name}' holds a value that does not fit {kind} ({_first_line(reason)}): name another "
            "type in the query, as in sqlalchemy.cast(column, type) or text(...).columns(name=type)"
        )


def _first_line(reason: object) -> str:
    return next(iter(str(reason).splitlines()), "")


def _short(value: Value) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
