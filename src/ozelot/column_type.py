"""What a column takes, as a rule for single values and for whole lists of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ozelot.value_lists import TOO_FINE, Values
from ozelot.value_reasons import Converter, InvalidValue, Reason


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
