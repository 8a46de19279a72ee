"""How ozelot talks to SQLite: foreign keys, WAL, and write transactions that wait for their turn.

The driver is kept in autocommit mode, and the transaction begins where the first statement writes. So readers
never hold a lock, never change the file, and see what was committed last, as on PostgreSQL's READ COMMITTED;
and no transaction has to turn from reading to writing half-way, which SQLite refuses when another one wrote.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sqlalchemy import URL, event
from sqlalchemy.engine import Engine

from ozelot.statements import reads

log = logging.getLogger(__name__)

#: How long one call into SQLite waits for a lock: short where a Python loop goes on waiting, so that Ctrl-C works. With
#: a log (WAL), who reads does not wait.
_PATIENCE = "PRAGMA busy_timeout = 60000"
_IMPATIENCE = "PRAGMA busy_timeout = 1000"
#: Pages in the log before they are moved to the file, which waits for the disk: 32 MB, for many small commits.
_CHECKPOINT = "PRAGMA wal_autocheckpoint = 8000"
_WARN_AFTER = 5  # attempts of one second each


def file_of(url: URL) -> Path | None:
    """The file of an SQLite database; None for one in memory, or for another kind of database."""
    name = url.database
    if url.get_backend_name() != "sqlite" or not name or name == ":memory:" or "mode=memory" in str(url):
        return None
    if "uri" in url.query:
        return Path(unquote(name.removeprefix("file:").partition("?")[0]))
    return Path(name)


def is_in_memory(url: URL) -> bool:
    """Whether the database is an SQLite database that no other process can see."""
    return url.get_backend_name() == "sqlite" and file_of(url) is None


class Connection(sqlite3.Connection):
    """The driver's connection; it remembers that the journal mode is as it should be, and closes with its owner.

    The owner is an engine's pool, or a request cache. Both may be dropped as they are: SQLite's own connection closes
    then, too, but Python 3.13 warns where it does.
    """

    journal_is_known = False

    def __del__(self) -> None:
        try:  # noqa: SIM105 - while the interpreter ends, other modules may be gone
            self.close()
        except sqlite3.ProgrammingError:
            pass  # it was never open, or belongs to another thread: then SQLite closes it


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Open a file that this user may not write, also one in WAL mode that nobody has open.

    SQLite cannot open the latter by itself: it would have to create the ``-wal`` file. Without such a file there
    is nothing that could change under the reader, which is what ``immutable`` promises.
    """
    quoted = str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    still = "" if Path(f"{path}-wal").exists() else "&immutable=1"
    uri = f"file:{quoted}?mode=ro{still}"
    return sqlite3.connect(uri, uri=True, check_same_thread=False, factory=Connection)


def is_read_only(path: Path) -> bool:
    """Whether the file is there and this user may not write it, or may not create files beside it."""
    return path.is_file() and not (os.access(path, os.W_OK) and os.access(path.absolute().parent, os.W_OK))


def set_up(engine: Engine) -> None:
    """Make an SQLite engine follow the rules at the top of this file."""
    in_file = file_of(engine.url) is not None

    @event.listens_for(engine, "connect")
    def _configure(dbapi_connection: sqlite3.Connection, _record: object) -> None:
        dbapi_connection.isolation_level = None  # transactions are begun below, not guessed by the driver
        dbapi_connection.execute(_PATIENCE)
        dbapi_connection.execute("PRAGMA foreign_keys = ON")  # SQLite enforces them per connection, when asked
        if in_file:
            dbapi_connection.execute("PRAGMA synchronous = NORMAL")
            dbapi_connection.execute(_CHECKPOINT)

    @event.listens_for(engine, "before_cursor_execute")
    def _begin_where_it_writes(
        _conn: object,
        cursor: sqlite3.Cursor,
        statement: str,
        _parameters: object,
        _context: object,
        _many: bool,
    ) -> None:
        if not cursor.connection.in_transaction and not reads(statement):
            begin(cursor.connection)


def begin(connection: sqlite3.Connection) -> None:
    """Begin a write transaction, waiting for as long as another one holds the database."""
    attempts = 0
    while True:
        try:
            if not getattr(connection, "journal_is_known", False):
                _use_wal(connection)
            connection.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as exc:
            if not _is_busy(exc):
                raise
        attempts += 1
        if attempts % (12 * _WARN_AFTER) == _WARN_AFTER:
            log.warning(
                "Waiting for another transaction to end: it has been writing to the database for over %d s. "
                "Where this comes from a thread or process that run() started: it does not share the task's "
                "transaction, so let it return its results to run() instead of writing them itself",
                attempts,
            )


def _use_wal(connection: sqlite3.Connection) -> None:
    connection.execute(_IMPATIENCE)
    if connection.execute("PRAGMA journal_mode").fetchone()[0] not in ("wal", "memory", "off"):
        connection.execute("PRAGMA journal_mode = WAL")
    if isinstance(connection, Connection):
        connection.journal_is_known = True


def _is_busy(exc: sqlite3.OperationalError) -> bool:
    code: Any = getattr(exc, "sqlite_errorcode", 0)
    return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
