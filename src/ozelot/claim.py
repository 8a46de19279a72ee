"""Claims: of several runners that want the same task, one goes first and the others wait.

A claim dies with its holder, whatever happens to it. It saves double work and clashing inserts; that a task's
rows are there once is decided by the unique index on the markers, also where claims are not to be had.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError

from ozelot import sqlite

try:
    import fcntl
except ImportError:  # Windows: no locks on byte ranges in the standard library
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

_POLL = 0.02  # seconds between two looks at a claimed byte
_FOREVER = 365 * 24 * 3600  # seconds; MariaDB takes no "without end"


@contextmanager
def claimed(connection: Connection, name: str) -> Iterator[None]:
    """Hold the claim of that name; waits for as long as another runner holds it.

    On PostgreSQL the claim ends with the transaction of ``connection``, so the block should end with it too.
    """
    dialect = connection.dialect.name
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
    if dialect == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(number)))
        yield
    elif dialect in ("mysql", "mariadb"):
        lock = f"ozelot:{number:x}:{hashlib.sha256(str(connection.engine.url.database).encode()).hexdigest()[:16]}"
        connection.execute(select(func.get_lock(lock, _FOREVER)))
        try:
            yield
        finally:
            with suppress(DBAPIError):  # a broken connection has lost the lock already
                connection.execute(select(func.release_lock(lock)))
                connection.rollback()
    elif (path := sqlite.file_of(connection.engine.url)) is not None:
        with _byte_lock(Path(f"{path.absolute()}-claims"), number & 0x3FFF_FFFF_FFFF_FFFF):
            yield
    else:
        yield


#: One open file a process and database: closing any handle of a file drops all POSIX locks on it.
_files: dict[tuple[int, Path], int] = {}
#: POSIX locks are a process's; its threads are kept apart here.
_held: set[tuple[int, Path, int]] = set()
_guard = threading.Lock()


def _after_fork() -> None:
    global _guard
    _guard = threading.Lock()  # another thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def _byte_lock(path: Path, offset: int) -> Iterator[None]:
    if fcntl is None:
        yield
        return
    held = (os.getpid(), path, offset)
    waited = False
    while not _take(held):
        if not waited:
            log.info("Waiting for another runner of the same task")
            waited = True
        time.sleep(_POLL)
    try:
        yield
    finally:
        with _guard:
            if (fd := _files.get(held[:2])) is not None and held in _held:
                fcntl.lockf(fd, fcntl.LOCK_UN, 1, offset)
            _held.discard(held)


def _take(held: tuple[int, Path, int]) -> bool:
    _, path, offset = held
    with _guard:
        if held in _held:
            return False
        try:
            if held[:2] not in _files:
                _files[held[:2]] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            fcntl.lockf(_files[held[:2]], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
        except BlockingIOError:
            return False
        except OSError as exc:  # a file system without locks; see the top of this file
            log.debug("No claims beside %s: %s", path, exc)
            return True
        _held.add(held)
        return True
