"""Into PostgreSQL: COPY by psycopg 3 on the session's own connection."""

from __future__ import annotations

import json
import uuid
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.exc import DataError, IntegrityError

from ozelot.db.joined_connection import count_written
from ozelot.db.sql_analysis import Target
from ozelot.load.database_errors import line_of_copy, refused, said_by
from ozelot.load.writer import Columns, Converter, Way, column_names, table_name, unbound
from ozelot.values.column_rule import Values

_OF_VALUES = (TypeError, ValueError, OverflowError)  # what psycopg raises for values, beside its own errors

#: Types whose binary form psycopg writes in C, from Python's own values, exactly.
_BINARY = {
    "int2", "int4", "int8", "float4", "float8", "numeric", "bool", "text", "varchar", "date", "time", "timestamp",
    "timestamptz", "interval", "bytea", "uuid", "json", "jsonb",
}  # fmt: skip

#: Parts of a COPY of which it is known where their rows were; the server is not much further behind.
_REMEMBERED = 100

_TYPES = (
    "SELECT a.attname, CASE WHEN t.typtype = 'e' OR t.typname = 'bpchar' THEN 'text' "  # of the same binary form
    "WHEN n.nspname = 'pg_catalog' THEN t.typname ELSE '' END "
    "FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace n ON n.oid = t.typnamespace "
    "WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped"
)


class IntoPostgreSQL(Way):
    """COPY, which goes on for as long as rows are at hand: the server works while the next ones are made ready."""

    at_hand = 5
    makes_sql = False

    def __init__(self, session: orm.Session, targets: Collection[Target]) -> None:
        super().__init__(session, targets)
        self._copying: tuple[sa.Column[Any], ...] = ()
        self._stack = ExitStack()
        self._write_row: Any = None
        self._lines = 0
        self._recent: deque[tuple[int, Sequence[int]]] = deque(maxlen=_REMEMBERED)

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """As the base class."""
        self._stack.__exit__(kind, exc, tb)

    def write(self, table: sa.Table, columns: Columns, data: Sequence[Values], positions: Sequence[int]) -> None:
        """As the base class."""
        if not columns:
            self.finish()
            super().write(table, columns, data, positions)
            return
        values = self._bound(columns, data, positions)
        if self._copying != tuple(columns):
            self.finish()
            self._begin(table, columns)
        self._recent.append((self._lines, positions))
        self._lines += len(positions)
        rows = iter(zip(*values, strict=True))
        try:
            deque(map(self._write_row, rows), maxlen=0)
        except (*_OF_VALUES, self._dialect.loaded_dbapi.ProgrammingError) as exc:
            place = len(positions) - sum(1 for _ in rows) - 1
            raise self._not_written(table, columns, [value[place] for value in values], positions[place], exc) from exc
        count_written(self._connection, table.fullname, len(positions))

    def _converter(self, column: sa.Column[Any]) -> Converter | None:
        if isinstance(column.type, sa.Uuid) and not column.type.as_uuid and column.type.native_uuid:
            # The binary form of a UUID is made of the object.
            return lambda values: [None if value is None else uuid.UUID(value) for value in values]
        return super()._converter(column)

    def _not_written(
        self, table: sa.Table, columns: Columns, row: Sequence[Any], position: int, exc: Exception
    ) -> Exception:
        """The error for a row that the driver does not take."""
        for column, value in zip(columns, row, strict=True):
            if isinstance(column.type, sa.JSON):
                found = unbound(column, [value], [position], lambda values: list(map(json.dumps, values)), exc)
                if found is not exc:
                    return found
        return refused(table, str(exc), position)

    def _begin(self, table: sa.Table, columns: Columns) -> None:
        name = table_name(table, self._dialect)
        known = dict(self._ask(_TYPES, name))
        types = [known.get(column.name, "") for column in columns]
        # What SQLAlchemy takes for text may be JSON to the database: psycopg would make it a JSON string.
        binary = _BINARY.issuperset(types) and all(
            isinstance(column.type, sa.JSON) == kind.startswith("json")
            for column, kind in zip(columns, types, strict=True)
        )
        form = " (FORMAT BINARY)" if binary else ""
        statement = f"COPY {name} ({column_names(columns, self._dialect)}) FROM STDIN{form}"
        self._copying, self._lines = tuple(columns), 0
        self._recent.clear()
        self._stack.enter_context(self._in_words(table))
        driver = self._stack.enter_context(self.driver())
        copy = self._stack.enter_context(self._stack.enter_context(driver.cursor()).copy(statement))
        if binary:
            copy.set_types(types)
        self._write_row = copy.write_row

    @contextmanager
    def _in_words(self, table: sa.Table) -> Iterator[None]:
        try:
            yield
        except (IntegrityError, DataError) as exc:
            line = line_of_copy(exc)
            found = [
                rows[line - 1 - before] for before, rows in self._recent if line and 0 < line - before <= len(rows)
            ]
            raise refused(table, said_by(exc), found[0] if found else None) from exc

    def finish(self) -> None:
        """As the base class."""
        self._copying = ()
        self._stack.close()

    def write_for_ids(
        self, table: sa.Table, columns: Columns, data: Sequence[Values], positions: Sequence[int], key: sa.Column[Any]
    ) -> Values:
        """As the base class; the sequence gives the ids beforehand."""
        sequence = self._sequence(key)
        if sequence is None:
            return super().write_for_ids(table, columns, data, positions, key)
        numbers = self._ask("SELECT nextval(%s::regclass) FROM generate_series(1, %s)", sequence, len(positions))
        ids = [number for (number,) in numbers]
        self.write(table, [key, *columns], [ids, *data], positions)
        self.finish()
        return ids

    def after_given(self, key: sa.Column[Any], highest: int) -> None:
        """As the base class."""
        sequence = self._sequence(key)
        if sequence is not None:
            # Never backwards: where others took higher numbers, it stays as it is.
            self._ask(
                f"SELECT setval(%s::regclass, %s) FROM {sequence.replace('%', '%%')} "  # noqa: S608 - quoted by the server
                "WHERE last_value < %s OR (last_value = %s AND NOT is_called)",
                *(sequence, highest, highest, highest),
            )

    def _sequence(self, key: sa.Column[Any]) -> str | None:
        table = table_name(key.table, self._dialect)
        found: str | None = self._ask("SELECT pg_get_serial_sequence(%s, %s)", table, key.name)[0][0]
        return found

    def _ask(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        # Past SQLAlchemy: of text that it is given, nobody could tell that it writes nothing else.
        with self.driver() as driver:
            return list(driver.execute(query, values).fetchall())
