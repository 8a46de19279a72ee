"""A client that only reads, and never for long: so a page that is open neither changes data nor holds up a run."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ozelot.client import Client
from ozelot.errors import OzelotError

_STEPS = 10_000  # of SQLite's machine, from one look at the clock to the next


class TakesTooLong(OzelotError):
    """The database was stopped, as it took longer to answer than a page may."""


def make_read_only(database: Client, seconds: float) -> None:
    """Have all connections of a client refuse to write, and end each statement that takes longer.

    Args:
        database: a client that has not connected yet, and is used for nothing else.
        seconds: the limit for one statement.
    """
    dialect = database.engine.dialect.name
    database.engine.dispose()

    @sa.event.listens_for(database.engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        if dialect == "sqlite":
            connection.execute("PRAGMA query_only = ON")
            return
        cursor = connection.cursor()
        if dialect == "postgresql":
            cursor.execute("SET default_transaction_read_only = on")
            cursor.execute(f"SET statement_timeout = {int(seconds * 1000)}")
            connection.commit()
        else:
            cursor.execute("SET SESSION TRANSACTION READ ONLY")
            cursor.execute(f"SET SESSION max_statement_time = {seconds}")
        cursor.close()

    if dialect == "sqlite":

        @sa.event.listens_for(database.engine, "before_cursor_execute")
        def _limit(_connection: object, cursor: sqlite3.Cursor, *_: object) -> None:
            end = time.monotonic() + seconds
            cursor.connection.set_progress_handler(lambda: int(time.monotonic() > end), _STEPS)


@contextmanager
def within_the_limit() -> Iterator[None]:
    """Say in one line that the database was stopped, where it was.

    Raises:
        TakesTooLong: it was.
    """
    try:
        yield
    except DBAPIError as exc:
        said = str(exc.orig)
        if any(sign in said for sign in ("interrupted", "statement timeout", "max_statement_time")):
            raise TakesTooLong("The database takes too long to answer this for a page that is looked at") from None
        raise
