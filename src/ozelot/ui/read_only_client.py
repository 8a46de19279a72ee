"""A client that only reads, and never for long: so a page that is open neither changes data nor holds up a run."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, DisconnectionError

from ozelot.client import Client
from ozelot.db import sqlite_file
from ozelot.db.time_limit import TakesTooLong as TakesTooLong
from ozelot.db.time_limit import is_over_the_limit, limit_statements


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
            connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
        elif dialect != "postgresql":
            cursor = connection.cursor()
            cursor.execute("SET SESSION TRANSACTION READ ONLY")
            cursor.close()

    if dialect == "postgresql":

        @sa.event.listens_for(database.engine, "begin")
        def _begin(connection: sa.Connection) -> None:
            # For the transaction: behind a pooler, what is set for the session would hold for other clients.
            connection.execute(sa.text("SET TRANSACTION READ ONLY"))

    limit_statements(database.engine, seconds)
    if dialect == "sqlite":
        _follow_the_file(database)


@contextmanager
def within_the_limit() -> Iterator[None]:
    """Say in one line that the database was stopped, where it was.

    Raises:
        TakesTooLong: it was.
    """
    try:
        yield
    except DBAPIError as exc:
        if is_over_the_limit(exc.orig):
            raise TakesTooLong("The database takes too long to answer this for a page that is looked at") from None
        raise


def _follow_the_file(database: Client) -> None:
    """Never make the file where it is gone, and connect anew where another one has taken its place."""
    path = sqlite_file.file_of(database.url)
    if path is None:
        return

    @sa.event.listens_for(database.engine, "do_connect")
    def _make_none(_dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]) -> None:
        if not path.exists():
            raise sqlite3.OperationalError("the file is gone")
        if "uri" not in database.url.query:
            arguments[0] = f"{path.absolute().as_uri()}?mode=rw"
            options["uri"] = True

    @sa.event.listens_for(database.engine, "connect")
    def _note(_connection: object, record: Any) -> None:
        record.info["file"] = _identity(path)

    @sa.event.listens_for(database.engine, "checkout")
    def _compare(_connection: object, record: Any, _proxy: object) -> None:
        if record.info.get("file") != _identity(path):
            raise DisconnectionError("another file has taken the place of the database")


def _identity(path: Path) -> tuple[object, ...] | None:
    """What is another one where the file is; also after each change, where SQLite was promised that there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    same: tuple[object, ...] = (found.st_dev, found.st_ino)
    if not sqlite_file.is_read_only(path):
        return same
    return *same, found.st_mtime_ns, found.st_size, Path(f"{sqlite_file.resolved(path)}-wal").exists()
