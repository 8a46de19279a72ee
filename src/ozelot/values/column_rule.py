"""The rule of a column, for single values and for whole lists, and why a value does not fit it."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Iterable
from typing import Any

Converter = Callable[[Any], Any]


class Reason(str):
    """Why a value does not fit.

    Attributes:
        expects: what the column expects instead, where the name of its type does not say it; else empty.
        detail: what to say about the value, beside what the column expects; else empty.
        remedy: what to do, as a sentence without its period; else empty.
    """

    expects: str
    detail: str
    remedy: str

    def __new__(cls, text: str, *, expects: str = "", detail: str = "", remedy: str = "") -> Reason:
        """A reason."""
        found = super().__new__(cls, text)
        found.expects, found.remedy = expects, remedy
        found.detail = detail or ("" if expects else text)
        return found


class InvalidValue(ValueError):
    """A value does not fit.

    Attributes:
        reason: why.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def imprecise(limit: str) -> Reason:
    """The reason for a float that may have been another integer before it was a float."""
    return Reason(
        f"a float from {limit} up may be a rounded integer",
        remedy="Keep integers as integers, in pandas with dtype 'Int64'",
    )


def too_long(found: int, most: int, unit: str) -> Reason:
    """The reason for text that is too long, in characters or bytes."""
    return Reason(
        f"longer than {most:,} {unit}",
        expects=f"at most {most:,} {unit}",
        detail=f"{found:,} {unit}",
        remedy="Shorten it, or make the column longer",
    )


NUL = Reason(
    "it contains the character NUL, which this database cannot store",
    remedy="Remove it: value.replace('\\0', '')",
)
SURROGATE = Reason(
    "it contains half of a surrogate pair, which is not a character",
    remedy="Decode the source with its own encoding",
)
INFINITE = Reason("infinity, which this database cannot store", expects="a finite float")
DIGITS = Reason("too many digits for a float", remedy="Round it, or make the column Numeric")
IMPRECISE = imprecise("2**53")
NO_ZONE = Reason(
    "no time zone", expects="a datetime with a time zone", remedy="Add it: value.replace(tzinfo=datetime.UTC)"
)
ZONE = Reason(
    "a time zone, which the column does not keep",
    expects="a datetime without a time zone",
    remedy="Remove the zone, or make the column DateTime(timezone=True)",
)


EXPECTED: dict[type, str] = {
    datetime.time: "a time",
    datetime.timedelta: "a timedelta",
    bytes: "bytes",
    uuid.UUID: "a UUID",
}
CONVERSIONS: dict[type, tuple[tuple[type, str, Converter], ...]] = {
    datetime.time: ((str, "time.fromisoformat(value)", datetime.time.fromisoformat),),
    bytes: ((str, "value.encode()", str.encode),),
    uuid.UUID: ((str, "UUID(value)", uuid.UUID),),
}


Values = list[Any]

#: Why a time is not stored.
TOO_FINE = "finer than a microsecond"
OUTSIDE = "out of range"


class KnownValues(Values):
    """Values of which something is known without looking at each.

    Attributes:
        kinds: the types that there are among them; may name NoneType although there is no None.
        bounds: the smallest and the largest of numbers, none of which is NaN; None: not known.
        longest: how many characters the longest text has, where all are Unicode and none has a NUL; None: not known.
    """

    def __init__(
        self,
        values: Values,
        kinds: Iterable[type],
        *,
        bounds: tuple[Any, Any] | None = None,
        longest: int | None = None,
    ) -> None:
        super().__init__(values)
        self.kinds = set(kinds)
        self.bounds = bounds
        self.longest = longest


class NotStored(str):
    """A time that Python does not know, as text.

    Attributes:
        reason: why it does not.
    """

    reason: str

    def __new__(cls, text: object, reason: str) -> NotStored:
        """A time."""
        found = super().__new__(cls, text)
        found.reason = reason
        return found


def kinds_of(values: Values) -> set[type]:
    """The types that there are among values."""
    return values.kinds if isinstance(values, KnownValues) else set(map(type, values))


def bounds_of(numbers: Values) -> tuple[Any, Any]:
    """The smallest and the largest of numbers, none of which is NaN or None."""
    known = numbers.bounds if isinstance(numbers, KnownValues) else None
    return known or (min(numbers), max(numbers))


def wrong_type(value: Any, column: ColumnType) -> Reason:
    """The reason for a value of a type that a column does not take, with what converts it."""
    for kind, text, convert in column.conversions:
        if isinstance(value, kind):
            try:
                convert(value)
            except Exception:  # noqa: BLE001, S112 - it is no remedy then
                continue
            return Reason("", remedy=f"Convert it: {text}")
    return Reason("", remedy=f"Replace it with {column.expects}")


class ColumnType:
    """What a column takes: here, anything.

    Attributes:
        exact: the types of values that need no conversion; None: any.
        expects: what it takes, for messages: ``a float``.
        conversions: what users can write to convert values of other types, and a function that does the same.
    """

    exact: frozenset[type] | None = None
    expects = "another value"
    conversions: tuple[tuple[type, str, Converter], ...] = ()

    def converter(self, kind: type) -> Converter | None:
        """What converts values of another type, or raises :class:`InvalidValue`; None: nothing does."""
        return None

    def all_fit(self, values: Values) -> bool:
        """Whether all of the values, which are of the right type and not NULL, surely fit."""
        return True

    def fault(self, value: Any) -> str | None:
        """What is wrong with a value of the right type, if anything."""
        return None

    def comparable(self, values: Values) -> Values:
        """The values, None among them, in the form in which the database returns them."""
        return values

    def checked(self, value: Any) -> Any:
        """One value that is not NULL, as the column's type takes it.

        Raises:
            InvalidValue: it does not fit.
        """
        kind = type(value)
        if kind.__module__ == "numpy" and hasattr(value, "tolist"):
            value = value.tolist()
        elif hasattr(kind, "to_pydatetime"):
            value = _without_nanoseconds(value, value.to_pydatetime)
        elif hasattr(kind, "to_pytimedelta"):
            value = _without_nanoseconds(value, value.to_pytimedelta)
        kind = type(value)
        if self.exact is not None and kind not in self.exact:
            convert = self.converter(kind)
            if convert is None:
                raise InvalidValue(wrong_type(value, self))
            value = convert(value)
        if (reason := self.fault(value)) is not None:
            raise InvalidValue(reason)
        return value


def _without_nanoseconds(value: Any, convert: Callable[[], Any]) -> Any:
    nanoseconds = value.nanosecond if hasattr(value, "nanosecond") else value.nanoseconds
    if nanoseconds != 0:  # NaT has NaN
        raise InvalidValue(Reason(TOO_FINE, remedy="Round it to microseconds, or store it as text"))
    return convert()


class OwnType(ColumnType):
    """What the code of a ``TypeDecorator`` takes: here, anything, arrays included."""
