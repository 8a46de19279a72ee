"""Why values do not fit their columns, as text for messages."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable
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
