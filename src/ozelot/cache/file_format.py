"""The file of a request cache: how it is laid out, and whether a file is one.

A file may come from a stranger. So it must look exactly as this package would make it, before a single row is read:
no trigger, view, or generated column is there to do anything; and nothing in it is ever unpickled.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import NamedTuple

from ozelot.db import sqlite_file
from ozelot.errors import ConfigError

APPLICATION_ID = 0x6F7A6C63  # "ozlc": says to tools such as file(1) whose SQLite file it is
VERSION = 1

TABLE = """CREATE TABLE cached_page (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,
    address BLOB NOT NULL,
    url TEXT NOT NULL,
    method TEXT NOT NULL,
    xpath TEXT,
    status INTEGER NOT NULL,
    fetched REAL NOT NULL,
    checked REAL NOT NULL,
    final_url TEXT,
    redirects TEXT NOT NULL,
    headers TEXT NOT NULL,
    encoding TEXT NOT NULL,
    hash BLOB NOT NULL,
    size INTEGER NOT NULL,
    body BLOB NOT NULL
)"""
INDEX = "CREATE INDEX ix_cached_page_address ON cached_page (address)"

_OF_0_2 = {"id", "url", "xpath", "content", "status_code", "queried_on"}
_BUSY = 60.0  # seconds to wait for another process that is storing


class Holds(NamedTuple):
    """What a file holds: pages as laid out above, pages of ozelot 0.2, or both."""

    pages: bool
    of_0_2: bool


def refused(path: Path, why: str) -> ConfigError:
    """The error for a file that is left as it is."""
    return ConfigError(f"{path} {why}: name another file in REQUEST_CACHE_PATH; this one was left as it is")


def damaged(path: Path, why: object) -> ConfigError:
    """The error for a file that is a request cache, or was one."""
    return refused(path, f"is no request cache, or damaged ({why})")


def connect(path: Path) -> tuple[sqlite3.Connection, Holds]:
    """Open a file; nothing is written to it.

    Raises:
        ConfigError: it is no request cache, a damaged one, or one of a newer ozelot.
    """
    if path.is_dir():
        raise ConfigError(f"The request cache {path} is a folder: name a file in REQUEST_CACHE_PATH")
    # SQLite itself looks whether the file was cut off. To open it by other means would drop the locks that all
    # connections of this process have on it, as POSIX wants it.
    connection = None
    try:
        if sqlite_file.is_read_only(path):
            connection = sqlite_file.connect_read_only(path)
        else:
            connection = sqlite3.connect(
                path, timeout=_BUSY, check_same_thread=False, isolation_level=None, factory=sqlite_file.Connection
            )
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        return connection, look(connection, path)
    except sqlite3.Error as exc:
        if connection is not None:
            connection.close()
        if getattr(exc, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CANTOPEN:
            raise ConfigError(
                f"Cannot open the request cache {path} ({exc}): name another file in REQUEST_CACHE_PATH"
            ) from exc
        raise damaged(path, exc) from exc
    except ConfigError:
        if connection is not None:
            connection.close()
        raise


def look(connection: sqlite3.Connection, path: Path) -> Holds:
    """What is in an open file.

    Raises:
        ConfigError: as :func:`connect`.
    """
    connection.execute("BEGIN")  # another process may be laying it out right now: all of that is seen, or nothing
    try:
        ((owner,),) = connection.execute("PRAGMA application_id")
        ((version,),) = connection.execute("PRAGMA user_version")
        schema = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
    finally:
        connection.execute("ROLLBACK")
    kinds = {name: (kind, sql) for kind, name, _, sql in schema}
    if owner == APPLICATION_ID and version > VERSION:
        raise refused(
            path, f"was made by a newer ozelot (layout {version}; this one knows {VERSION}). Update ozelot, or else"
        )
    ours = {"cached_page", "cachedrequest"} & kinds.keys()
    if any(kind == "trigger" and table in ours for kind, _, table, _ in schema):
        raise damaged(path, "it holds a trigger, which no request cache does")
    if schema and not ours:
        raise refused(path, f"is no request cache (there is {', '.join(sorted(kinds))[:100]})")
    if owner not in (0, APPLICATION_ID):
        raise refused(path, "is no request cache (another program made it)")
    if "cached_page" in ours and (owner != APPLICATION_ID or kinds["cached_page"] != ("table", TABLE)):
        raise damaged(path, "the table cached_page is not as ozelot makes it")
    if "cachedrequest" in ours:
        columns = {
            name for _, name, *_, hidden in connection.execute("PRAGMA table_xinfo(cachedrequest)") if not hidden
        }
        if kinds["cachedrequest"][0] != "table" or not columns >= _OF_0_2:
            raise refused(path, "is no request cache (the table cachedrequest is not as ozelot 0.2 made it)")
    return Holds("cached_page" in ours, "cachedrequest" in ours)


def create(connection: sqlite3.Connection) -> None:
    """Lay out a file, where another process has not done so: in a transaction, which the caller commits."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'cached_page'").fetchone():
        connection.execute(TABLE)
        connection.execute(INDEX)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
