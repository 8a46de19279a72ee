"""What a column takes, as a rule for single values and for whole lists of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ozelot.value_lists import Values

Converter = Callable[[Any], Any]


class InvalidValue(ValueError):
    """A value does not fit; its text is the reason."""


class ColumnType:
    """What a column takes: here, anything.

    Attributes:
        exact: the types of values that need no conversion; None: any.
    """

    exact: frozenset[type] | None = None

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
                raise InvalidValue(f"a value of type {kind.__name__}")
            value = convert(value)
        if (reason := self.fault(value)) is not None:
            raise InvalidValue(reason)
        return value


def _without_nanoseconds(value: Any, convert: Callable[[], Any]) -> Any:
    nanoseconds = value.nanosecond if hasattr(value, "nanosecond") else value.nanoseconds
    if nanoseconds != 0:  # NaT has NaN
        raise InvalidValue("a time that is finer than microseconds, or none at all,")
    return convert()
