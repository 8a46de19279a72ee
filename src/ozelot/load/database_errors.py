"""What a database says of rows that it refuses, in words, and which rows those are where that is known."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from ozelot.errors import LoadError
from ozelot.load.validation import Fault, Misfits, failed
from ozelot.values.column_rule import Reason, Values

_DUPLICATE = "a key that no other row has"
_OF_SQLITE = re.compile(r"(UNIQUE|NOT NULL) constraint failed: (.+)")
_DUPLICATE_OF_MARIADB = re.compile(r"Duplicate entry '(.*)' for key '(.*)'", re.S)
_AT_ROW = re.compile(r"at row (\d+)$")
_VALUES_OF_MARIADB = (1292, 1366)  # "incorrect value", which PyMySQL calls operational
_MANY = 500  # values in one question


class Rows:
    """Rows that are about to be written.

    Args:
        connection: to the database.
        table: to write to.
        columns: of that table.
        data: their values.
        positions: of the rows in the input.

    Attributes:
        first: the place of the first row of the statement under way, if it is known.
        failed: the place of the row at which the database stopped, if it is known.
    """

    def __init__(
        self,
        connection: sa.Connection,
        table: sa.Table,
        columns: Sequence[sa.Column[Any]],
        data: Sequence[Values],
        positions: Sequence[int],
    ) -> None:
        self._connection = connection
        self._table = table
        self._columns = {column.name: values for column, values in zip(columns, data, strict=True)}
        self._positions = positions
        self.first: int | None = None
        self.failed: int | None = None

    @contextmanager
    def in_words(self) -> Iterator[None]:
        """Tell in words which rows the database refuses.

        Raises:
            LoadError: it refuses some.
        """
        try:
            yield
        except DBAPIError as exc:
            if isinstance(exc, IntegrityError | DataError) or _code(exc) in _VALUES_OF_MARIADB:
                raise self.explained(exc) from exc
            raise

    def explained(self, exc: DBAPIError) -> LoadError:
        """The error of the database in words."""
        said = said_by(exc)
        if found := _OF_SQLITE.search(said):
            names = [name.rpartition(".")[2] for name in found[2].split(", ")]
            return self._at_failed(names, _DUPLICATE if found[1] == "UNIQUE" else "a value", said)
        # PostgreSQL answers no more questions after an error; it named the key.
        if "foreign key" in said.lower() and self._connection.dialect.name != "postgresql":
            return self._dangling() or refused(self._table, said, None)
        if (found := _AT_ROW.search(said)) and self.first is not None:
            return refused(self._table, said, self._positions[self.first + int(found[1]) - 1])
        if found := _DUPLICATE_OF_MARIADB.search(said):
            said = f"another row has the key {found[1]!r} already, by {found[2]}"
        if "too big" in said:  # a billion bytes
            said += ". Keep the value in a file"
        return refused(self._table, said, None if self.failed is None else self._positions[self.failed])

    def _at_failed(self, names: list[str], expects: str, said: str) -> LoadError:
        if self.failed is None or not set(names) <= self._columns.keys():
            return refused(self._table, said, None)
        values = tuple(self._columns[name][self.failed] for name in names)
        reason = Reason("", remedy="Leave out the duplicate" if expects == _DUPLICATE else "")
        fault = Fault(self._positions[self.failed], values[0] if len(values) == 1 else values, reason)
        return Misfits(f"{self._table.name}.{', '.join(names)}", expects, [fault]).error

    def _dangling(self) -> LoadError | None:
        """The rows that refer to nothing, found by asking for all that they refer to."""
        for constraint in self._table.foreign_key_constraints:
            keys = [element.parent.name for element in constraint.elements]
            if len(keys) > 1 or keys[0] not in self._columns:
                continue
            target = constraint.elements[0].column
            values = self._columns[keys[0]]
            wanted = list({value for value in values if value is not None})
            known = set(self._columns.get(target.name, ())) if target.table is self._table else set()
            for start in range(0, len(wanted), _MANY):
                known |= set(
                    self._connection.scalars(sa.select(target).where(target.in_(wanted[start : start + _MANY])))
                )
            faults = [
                Fault(position, value, Reason(""))
                for position, value in zip(self._positions, values, strict=True)
                if value is not None and value not in known
            ]
            if faults:
                expects = f"the {target.name} of a row in {target.table.name}"
                return Misfits(f"{self._table.name}.{keys[0]}", expects, faults).error
        return None


def said_by(exc: DBAPIError) -> str:
    original: Any = exc.orig
    if (diagnosis := getattr(original, "diag", None)) is not None:
        parts = [diagnosis.message_primary, diagnosis.message_detail]
        return ". ".join(part.rstrip(".") for part in parts if part) or str(original)
    return str(original.args[-1] if original is not None and original.args else original)


def line_of_copy(exc: DBAPIError) -> int:
    """The line of a COPY at which PostgreSQL stopped, counted from 1; 0 where it does not say."""
    context = getattr(getattr(exc.orig, "diag", None), "context", None)
    found = re.search(r"^COPY .*, line (\d+)", context or "", re.M)
    return int(found[1]) if found else 0


def _code(exc: DBAPIError) -> Any:
    return exc.orig.args[0] if exc.orig is not None and exc.orig.args else None


def refused(table: sa.Table, said: str, position: int | None) -> LoadError:
    """The error for rows that a database refuses, with the position in the input of the first one if that is known."""
    rows = "rows" if position is None else f"row {position}"
    return failed([f"The database refuses {rows} for {table.name}: {said.rstrip('.')}"])
