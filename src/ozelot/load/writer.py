"""The way into any database: SQLAlchemy's own inserts of many rows. Quicker ways derive from it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.exc import DBAPIError

from ozelot.db.joined_connection import written_past_sqlalchemy
from ozelot.db.mysql_columns import Limits, limits_of
from ozelot.db.sql_analysis import Target, unescaped
from ozelot.load.database_errors import Rows
from ozelot.load.validation import Fault, Misfits
from ozelot.redaction import is_secret
from ozelot.values.checked_types import conversion
from ozelot.values.column_rule import Reason, Values

Columns = Sequence[sa.Column[Any]]
Converter = Callable[[Values], Values]


class Way:
    """How rows get into a database.

    Args:
        session: whose transaction it is.
        targets: what is going to be written.

    Attributes:
        rows: how many rows are best written at once.
        at_hand: how many times as many are best taken from an iterable at once.
        makes_sql: whether SQLAlchemy binds the values, which takes None in a JSON column for the null of JSON.
    """

    rows = 5_000
    at_hand = 1
    makes_sql = True

    def __init__(self, session: orm.Session, targets: Collection[Target]) -> None:
        self._session = session
        self._targets = targets
        self._converters: dict[sa.Column[Any], Converter | None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """Let go of the connection, whatever happened."""

    @property
    def _connection(self) -> sa.Connection:
        return self._session.connection()

    @property
    def _dialect(self) -> sa.Dialect:
        return self._connection.dialect

    def _bound(self, columns: Columns, data: Sequence[Values], positions: Sequence[int]) -> list[Values]:
        """The values of columns as the driver takes them.

        Raises:
            LoadError: the type of a column does not take a value.
        """
        found = []
        for column, values in zip(columns, data, strict=True):
            if column not in self._converters:
                self._converters[column] = self._converter(column)
            convert = self._converters[column]
            try:
                found.append(values if convert is None else convert(values))
            except DBAPIError:
                raise
            except Exception as exc:
                raise unbound(column, values, positions, convert, exc) from exc
        return found

    def _converter(self, column: sa.Column[Any]) -> Converter | None:
        """What turns the values of a column into what the driver takes; None: they are already."""
        convert = conversion(column.type, self._dialect)
        if convert is None:
            return None
        if isinstance(column.type, sa.types.TypeDecorator):  # which may have a word to say on NULL
            return lambda values: list(map(convert, values))
        return lambda values: [None if value is None else convert(value) for value in values]

    def refuse_changed(
        self, table: sa.Table, columns: Columns, data: Sequence[Values], positions: Sequence[int]
    ) -> None:
        """Make sure that the columns in the database store the values as they are; on MariaDB, not all do.

        Raises:
            LoadError: one would change some.
        """
        limits = limits_of(self._connection, table)
        if limits and self._changed(limits, columns, data, positions):
            # Another process may have widened the column.
            limits = limits_of(self._connection, table, again=True)
            if found := self._changed(limits, columns, data, positions):
                raise found.error

    def _changed(
        self, limits: Limits, columns: Columns, data: Sequence[Values], positions: Sequence[int]
    ) -> Misfits | None:
        for column, values in zip(columns, data, strict=True):
            limit = limits.get(column.key)
            if limit is None:
                continue
            places = limit.changed(self._bound([column], [values], positions)[0])
            if places:
                faults = [Fault(positions[place], values[place], limit.reason) for place in places]
                return Misfits(f"{column.table.name}.{column.name}", "", faults)
        return None

    def driver(self) -> AbstractContextManager[Any]:
        """The driver's connection, announced to whoever watches what is written."""
        return written_past_sqlalchemy(self._connection, self._targets)

    def write(self, table: sa.Table, columns: Columns, data: Sequence[Values], positions: Sequence[int]) -> None:
        """Write rows.

        Args:
            table: to write to.
            columns: of that table; may be none.
            data: the values of each column.
            positions: of the rows in the input.

        Raises:
            LoadError: the database refuses them.
        """
        self.refuse_changed(table, columns, data, positions)
        with Rows(self._connection, table, columns, data, positions).in_words():
            if not columns:
                self._connection.execute(sa.insert(table), [{} for _ in positions])
                return
            names = [column.key for column in columns]
            self._connection.execute(
                sa.insert(table), [dict(zip(names, row, strict=True)) for row in zip(*data, strict=True)]
            )

    def write_for_ids(
        self, table: sa.Table, columns: Columns, data: Sequence[Values], positions: Sequence[int], key: sa.Column[Any]
    ) -> Values:
        """Write rows that get their ids from the database, and say which."""
        names = [column.key for column in columns]
        self.refuse_changed(table, columns, data, positions)
        rows = [dict(zip(names, row, strict=True)) for row in zip(*data, strict=True)] or [{} for _ in positions]
        with Rows(self._connection, table, columns, data, positions).in_words():
            insert = sa.insert(table).returning(key, sort_by_parameter_order=True)
            return list(self._connection.scalars(insert, rows))

    def finish(self) -> None:
        """Let go of the connection: what comes next is none of :meth:`write`, or nothing."""

    def after_given(self, key: sa.Column[Any], highest: int) -> None:
        """Let ids that the database gives from here on be higher than one that was given."""


def unbound(
    column: sa.Column[Any], values: Values, positions: Sequence[int], convert: Any, exc: Exception
) -> Exception:
    """The error for the first value that a type, or the driver, does not take.

    Args:
        column: of the values.
        values: the values.
        positions: of their rows in the input.
        convert: what raises an error for a list with such a value.
        exc: the error that was raised for all of them.
    """
    for position, value in zip(positions, values, strict=True):
        try:
            convert([value])
        except Exception as found:  # noqa: BLE001 - of a type that anybody may have written
            where = f"{column.table.name}.{column.name}"
            reason = Reason("" if is_secret(where) else f"{type(found).__name__}: {found}")
            kind = "JSON" if isinstance(column.type, sa.JSON) else f"a value for {type(column.type).__name__}"
            return Misfits(where, kind, [Fault(position, value, reason)]).error
    return exc


def column_names(columns: Iterable[sa.Column[Any]], dialect: sa.Dialect) -> str:
    """The names of columns in SQL for the driver."""
    quote = dialect.identifier_preparer.format_column
    return unescaped(", ".join(quote(column) for column in columns), dialect)


def table_name(table: sa.Table, dialect: sa.Dialect) -> str:
    """The name of a table in SQL for the driver."""
    return unescaped(dialect.identifier_preparer.format_table(table), dialect)
