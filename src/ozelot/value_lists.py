"""Lists of values of one column, with what is known of all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

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
