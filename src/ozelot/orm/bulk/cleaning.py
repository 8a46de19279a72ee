"""From whatever came in for a column to values that its type takes, with the rows that do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from ozelot.orm.bulk.faults import bad_rows
from ozelot.value_lists import KnownValues, NotStored, Values, kinds_of
from ozelot.value_types import ColumnType, InvalidValue

_NOTHING = type(None)
_NUMBERS = (float, Decimal)


def cleaned(values: Values, domain: ColumnType, where: str, positions: Sequence[int]) -> tuple[Values, bool]:
    """The values of a column as its type takes them, NaN and NaT as None; and whether there is a None.

    Args:
        values: what came in.
        domain: what the column takes.
        where: ``Model.attribute``, for messages.
        positions: of the rows in the input.

    Raises:
        LoadError: some do not fit.
    """
    as_given = values
    values, has_nulls = typed(values, domain, where, positions)
    known = isinstance(values, KnownValues) and (values.bounds is not None or values.longest is not None)
    there = [value for value in values if value is not None] if has_nulls and not known else values
    if there and not domain.all_fit(there):
        faults = [
            (position, reason, given)
            for position, given, value in zip(positions, as_given, values, strict=True)
            if value is not None and (reason := domain.fault(value))
        ]
        if faults:
            raise bad_rows(where, faults)
    return values, has_nulls


def typed(values: Values, domain: ColumnType, where: str, positions: Sequence[int]) -> tuple[Values, bool]:
    """The values of a column in the types that its own type takes; and whether there is a None.

    Raises:
        LoadError: some have another type.
    """
    kinds = kinds_of(values)
    others = kinds - (domain.exact or set()) - {_NOTHING}
    if (float in kinds or Decimal in kinds) and not (isinstance(values, KnownValues) and values.bounds):
        values, kinds = _without_nan(values, kinds)
        others = kinds - (domain.exact or set()) - {_NOTHING}
    if domain.exact is None:
        others = {kind for kind in others if _is_missing(kind) or kind.__module__ == "numpy"}
    if not others:
        return values, _NOTHING in kinds
    found: Values = []
    faults: list[tuple[int, str, Any]] = []
    convert = {kind: _converter(kind, domain) for kind in others}
    for position, value in zip(positions, values, strict=True):
        if type(value) in others:
            try:
                value = convert[type(value)](value)
            except InvalidValue as exc:
                faults.append((position, str(exc), value))
        found.append(value)
    if faults:
        raise bad_rows(where, faults)
    return found, _NOTHING in set(map(type, found))


def _without_nan(values: Values, kinds: set[type]) -> tuple[Values, set[type]]:
    if kinds == {float} and (total := sum(values)) == total:  # a sum with NaN is NaN
        return values, kinds
    values = [None if type(value) in _NUMBERS and _is_nan(value) else value for value in values]
    return values, set(map(type, values))


def _is_nan(number: Any) -> bool:
    return bool(number.is_nan() if type(number) is Decimal else number != number)


def _is_missing(kind: type) -> bool:
    return kind.__name__ in ("NAType", "NaTType")


def _converter(kind: type, domain: ColumnType) -> Any:
    if _is_missing(kind):
        return lambda _: None
    if kind.__name__ in ("datetime64", "timedelta64"):
        return lambda value: _own(_to_microseconds(value), domain)
    if kind.__module__ == "numpy":
        return lambda value: _own(value.tolist(), domain)
    if hasattr(kind, "to_pydatetime"):
        return lambda value: _own(_exactly(value, value.to_pydatetime), domain)
    if hasattr(kind, "to_pytimedelta"):
        return lambda value: _own(_exactly(value, value.to_pytimedelta), domain)
    if kind is NotStored:
        return _lost
    return lambda value: _by(domain.converter(kind), value)


def _exactly(value: Any, convert: Any) -> Any:
    return _lost(value) if (value.nanosecond if hasattr(value, "nanosecond") else value.nanoseconds) else convert()


def _to_microseconds(value: Any) -> Any:
    """A time of NumPy as Python's."""
    micro = value.astype(f"{value.dtype.kind}8[us]")
    return micro.tolist() if micro == value or value != value else _lost(value)


def _lost(_value: Any) -> None:
    raise InvalidValue("a time that is finer than microseconds, or out of range,")


def _own(value: Any, domain: ColumnType) -> Any:
    """A value that was of NumPy or pandas."""
    if value is None or value != value:
        return None
    if domain.exact is None or type(value) in domain.exact:
        return value
    return _by(domain.converter(type(value)), value)


def _by(convert: Any, value: Any) -> Any:
    if convert is None:
        raise InvalidValue(f"a value of type {type(value).__name__}")
    return convert(value)
