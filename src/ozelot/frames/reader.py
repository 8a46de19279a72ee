"""A query's result as Arrow record batches, by the quickest way that there is into the database that it asks.

The way must be the connection's own: a run sees its own rows nowhere else. So no ADBC and no connectorx, and on SQLite
for one more reason. Each brings an SQLite library of its own, and two of them in one process do not see each other's
locks: after the second one has closed the file, the log that the first one goes on writing to is gone, with all that it
commits (https://www.sqlite.org/howtocorrupt.html, 2.2.1).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import chain
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import event

from ozelot.db.joined_connection import JoinedConnection
from ozelot.errors import FrameError
from ozelot.frames import reader_mysql, reader_postgresql
from ozelot.frames.arrow_arrays import Column, Objects
from ozelot.frames.arrow_types import DatabaseType, columns_of, of_cursor

#: Rows that are fetched at a time: they stay in the processor's cache until they are columns. Twice as fast as 20,000.
_ROWS = 1000


def read(cursor: Any, columns: Sequence[Column]) -> Generator[pa.RecordBatch]:
    """The rest of a cursor, which is closed then."""
    names = [column.name for column in columns]
    row = 0
    with closing(cursor):
        while rows := cursor.fetchmany(_ROWS):
            arrays = [
                column.array(values, row) for column, values in zip(columns, zip(*rows, strict=True), strict=True)
            ]
            yield pa.RecordBatch.from_arrays(arrays, names=names)
            row += len(rows)


_OPTION = "ozelot_reading"


class Reading:
    """How one query is read.

    Attributes:
        columns: what its columns are.
        batches: its rows.
        taken: there are columns and batches.
    """

    def __init__(self, backend: str, *, whole: bool, joined: bool) -> None:
        self.columns: list[Column] = []
        self.batches: Iterator[pa.RecordBatch] = iter(())
        self.taken = False
        self._backend = backend
        self._objects = None if backend == "arrow" else Objects()
        self._whole = whole
        self._joined = joined
        self._source: Generator[pa.RecordBatch] | None = None

    def take(self, cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        """In the place of the driver's ``execute``: read the result in a better way, where there is one."""
        driver = _way(cursor, context)
        if driver is None:
            return False
        # Within a transaction others use the connection, too, and must not find it in the middle of a result.
        alone = self._whole or not self._joined
        typed = context.compiled is not None and bool(context.compiled._result_columns)
        if driver is reader_postgresql:
            return (alone and typed and self._copied(cursor, statement, parameters, context)) or (
                not self._whole and self._streamed(driver, cursor, statement, parameters, context)
            )
        return alone and (typed or not self._whole) and self._streamed(driver, cursor, statement, parameters, context)

    def _copied(self, cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        query = reader_postgresql.Query(cursor.connection, statement, parameters)
        columns = self._columns(context, query.types())
        if not columns or not all(column.in_text for column in columns):
            return False
        with suppress(pa.ArrowInvalid):  # what Arrow does not understand, the driver may
            self._start(query.read(columns), columns)
            return True
        return False

    def _streamed(self, driver: Any, cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        own = driver.streaming(cursor.connection)
        try:
            own.execute(statement, parameters)
            if driver is reader_mysql and own.description is not None:
                columns = self._columns(context, reader_mysql.types_of(own))
                if all(column.in_text for column in columns):
                    with suppress(pa.ArrowInvalid):
                        self._start(reader_mysql.read(own, columns), columns)
                        return True
                    return False
                self._start(read(own, columns), columns)
            else:
                self.by_value(own, context)
        except BaseException:
            own.close()
            raise
        return True

    def by_value(self, cursor: Any, context: Any) -> None:
        """Read what a cursor holds.

        Raises:
            FrameError: it holds nothing.
        """
        described = None if cursor is None else cursor.description
        if described is None:
            raise FrameError("The statement has no result to make a frame of: use a SELECT")
        columns = self._columns(context, of_cursor(context.dialect.name, described))
        self._start(read(cursor, columns), columns)

    def _columns(self, context: Any, types: list[DatabaseType]) -> list[Column]:
        return columns_of(context, types, self._objects, self._backend)

    def _start(self, source: Generator[pa.RecordBatch], columns: list[Column]) -> None:
        if self._whole:
            self.batches = iter(list(source))
        else:
            self._source = source
            self.batches = chain([first] if (first := next(source, None)) is not None else [], source)
        self.columns, self.taken = columns, True

    def close(self) -> None:
        """Leave the connection as it was, wherever the reader stopped."""
        if self._source is not None:
            self._source.close()


def _way(cursor: Any, context: Any) -> Any:
    """The module that knows more of the driver than its cursors do."""
    if context.dialect.name == "postgresql" and context.dialect.driver == "psycopg":
        return reader_postgresql
    if context.dialect.name in ("mysql", "mariadb") and reader_mysql.can_read(cursor.connection):
        return reader_mysql
    return None


@contextmanager
def reading(engine: sa.Engine, statement: sa.Executable, backend: str, *, whole: bool) -> Iterator[Reading]:
    """The result of a statement; inside an open transaction, as that sees it.

    Args:
        engine: of a client.
        statement: what to execute.
        backend: of the frame.
        whole: all of it is read at once; else it is read while it is used.

    Raises:
        FrameError: the statement has no result, or one that does not fit the types of its columns.
    """
    if not event.contains(engine, "do_execute", _take):
        event.listen(engine, "do_execute", _take)
    with engine.connect() as connection:
        found = Reading(backend, whole=whole, joined=isinstance(connection.connection, JoinedConnection))
        try:
            result = connection.execute(statement, execution_options={_OPTION: found})
            if not found.taken:
                found.by_value(result.cursor, result.context)
            yield found
        except pa.ArrowInvalid as exc:
            raise FrameError(
                f"A later row holds what the rows before it did not: {exc}. Ask for the whole frame"
            ) from exc
        finally:
            found.close()


def _take(cursor: Any, statement: str, parameters: Any, context: Any) -> bool | None:
    wanted: Reading | None = context.execution_options.get(_OPTION)
    return wanted.take(cursor, statement, parameters, context) if wanted is not None else None
