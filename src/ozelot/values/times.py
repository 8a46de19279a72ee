"""Which dates and times columns take, and in which time zone."""

from __future__ import annotations

import datetime
from contextlib import suppress
from typing import Any

from ozelot.values.column_rule import NO_ZONE, ZONE, ColumnType, Converter, InvalidValue, Reason, Values, bounds_of

_UTC = datetime.UTC
_OUTER_YEARS = {1, 9999}  # times of which may have no counterpart in UTC
_TOO_FINE = Reason(
    "finer than the column keeps", remedy="Round it, or give the column a type with more digits of seconds"
)
_NO_OFFSET = Reason(
    "no time zone", expects="a time with a time zone", remedy="Add it: value.replace(tzinfo=datetime.UTC)"
)
_ZONE_OF_TIME = Reason(
    "a time zone, which the column does not keep",
    expects="a time without a time zone",
    remedy="Remove the zone: value.replace(tzinfo=None)",
)
_OFFSET_OF_MICROSECONDS = Reason("a distance from UTC that is no whole second", remedy="Round it to whole seconds")
_OUT_OF_RANGE = Reason("out of range in UTC", remedy="Correct it, or store it as text")
_TOO_LONG = Reason("out of range", remedy="Correct it, or store it as a number of seconds")
_EPOCH = datetime.datetime(1970, 1, 1)


class DateType(ColumnType):
    """Dates."""

    exact = frozenset({datetime.date})
    expects = "a date"
    conversions = ((str, "date.fromisoformat(value)", datetime.date.fromisoformat),)

    def converter(self, kind: type) -> Converter | None:
        return _day if issubclass(kind, datetime.datetime) else None


def _day(value: datetime.datetime) -> datetime.date:
    if value.time() != datetime.time() or value.tzinfo is not None:
        raise InvalidValue(Reason("it has a time", remedy="Take its date: value.date()"))
    return value.date()


class DateTimeType(ColumnType):
    """Dates with times.

    Args:
        aware: whether the column holds instants: values with a time zone, which are stored and returned as UTC.
        digits: how many of the digits of seconds after the point are kept; None: all.
    """

    exact = frozenset({datetime.datetime})
    expects = "a datetime"
    conversions = ((str, "datetime.fromisoformat(value)", datetime.datetime.fromisoformat),)

    def __init__(self, *, aware: bool, digits: int | None = None) -> None:
        self.aware = aware
        self._step = 1 if digits is None else 10 ** (6 - min(digits, 6))

    def converter(self, kind: type) -> Converter | None:
        if kind is datetime.date:
            return lambda value: datetime.datetime(value.year, value.month, value.day)
        return None

    def all_fit(self, values: Values) -> bool:
        if self._step > 1:
            return False
        zones = {value.tzinfo for value in values}
        if not self.aware:
            return zones <= {None}
        years = {value.year for value in values}
        return None not in zones and not years & _OUTER_YEARS

    def fault(self, value: Any) -> str | None:
        if self._step > 1 and value.microsecond % self._step:
            return _TOO_FINE
        if not self.aware:
            return None if value.tzinfo is None else ZONE
        if value.utcoffset() is None:
            return NO_ZONE
        try:
            value.astimezone(_UTC)
        except OverflowError:
            return _OUT_OF_RANGE
        return None

    def comparable(self, values: Values) -> Values:
        # Python compares two times of one zone by the clock, although one of them may be of the hour that is repeated.
        if not self.aware:
            return values
        return [_in_utc(value) if isinstance(value, datetime.datetime) else value for value in values]


def _in_utc(value: datetime.datetime) -> datetime.datetime:
    if value.utcoffset() is not None:
        with suppress(OverflowError):
            return value.astimezone(_UTC)
    return value


class TimeType(ColumnType):
    """Times of a day.

    Args:
        aware: whether the database keeps their distance from UTC.
        digits: how many of the digits of seconds after the point are kept; None: all.
    """

    exact = frozenset({datetime.time})
    expects = "a time"
    conversions = ((str, "time.fromisoformat(value)", datetime.time.fromisoformat),)

    def __init__(self, *, aware: bool, digits: int | None = None) -> None:
        self.aware = aware
        self._step = 1 if digits is None else 10 ** (6 - min(digits, 6))

    def all_fit(self, values: Values) -> bool:
        return not self.aware and self._step == 1 and {value.tzinfo for value in values} <= {None}

    def fault(self, value: Any) -> str | None:
        if self._step > 1 and value.microsecond % self._step:
            return _TOO_FINE
        if not self.aware:
            return None if value.tzinfo is None else _ZONE_OF_TIME
        offset = value.utcoffset()
        if offset is None:
            return _NO_OFFSET
        return _OFFSET_OF_MICROSECONDS if offset.microseconds else None


class IntervalType(ColumnType):
    """Lengths of time.

    Args:
        by_moment: whether the database stores the moment that is so far from 1970.
        digits: how many of the digits of seconds after the point are kept; None: all.
    """

    exact = frozenset({datetime.timedelta})
    expects = "a timedelta"

    def __init__(self, *, by_moment: bool, digits: int | None = None) -> None:
        self._by_moment = by_moment
        self._step = 1 if digits is None else 10 ** (6 - min(digits, 6))

    def all_fit(self, values: Values) -> bool:
        return self._step == 1 and all(map(self._in_range, bounds_of(values)))

    def _in_range(self, value: datetime.timedelta) -> bool:
        try:
            return not self._by_moment or bool(_EPOCH + value)
        except OverflowError:
            return False

    def fault(self, value: Any) -> str | None:
        if self._step > 1 and value.microseconds % self._step:
            return _TOO_FINE
        return None if self._in_range(value) else _TOO_LONG
