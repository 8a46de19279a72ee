"""Claims: of several runners that want the same task, one goes first and the others wait.

A claim dies with its holder, whatever happens to it. It saves double work and clashing inserts; that a task's
rows are there once is decided by the unique index on the markers, also where claims are not to be had.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ozelot.db import sqlite_file
from ozelot.db.server_errors import refuse_pooler
from ozelot.errors import DatabaseFileError, DatabaseUnavailable

try:
    import fcntl
except ImportError:  # Windows: no locks on byte ranges in the standard library
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

_SUFFIX = "-claims"  # of the lock file; other versions of ozelot use the same
_POLL = 0.02  # seconds between two looks at a claimed byte
_FOREVER = 365 * 24 * 3600  # seconds; MariaDB takes no "without end"


@contextmanager
def claimed(connection: Connection, name: str) -> Iterator[None]:
    """Hold the claim of that name; waits for as long as another runner holds it.

    Raises:
        ConfigError: a pooler would leave the claim behind.
    """
    refuse_pooler(connection)
    dialect = connection.dialect.name
    number = _number(name)
    if dialect == "postgresql":
        take, release = func.pg_advisory_lock(number), func.pg_advisory_unlock(number)
    elif dialect in ("mysql", "mariadb"):
        take, release = (
            func.get_lock(_lock_name(connection, number), _FOREVER),
            func.release_lock(_lock_name(connection, number)),
        )
    elif (path := _claims_file(connection)) is not None:
        with _byte_lock(path, number & _OFFSETS):
            yield
        return
    else:
        yield
        return
    connection.execute(select(take))
    try:
        yield
    finally:
        with suppress(DBAPIError, DatabaseUnavailable):  # a broken connection has lost the lock already
            connection.execute(select(release))
            connection.rollback()


def take(connection: Connection, names: Collection[str]) -> set[str]:
    """Take those of the claims that nobody holds, without waiting, to be given back by :func:`give_back`.

    Returns:
        The names whose claims are held now; all of them, where there are no claims.

    Raises:
        ConfigError: a pooler would leave the claims behind.
    """
    refuse_pooler(connection)
    numbers = {name: _number(name) for name in names}
    if connection.dialect.name == "postgresql":
        answer = connection.execute(_TAKE, {"numbers": list(numbers.values())})
        taken = {number for number, got in answer if got}
        return {name for name, number in numbers.items() if number in taken}
    if connection.dialect.name in ("mysql", "mariadb"):
        locks = [func.get_lock(_lock_name(connection, number), 0) for number in numbers.values()]
        got = connection.execute(select(*locks)).one()
        return {name for name, one in zip(numbers, got, strict=True) if one}
    path = _claims_file(connection)
    if path is None or fcntl is None:
        return set(names)
    return {name for name, number in numbers.items() if _take((os.getpid(), path, number & _OFFSETS))}


def give_back(connection: Connection, names: Collection[str]) -> None:
    """Give back claims that :func:`take` took."""
    numbers = [_number(name) for name in names]
    path = _claims_file(connection)
    if path is not None and fcntl is not None:
        for number in numbers:
            _give_back((os.getpid(), path, number & _OFFSETS))
    if connection.dialect.name == "postgresql":
        releasing = _RELEASE.bindparams(numbers=numbers)
    elif connection.dialect.name in ("mysql", "mariadb"):
        releasing = select(*(func.release_lock(_lock_name(connection, number)) for number in numbers))
    else:
        return
    with suppress(DBAPIError, DatabaseUnavailable):  # a broken connection has lost the locks already
        connection.execute(releasing)
        connection.rollback()


def is_held(connection: Connection, name: str) -> bool:
    """Whether somebody holds the claim of that name, this process included; where there are no claims, nobody does."""
    dialect = connection.dialect.name
    number = _number(name)
    if dialect == "postgresql":
        return connection.scalar(_LOOK, {"number": number}) is not None
    if dialect in ("mysql", "mariadb"):
        return connection.scalar(select(func.is_used_lock(_lock_name(connection, number)))) is not None
    path = _claims_file(connection)
    if path is None or not os.path.lexists(path):
        return False
    return fcntl is not None and _is_taken((os.getpid(), path, number & _OFFSETS))


def why_unseen(connection: Connection) -> str:
    """Why claims of others cannot be seen on this connection, so that :func:`is_held` says nothing of them.

    Returns:
        The reason; empty where they can be seen.
    """
    dialect = connection.dialect.name
    if dialect == "postgresql":
        is_replica = connection.scalar(select(func.pg_is_in_recovery()))
    elif dialect in ("mysql", "mariadb"):
        is_replica = str(connection.scalar(text("SELECT @@global.read_only"))).upper() not in ("0", "OFF")
    else:
        is_replica = False
    if is_replica:
        return "this server is read-only, as a replica is, and the locks of running tasks are on another one"
    path = _claims_file(connection)
    if path is None:
        return ""
    if sqlite_file.has_several_names(path.removesuffix(_SUFFIX)):
        return "the database file has a second name (a hard link), and the run may use that one"
    if os.path.lexists(path) and not os.access(path, os.R_OK):
        return f"you may not read the lock file {path}"
    return ""


def take_in_file(path: str, name: str) -> bool:
    """Take the claim of that name in a file of claims, without waiting; whether nobody held it.

    True as well where there are no claims.
    """
    return fcntl is None or _take((os.getpid(), path, _number(name) & _OFFSETS))


def give_back_in_file(path: str, name: str) -> None:
    """Give back a claim that :func:`take_in_file` took."""
    if fcntl is not None:
        _give_back((os.getpid(), path, _number(name) & _OFFSETS))


_TAKE = text("SELECT n, pg_try_advisory_lock(n) FROM unnest(CAST(:numbers AS bigint[])) AS n")
_RELEASE: Any = text("SELECT pg_advisory_unlock(n) FROM unnest(CAST(:numbers AS bigint[])) AS n")

#: PostgreSQL shows the two halves of an advisory lock's number apart.
_LOOK = text(
    "SELECT 1 FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database "
    "WHERE locktype = 'advisory' AND datname = current_database() AND objsubid = 1 AND granted "
    "AND ((classid::bigint << 32) | objid::bigint) = :number"
)
_OFFSETS = 0x3FFF_FFFF_FFFF_FFFF


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)


def _lock_name(connection: Connection, number: int) -> str:
    # Locks of MariaDB are the server's, not the database's.
    database = hashlib.sha256(str(connection.engine.url.database).encode()).hexdigest()[:16]
    return f"ozelot:{number:x}:{database}"


def _claims_file(connection: Connection) -> str | None:
    if connection.dialect.name != "sqlite":
        return None
    try:
        path: str = connection.info[sqlite_file.FILE]
    except (KeyError, SQLAlchemyError):  # the connection broke, and there is no other
        named = sqlite_file.file_of(connection.engine.url)
        path = "" if named is None else str(sqlite_file.resolved(named))
    return f"{path}{_SUFFIX}" if path else None


#: One open file a process and database: closing any handle of a file drops all POSIX locks on it.
_files: dict[tuple[int, str], int] = {}
#: POSIX locks are a process's; its threads are kept apart here.
_held: set[tuple[int, str, int]] = set()
_guard = threading.Lock()


def _after_fork() -> None:
    global _guard
    _guard = threading.Lock()  # another thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def _byte_lock(path: str, offset: int) -> Iterator[None]:
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
        _give_back(held)


def _give_back(held: tuple[int, str, int]) -> None:
    with _guard:
        if (fd := _files.get(held[:2])) is not None and held in _held:
            fcntl.lockf(fd, fcntl.LOCK_UN, 1, held[2])
        _held.discard(held)


def _take(held: tuple[int, str, int]) -> bool:
    _, path, offset = held
    with _guard:
        if held in _held:
            return False
        try:
            fcntl.lockf(_file(held), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
        except BlockingIOError:
            return False
        except OSError as exc:  # a file system without locks; see the top of this file
            log.debug("No claims beside %s: %s", path, exc)
            return True
        _held.add(held)
        return True


def _is_taken(held: tuple[int, str, int]) -> bool:
    """Whether somebody holds a claim. Who looks takes it for an instant, so that others who look do not see that."""
    with _guard:
        if held in _held:
            return True
        try:
            file = _file(held)
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, held[2])
        except BlockingIOError:
            return True
        except OSError as exc:
            log.debug("No claims beside %s: %s", held[1], exc)
            return False
        fcntl.lockf(file, fcntl.LOCK_UN, 1, held[2])
        return False


def _file(held: tuple[int, str, int]) -> int:
    """The file of a claim, opened once a process.

    Raises:
        DatabaseFileError: it is a link, which would lead the locks to another file.
    """
    if (found := _files.get(held[:2])) is not None:
        return found
    how = os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
    try:
        try:
            file = os.open(held[1], os.O_RDWR | os.O_CREAT | how, 0o666)
        except PermissionError:
            file = os.open(held[1], os.O_RDONLY | how)  # enough to look
    except OSError as exc:
        if exc.errno in (errno.ELOOP, errno.EMLINK):
            raise DatabaseFileError(
                f"The lock file {held[1]} is a symbolic link: delete it, and ozelot creates a file in its place"
            ) from None
        raise
    _files[held[:2]] = file
    return file
