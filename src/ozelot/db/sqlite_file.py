"""How ozelot talks to SQLite: foreign keys, WAL, and write transactions that wait for their turn.

The driver is kept in autocommit mode, and the transaction begins where the first statement writes. So readers
never hold a lock, never change the file, and see what was committed last, as on PostgreSQL's READ COMMITTED;
and no transaction has to turn from reading to writing half-way, which SQLite refuses when another one wrote.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit
from weakref import WeakValueDictionary

import sqlalchemy as sa
from sqlalchemy import URL, event
from sqlalchemy.engine import Engine, ExceptionContext

from ozelot.db.sql_analysis import reads
from ozelot.errors import DatabaseFileError

log = logging.getLogger(__name__)

#: How long one call into SQLite waits for a lock: short where a Python loop goes on waiting, so that Ctrl-C works. With
#: a log (WAL), who reads does not wait.
_PATIENCE = "PRAGMA busy_timeout = 60000"
_IMPATIENCE = "PRAGMA busy_timeout = 1000"
#: Pages in the log before they are moved to the file, which waits for the disk: 32 MB, for many small commits.
_CHECKPOINT = "PRAGMA wal_autocheckpoint = 8000"
_WARN_AFTER = 5  # attempts of one second each

#: Where the pool's record of a connection has the path of the file, as SQLite resolved it; empty in memory.
FILE = "ozelot_sqlite_file"

Identity: TypeAlias = tuple[int, int]  # device and inode

#: The connections of this process.
_open: WeakValueDictionary[int, Connection] = WeakValueDictionary()


def file_of(url: URL) -> Path | None:
    """The file of an SQLite database; None for one in memory, or for another kind of database."""
    name = url.database
    if url.get_backend_name() != "sqlite" or not name or name == ":memory:":
        return None
    if "uri" in url.query and name.startswith("file:"):
        name = unquote(urlsplit(name).path)
        return None if url.query.get("mode") == "memory" or name in ("", ":memory:") else Path(name)
    return Path(name)


def resolved(path: Path) -> Path:
    """Where a file is when all symbolic links are followed; there SQLite keeps its log, and ozelot its lock file."""
    return Path(os.path.realpath(path))


def identity(path: str | os.PathLike[str]) -> Identity | None:
    """Device and inode of a file; None where there is none. The file is not opened."""
    try:
        found = os.stat(path)  # noqa: PTH116 - at every commit
    except OSError:
        return None
    return found.st_dev, found.st_ino


def open_files() -> set[str]:
    """The paths of the databases that this process has open, links resolved."""
    return {connection.path for connection in _connections() if connection.path}


def _connections() -> list[Connection]:
    return [connection for found in _open.valuerefs() if (connection := found()) is not None]


def is_in_memory(url: URL) -> bool:
    """Whether the database is an SQLite database that no other process can see."""
    return url.get_backend_name() == "sqlite" and file_of(url) is None


class Connection(sqlite3.Connection):
    """The driver's connection; it remembers that the journal mode is as it should be, and closes with its owner.

    The owner is an engine's pool, or a request cache. Both may be dropped as they are: SQLite's own connection closes
    then, too, but Python 3.13 warns where it does.
    """

    journal_is_known = False
    is_abandoned = False
    checks_later = False  # whether somebody calls check() after several commits: to look takes longer than to commit
    path = ""
    _log_path = ""
    _file: Identity | None = None
    _log: Identity | None = None  # the -wal that it has open; None until it writes to one

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.text_factory = os.fsdecode  # file names may be no UTF-8
        self.path = self.execute("PRAGMA database_list").fetchone()[2]
        self.text_factory = str
        self._file = identity(self.path)
        self._log_path = f"{self.path}-wal"
        _open[id(self)] = self

    def close(self) -> None:
        """Close it."""
        _open.pop(id(self), None)
        if not self.is_abandoned:
            super().close()

    def note_log(self) -> None:
        """Remember which log it has open, once it has begun to write."""
        if self._log is None and self.path:
            self._log = identity(self._log_path)

    def commit(self) -> None:
        """Commit, and make sure that others see it.

        Raises:
            DatabaseFileError: it went into a file that is not there any more.
        """
        wrote = self.in_transaction
        super().commit()
        if wrote and self.path and not self.checks_later:
            self.check()

    def check(self) -> None:
        """Make sure that what was committed is where others see it.

        Raises:
            DatabaseFileError: it went into a file that is not there any more.
        """
        check_same(self.path, self._file)
        # SQLite deletes the log when nobody has the database open, as it believes where the locks are gone.
        if self._log is not None and identity(self._log_path) != self._log:
            if self.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                self._log = None
                return
            _abandon(self.path)
            raise DatabaseFileError(
                f"The log {self._log_path} was deleted or replaced while it was in use: what was written since may be "
                "lost. This happens when a task opens a file of the database itself, which releases the locks of the "
                "whole process. Read a copy instead (sqlite3 FILE '.backup COPY'), and run again in a new process"
            )

    def __del__(self) -> None:
        try:  # noqa: SIM105 - while the interpreter ends, other modules may be gone
            self.close()
        except sqlite3.ProgrammingError:
            pass  # it was never open, or belongs to another thread: then SQLite closes it


@contextmanager
def checked_at_end(connection: sa.Connection) -> Iterator[None]:
    """Make sure once, after all commits of the block, that others see what was committed; not after each.

    Raises:
        DatabaseFileError: it went into a file that is not there any more.
    """
    driver = connection.connection.driver_connection
    if not isinstance(driver, Connection):
        yield
        return
    driver.checks_later = True
    try:
        yield
    finally:
        driver.checks_later = False
    if driver.path:
        driver.check()


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Open a file that this user may not write, also one in WAL mode that nobody has open.

    SQLite cannot open the latter by itself: it would have to create the ``-wal`` file. Without such a file there
    is nothing that could change under the reader, which is what ``immutable`` promises.
    """
    path = resolved(path)
    quoted = str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    still = "" if Path(f"{path}-wal").exists() else "&immutable=1"
    uri = f"file:{quoted}?mode=ro{still}"
    return sqlite3.connect(uri, uri=True, check_same_thread=False, factory=Connection)


def is_read_only(path: Path) -> bool:
    """Whether the file is there and this user may not write it, or may not create files beside it."""
    return path.is_file() and not (os.access(path, os.W_OK) and os.access(resolved(path).parent, os.W_OK))


def in_use(url: URL) -> tuple[str, Identity | None]:
    """The path of the file of a database, links resolved, and which file that is now."""
    path = file_of(url)
    found = "" if path is None else str(resolved(path))
    return found, identity(found) if found else None


def has_several_names(path: str) -> bool:
    """Whether a file has hard links, under which others may use it unseen."""
    try:
        return os.stat(path).st_nlink > 1  # noqa: PTH116
    except OSError:
        return False


def check_same(path: str, before: Identity | None) -> None:
    """Make sure that a file is the one that it was.

    Raises:
        DatabaseFileError: it is gone, or it is another one.
    """
    if before is not None and (now := identity(path)) != before:
        # SQLite leaves the log of a file that is not in its place any more, and would read it into the next one.
        what, how = ("replaced by another file", f"Delete {path}-wal, which belonged to the one before")
        if now is None:
            what, how = "deleted or moved", f"Put it back, or delete {path}-wal, too"
        raise DatabaseFileError(
            f"The database {path} was {what} while it was in use: what was written since may be lost. {how}; and run "
            "again in a new process"
        )


def _abandon(path: str) -> None:
    """Leave connections open until the process ends, as their log was deleted.

    The last one that closes would copy what is in that log over what other processes wrote since.
    """
    import ctypes  # takes a while, and is for this alone

    for connection in _connections():
        if connection.path == path and not connection.is_abandoned:
            connection.is_abandoned = True
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))  # else the end of the interpreter closes it


def set_up(engine: Engine) -> None:
    """Make an SQLite engine follow the rules at the top of this file."""
    in_file = file_of(engine.url) is not None

    @event.listens_for(engine, "connect")
    def _configure(dbapi_connection: sqlite3.Connection, record: Any) -> None:
        record.info[FILE] = getattr(dbapi_connection, "path", "")
        dbapi_connection.isolation_level = None  # transactions are begun below, not guessed by the driver
        dbapi_connection.execute(_PATIENCE)
        dbapi_connection.execute("PRAGMA foreign_keys = ON")  # SQLite enforces them per connection, when asked
        if in_file:
            dbapi_connection.execute("PRAGMA synchronous = NORMAL")
            dbapi_connection.execute(_CHECKPOINT)

    @event.listens_for(engine, "handle_error")
    def _unwrapped(context: ExceptionContext) -> BaseException | None:
        found = context.original_exception
        # A new one: SQLAlchemy raises it "from" the original, which must not be its own cause.
        return DatabaseFileError(str(found)) if isinstance(found, DatabaseFileError) else None

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
            if isinstance(connection, Connection):
                connection.note_log()
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
    path = getattr(connection, "path", "")
    if has_several_names(path):
        raise DatabaseFileError(
            f"The database {path} has a second name (a hard link), and SQLite keeps a log of its own for each name, so "
            f"that rows are lost. Delete the other name, or make a copy and use that: sqlite3 {path} '.backup COPY'"
        )
    connection.execute(_IMPATIENCE)
    if connection.execute("PRAGMA journal_mode").fetchone()[0] not in ("wal", "memory", "off"):
        connection.execute("PRAGMA journal_mode = WAL")
    if isinstance(connection, Connection):
        connection.journal_is_known = True


def _is_busy(exc: sqlite3.OperationalError) -> bool:
    code: Any = getattr(exc, "sqlite_errorcode", 0)
    return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
