"""Into SQLite: one prepared statement on the session's own connection."""

from __future__ import annotations

import datetime
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from ozelot.orm.bulk.chunks import Values
from ozelot.orm.bulk.told import Rows
from ozelot.orm.bulk.way import Columns, Way, binder, column_names

_QUICKER: dict[type, Callable[[Any], Any]] = {
    sqlite.DATE: datetime.date.isoformat,
    sqlite.DATETIME: lambda value: value.isoformat(" ", "microseconds"),
    sqlite.TIME: lambda value: value.isoformat("microseconds"),
}
_BITS = {True: 1, False: 0}


class IntoSQLite(Way):
    """Prepared statements."""

    def write(self, table: sa.Table, columns: Columns, data: Sequence[Values], positions: Sequence[int]) -> None:
        """As the base class."""
        if not columns:
            super().write(table, columns, data, positions)
            return
        dialect = self._connection.dialect
        name = dialect.identifier_preparer.format_table(table)
        marks = ", ".join("?" * len(columns))
        statement = f"INSERT INTO {name} ({column_names(columns, dialect)}) VALUES ({marks})"  # noqa: S608 - quoted
        values = [_bound(column, some, dialect) for column, some in zip(columns, data, strict=True)]
        rows = zip(*values, strict=True)
        told = Rows(self._connection, table, columns, data, positions)
        with told.in_words(), self.driver() as driver:
            try:
                driver.executemany(statement, rows)
            except sqlite3.Error:
                told.failed = len(positions) - sum(1 for _ in rows) - 1
                raise

    def stores_null(self, column: sa.Column[Any]) -> bool:
        """As the base class."""
        return True

    def write_for_ids(
        self, table: sa.Table, columns: Columns, data: Sequence[Values], positions: Sequence[int], key: sa.Column[Any]
    ) -> Values:
        """As the base class; nobody else can write meanwhile, so the next ids are known."""
        with self.driver():
            pass
        highest = self._connection.scalar(sa.select(sa.func.max(key))) or 0
        if table.dialect_options["sqlite"]["autoincrement"]:
            used = sa.text("SELECT seq FROM sqlite_sequence WHERE name = :name")
            highest = max(highest, self._connection.scalar(used, {"name": table.name}) or 0)
        ids = list(range(highest + 1, highest + 1 + len(positions)))
        self.write(table, [key, *columns], [ids, *data], positions)
        return ids


def _bound(column: sa.Column[Any], values: Values, dialect: sa.Dialect) -> Values:
    kind = column.type.dialect_impl(dialect)
    if isinstance(kind, sa.Boolean):
        return list(map(_BITS.get, values))
    if isinstance(kind, sa.Float):
        return values
    for base, quicker in _QUICKER.items():
        if isinstance(kind, base) and kind._storage_format == base._storage_format:  # type: ignore[attr-defined]
            known: dict[Any, Any] = {value: quicker(value) for value in set(values) if value is not None}
            return list(map(known.get, values))
    convert = binder(column, dialect)
    return values if convert is None else convert(values)
