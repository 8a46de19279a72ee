"""Into SQLite: one prepared statement on the session's own connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa

from ozelot.db.joined_connection import count_written
from ozelot.load.database_errors import Rows, refused
from ozelot.load.writer import Columns, Converter, Way, column_names, table_name
from ozelot.values.checked_types import conversion
from ozelot.values.column_rule import Values

_CACHE = -65_536  # kilobytes of pages, as SQLite wants it said
_MANY = 100_000  # texts that are remembered
_BITS = {True: 1, False: 0}


class _Texts(dict[Any, str | None]):
    """Texts of dates and times; the same ones come again and again."""

    def __init__(self, text_of: Callable[[Any], str]) -> None:
        super().__init__({None: None})
        self._text_of = text_of

    def __missing__(self, value: Any) -> str:
        if len(self) > _MANY:
            self.clear()
            self[None] = None
        text = self[value] = self._text_of(value)
        return text


class IntoSQLite(Way):
    """Prepared statements, and more pages in memory: with SQLite's 2 MB an index of a million rows halves the speed."""

    makes_sql = False
    _kept: tuple[sqlite3.Connection, int] | None = None

    def __enter__(self) -> Self:
        with self.driver() as driver:
            (pages,) = driver.execute("PRAGMA cache_size").fetchone()  # negative: kilobytes
            if _CACHE < pages < -_CACHE // 4:
                driver.execute(f"PRAGMA cache_size = {_CACHE}")
                self._kept = driver, pages
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """As the base class."""
        if self._kept is not None:
            driver, pages = self._kept
            with suppress(sqlite3.Error):  # of a connection that broke
                driver.execute(f"PRAGMA cache_size = {pages}")

    def write(self, table: sa.Table, columns: Columns, data: Sequence[Values], positions: Sequence[int]) -> None:
        """As the base class."""
        if not columns:
            super().write(table, columns, data, positions)
            return
        name = table_name(table, self._dialect)
        marks = ", ".join("?" * len(columns))
        statement = f"INSERT INTO {name} ({column_names(columns, self._dialect)}) VALUES ({marks})"  # noqa: S608 - quoted
        rows = zip(*self._bound(columns, data, positions), strict=True)
        told = Rows(self._connection, table, columns, data, positions)
        with told.in_words(), self.driver() as driver:
            try:
                driver.executemany(statement, rows)
            except (sqlite3.Error, OverflowError, UnicodeError) as exc:
                told.failed = len(positions) - sum(1 for _ in rows) - 1
                if isinstance(exc, sqlite3.Error) and not isinstance(
                    exc, sqlite3.InterfaceError | sqlite3.ProgrammingError
                ):
                    raise
                raise refused(table, str(exc), positions[told.failed]) from exc
        count_written(self._connection, table.fullname, len(positions))

    def _converter(self, column: sa.Column[Any]) -> Converter | None:
        kind: Any = column.type.dialect_impl(self._dialect)
        if isinstance(kind, sa.Boolean):
            return lambda values: list(map(_BITS.get, values))
        if isinstance(kind, sa.Float):
            return None
        text_of = conversion(column.type, self._dialect)
        # Python compares instants of one zone by the clock, which shows some hours twice.
        is_instant = isinstance(kind, sa.DateTime) and kind.timezone
        if text_of is not None and isinstance(kind, sa.Date | sa.DateTime | sa.Time) and not is_instant:
            known = _Texts(text_of)
            return lambda values: list(map(known.__getitem__, values))
        return super()._converter(column)

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
