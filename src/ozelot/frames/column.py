"""A column of a result: how what the driver returns becomes an Arrow array."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ozelot.errors import FrameError
from ozelot.frames import arrays
from ozelot.frames.arrays import MISFIT, Objects

Value = Any
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
        if self.objects is not None and (self.only_objects or (self.keeps_objects and arrays.are_objects(values))):
            return self.objects.hold(values)
        if self.written is not None:
            try:
                values = [None if value is None else self.written(value) for value in values]
            except MISFIT as exc:
                raise self.misfit(exc) from exc
        if self.arrow is not None and (self.firm or (not self._keeps_zone and any(v is not None for v in values))):
            array = arrays.typed(values, self.arrow)
            if array is not None:
                return array
            if self.firm:
                raise self._first_misfit(values, row)
        try:
            return arrays.inferred(values, self.objects, own=self.own)
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
        at = next((at for at, value in enumerate(values) if arrays.typed([value], self.arrow) is None), 0)
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
