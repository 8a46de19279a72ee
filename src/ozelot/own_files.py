"""The files of the database itself, which nothing may open as files.

POSIX releases all locks that a process has on a file as soon as the process closes the file, however it was opened.
Without them, another process takes the SQLite database for unused and deletes its log, with what was committed since.
"""

from __future__ import annotations

import os
from typing import TypeAlias

from ozelot import client, sqlite
from ozelot.errors import ConfigError

_SUFFIXES = ("", "-wal", "-shm", "-journal", "-claims")

OwnFiles: TypeAlias = dict[str | sqlite.Identity, str]


def own_files() -> OwnFiles:
    """The databases that this process uses, by the path of each of their files and, where it exists, its identity."""
    databases = sqlite.open_files()
    current = client.current_client()
    if current is not None and (configured := sqlite.file_of(current.engine.url)) is not None:
        databases.add(str(sqlite.resolved(configured)))
    found: OwnFiles = {}
    for database in databases:
        for suffix in _SUFFIXES:
            path = f"{database}{suffix}"
            found[path] = database
            if (there := sqlite.identity(path)) is not None:
                found[there] = database
    return found


def refuse_own_file(path: str | os.PathLike[str], user: str, own: OwnFiles | None = None) -> None:
    """Make sure that a file which is about to be opened is none of an SQLite database in use.

    Args:
        path: of the file, which need not exist.
        user: what opens it, for the message.
        own: what :func:`own_files` returns.

    Raises:
        ConfigError: it is one.
    """
    own = own_files() if own is None else own
    database = own.get(sqlite.identity(path) or os.path.realpath(path)) if own else None
    if database is not None:
        name = user.removesuffix(" {}")
        raise ConfigError(
            f"{name}: {os.fspath(path)} is a file of the database in use. Opening it as a file would release the "
            f"database's locks and lose rows. Name another file; for a copy, use: sqlite3 {database} '.backup COPY'"
        )
