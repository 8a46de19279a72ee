"""From the values of the input to values that the column takes, and what is wrong with those that do not fit."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from ozelot.errors import LoadError
from ozelot.redaction import shown_with_type
from ozelot.values.column_rule import (
    OUTSIDE,
    TOO_FINE,
    ColumnType,
    InvalidValue,
    KnownValues,
    NotStored,
    OwnType,
    Reason,
    Values,
    imprecise,
    kinds_of,
    wrong_type,
)
from ozelot.values.numbers import IntegerType

_NAMED = 5  # rows of a column
_ENDING = "Nothing was loaded; rows count from 0"


@dataclass(frozen=True)
class Fault:
    """A value that does not fit.

    Attributes:
        position: of its row in the input.
        value: the value as it was given.
        reason: why it does not fit.
    """

    position: int
    value: Any
    reason: Reason


@dataclass
class _Group:
    """Faults of one kind in one column."""

    named: list[Fault] = field(default_factory=list)
    number: int = 0


class Misfits(Exception):
    """Rows that do not fit, by column.

    Args:
        where: ``Model.attribute``.
        expects: what that takes.
        faults: those of its values.
    """

    def __init__(self, where: str = "", expects: str = "", faults: Sequence[Fault] = ()) -> None:
        super().__init__(where)
        self._groups: dict[tuple[str, str, str], _Group] = {}
        for fault in faults:
            group = self._groups.setdefault((where, fault.reason.expects or expects, fault.reason.remedy), _Group())
            group.number += 1
            if group.number <= _NAMED:
                group.named.append(fault)

    def add(self, other: Misfits) -> None:
        """Add those of rows that come later, or of another column."""
        for key, more in other._groups.items():
            group = self._groups.setdefault(key, _Group())
            group.named += more.named[: _NAMED - len(group.named)]
            group.number += more.number

    @property
    def sentences(self) -> list[str]:
        """A sentence on each column, and one on what to do, without their periods."""
        found = []
        for (where, expects, remedy), group in self._groups.items():
            rows = ", ".join(_row(where, fault) for fault in group.named)
            if others := group.number - len(group.named):
                rows += f", and {others:,} more {'row does' if others == 1 else 'rows do'} not fit"
            found += [f"{where} expects {expects}; {rows}", *([remedy] if remedy else [])]
        return found

    @property
    def error(self) -> LoadError:
        """The error for all of them."""
        return failed(self.sentences)

    def __bool__(self) -> bool:
        return bool(self._groups)


def failed(sentences: Sequence[str]) -> LoadError:
    """The error of a load that left nothing in the database."""
    return LoadError(". ".join([*sentences, _ENDING]))


def _row(where: str, fault: Fault) -> str:
    detail = f" ({fault.reason.detail})" if fault.reason.detail else ""
    return f"row {fault.position} has {shown_with_type(where, fault.value)}{detail}"


_NOTHING = type(None)
_NUMBERS = (float, Decimal)
_ROUND = {TOO_FINE: "Round it to microseconds, or store it as text", OUTSIDE: "Correct it, or store it as text"}
#: Of floats of fewer bits: from here on, they do not tell one integer from the next.
_IMPRECISE = {"float32": (2**24, imprecise("2**24")), "float16": (2**11, imprecise("2**11"))}


def cleaned(values: Values, domain: ColumnType, where: str, positions: Sequence[int]) -> tuple[Values, bool]:
    """The values of a column as its type takes them, NaN and NaT as None; and whether there is a None.

    Args:
        values: what came in.
        domain: what the column takes.
        where: ``Model.attribute``, for messages.
        positions: of the rows in the input.

    Raises:
        Misfits: some do not fit.
    """
    as_given = values
    values, has_nulls, faults = _typed(values, domain, positions)
    if faults:  # those that could not be converted are None
        has_nulls = True
    known = isinstance(values, KnownValues) and (values.bounds is not None or values.longest is not None)
    present = [value for value in values if value is not None] if has_nulls and not known else values
    if present and not domain.all_fit(present):
        for position, given, value in zip(positions, as_given, values, strict=True):
            if value is not None and (reason := domain.fault(value)) is not None:
                faults.append(Fault(position, given, reason if isinstance(reason, Reason) else Reason(reason)))
    if faults:
        raise Misfits(where, domain.expects, sorted(faults, key=lambda fault: fault.position))
    return values, has_nulls


def typed(values: Values, domain: ColumnType, where: str, positions: Sequence[int]) -> tuple[Values, bool]:
    """The values of a column in the types that its own type takes; and whether there is a None.

    Raises:
        Misfits: some have another type.
    """
    values, has_nulls, faults = _typed(values, domain, positions)
    if faults:
        raise Misfits(where, domain.expects, faults)
    return values, has_nulls


def _typed(values: Values, domain: ColumnType, positions: Sequence[int]) -> tuple[Values, bool, list[Fault]]:
    kinds = kinds_of(values)
    others = kinds - (domain.exact or set()) - {_NOTHING}
    if (float in kinds or Decimal in kinds) and not (isinstance(values, KnownValues) and values.bounds):
        values, kinds = _without_nan(values, kinds)
        others = kinds - (domain.exact or set()) - {_NOTHING}
    if domain.exact is None:
        others = {kind for kind in others if _is_foreign(kind, domain)}
    if not others:
        return values, _NOTHING in kinds, []
    found: Values = []
    faults: list[Fault] = []
    convert = {kind: _converter(kind, domain) for kind in others}
    for position, given in zip(positions, values, strict=True):
        value = given
        if type(given) in others:
            try:
                value = convert[type(given)](given)
            except InvalidValue as exc:
                reason = exc.reason if isinstance(exc.reason, Reason) else Reason(exc.reason)
                faults.append(Fault(position, given, reason))
                value = None
        found.append(value)
    return found, _NOTHING in set(map(type, found)), faults


def _without_nan(values: Values, kinds: set[type]) -> tuple[Values, set[type]]:
    if kinds == {float} and (total := sum(values)) == total:  # a sum with NaN is NaN
        return values, kinds
    values = [None if type(value) in _NUMBERS and _is_nan(value) else value for value in values]
    return values, set(map(type, values))


def _is_nan(number: Any) -> bool:
    return bool(number.is_nan() if isinstance(number, Decimal) else number != number)


def _is_foreign(kind: type, domain: ColumnType) -> bool:
    """Whether a value is made one of Python's own, where the column takes any."""
    if kind.__name__ == "ndarray":
        return not isinstance(domain, OwnType)
    foreign = kind.__module__ == "numpy" or hasattr(kind, "to_pydatetime") or hasattr(kind, "to_pytimedelta")
    return foreign or kind is NotStored or _is_missing(kind)


def _is_missing(kind: type) -> bool:
    return kind.__name__ in ("NAType", "NaTType")


def _converter(kind: type, domain: ColumnType) -> Callable[[Any], Any]:
    """What makes a value of a type one that the column takes, or raises :class:`InvalidValue`."""
    if _is_missing(kind):
        return lambda _: None
    if kind is NotStored:
        return _lost
    if kind.__name__ in ("datetime64", "timedelta64"):
        return lambda value: _own(_time_of_numpy(value), domain)
    if hasattr(kind, "to_pydatetime"):
        return lambda value: _own(_exactly(value, value.to_pydatetime), domain)
    if hasattr(kind, "to_pytimedelta"):
        return lambda value: _own(_exactly(value, value.to_pytimedelta), domain)
    base = next((base for base in kind.__mro__ if base in _PLAIN), kind)
    if base is not kind:
        return lambda value: _own(_same(_PLAIN[base](value), value), domain)
    if kind.__module__ == "numpy":
        return _of_numpy(kind, domain)
    if issubclass(kind, float | Decimal) and kind not in _NUMBERS:
        return lambda value: None if _is_nan(value) else _by(domain.converter(kind), value, domain)
    return lambda value: _by(domain.converter(kind), value, domain)


def _datetime(value: datetime.datetime) -> datetime.datetime:
    return datetime.datetime.combine(_date(value), _time(value.timetz()))


def _date(value: datetime.date) -> datetime.date:
    return datetime.date(value.year, value.month, value.day)


def _time(value: datetime.time) -> datetime.time:
    parts = value.hour, value.minute, value.second, value.microsecond
    return datetime.time(*parts, tzinfo=value.tzinfo, fold=value.fold)


#: From values of subclasses to the same of the class itself, by that class.
_PLAIN: dict[type, Callable[[Any], Any]] = {
    datetime.datetime: _datetime,
    datetime.date: _date,
    datetime.time: _time,
    datetime.timedelta: lambda value: datetime.timedelta(value.days, value.seconds, value.microseconds),
    str: str.__str__,
    bytes: lambda value: bytes.__getitem__(value, slice(None)),  # NumPy's own ways drop NUL at the end
}


def _same(plain: Any, value: Any) -> Any:
    if plain != value:
        raise InvalidValue(f"it is not {plain}")
    return plain


def _of_numpy(kind: type, domain: ColumnType) -> Callable[[Any], Any]:
    limit, reason = _IMPRECISE.get(kind.__name__, (None, None))

    def convert(value: Any) -> Any:
        if limit is not None and reason is not None and isinstance(domain, IntegerType) and abs(value) >= limit:
            raise InvalidValue(reason)
        own: Any = value.tolist()
        if kind.__name__ in ("longdouble", "clongdouble"):  # of more bits than Python has
            if value.dtype.kind != "f" or (value == value and float(value) != value):
                raise InvalidValue(wrong_type(value, domain))
            own = float(value)
        return _own(own, domain)

    return convert


def _exactly(value: Any, convert: Callable[[], Any]) -> Any:
    if value.nanosecond if hasattr(value, "nanosecond") else value.nanoseconds:
        raise InvalidValue(Reason(TOO_FINE, remedy=_ROUND[TOO_FINE]))
    try:
        return convert()
    except (ValueError, OverflowError) as exc:  # of the year 12024, say
        raise InvalidValue(Reason(OUTSIDE, remedy=_ROUND[OUTSIDE])) from exc


def _time_of_numpy(value: Any) -> Any:
    """A time of NumPy as Python's."""
    if value != value:
        return None
    if value.dtype.name == "timedelta64":
        raise InvalidValue(Reason("it has no unit", remedy="Give it one, as in numpy.timedelta64(5, 's')"))
    micro = value.astype(f"{value.dtype.kind}8[us]")
    found = micro.tolist()
    if type(found) is int or micro.astype(value.dtype) != value:
        reason = TOO_FINE if value.dtype > micro.dtype else OUTSIDE
        raise InvalidValue(Reason(reason, remedy=_ROUND[reason]))
    return found


def _lost(value: NotStored) -> None:
    raise InvalidValue(Reason(value.reason, remedy=_ROUND[value.reason]))


def _own(value: Any, domain: ColumnType) -> Any:
    """A value that was of NumPy or pandas, or of a subclass."""
    if value is None or value != value:
        return None
    if domain.exact is None or type(value) in domain.exact:
        return value
    return _by(domain.converter(type(value)), value, domain)


def _by(convert: Callable[[Any], Any] | None, value: Any, domain: ColumnType) -> Any:
    if convert is None:
        raise InvalidValue(wrong_type(value, domain))
    return convert(value)
