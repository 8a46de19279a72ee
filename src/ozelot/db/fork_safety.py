"""What becomes of database connections when the process forks, as Luigi does for each worker.

A child never uses a connection of its parent, and cannot act on the parent's transaction by closing one. The parent
goes on with what it had. A child that a task's ``run()`` forks ends where that does. No help is there for an SQLite
transaction that has written and is open at the fork: a child that writes would wait for it in vain, and says so.
"""

from __future__ import annotations

import io
import os
import sqlite3
import sys
import threading
import traceback
import weakref
from types import TracebackType
from typing import Any

from sqlalchemy import Engine, event

from ozelot.db import transaction
from ozelot.db.url import without_password
from ozelot.errors import TransactionError

_engines: weakref.WeakSet[Engine] = weakref.WeakSet()

#: Connections that the pools handed out, and the thread that took each.
_taken: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()

_reopen: list[tuple[Any, Any]] = []
_of_the_parent: list[Any] = []


def set_up(engine: Engine) -> None:
    """Look after the connections of an engine."""
    _engines.add(engine)

    @event.listens_for(engine, "checkout")
    def _note(_connection: object, record: object, _fairy: object) -> None:
        _taken[record] = threading.get_ident()


class _ParentsConnection:
    """What a session holds, in a forked child, if it was open in the parent: unusable, and silent when it is closed."""

    def cursor(self, *_: Any, **__: Any) -> Any:
        raise TransactionError("This session belongs to the parent process: open one here with create_session()")

    def commit(self) -> None: ...

    rollback = close = commit


class ChildrenEnd:
    """Around the code of a task: a child that it forks ends where the block ends, and never goes on as a worker.

    As at the end of a program, ``sys.exit()`` gives the exit code, and an error is printed and gives 1.
    """

    def __enter__(self) -> None:
        self._process = os.getpid()

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if os.getpid() != self._process:
            _end(exc)


def _end(exc: BaseException | None) -> None:
    code = 0
    try:
        if isinstance(exc, SystemExit):
            code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
            told = "" if code == exc.code or exc.code is None else f"{exc.code}\n"
        elif exc is None or isinstance(exc, StopIteration):
            told = ""
        else:
            code, told = 1, "".join(traceback.format_exception(exc))
        for engine in list(_engines):
            told = without_password(engine.url, told)
        if sys.__stderr__ is not None:
            sys.__stderr__.write(told)
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            if isinstance(stream, io.TextIOWrapper):  # others may wait for threads that are not in this process
                stream.flush()
    finally:
        os._exit(code & 0xFF)


def _before_fork() -> None:
    # A process must not have an SQLite file open when it forks: SQLite remembers which locks it holds, a fork does
    # not inherit them, and a parent that then closes the file would delete the log that the child writes to.
    _reopen.clear()
    for engine in list(_engines):
        if engine.dialect.name == "sqlite" and transaction.current(engine) is None:
            engine.dispose()
    for record, fairy in _handed_out():
        connection = record.dbapi_connection
        is_idle = isinstance(connection, sqlite3.Connection) and not connection.in_transaction
        if is_idle and _taken[record] == threading.get_ident():
            record.close()
            _reopen.append((record, fairy))


def _after_fork_in_parent() -> None:
    for record, fairy in _reopen:
        fairy.dbapi_connection = record.get_connection()
    _reopen.clear()


def _after_fork_in_child() -> None:
    for record, fairy in _handed_out():
        _of_the_parent.append(fairy.dbapi_connection)  # were it collected, it might act on the parent's transaction
        record.dbapi_connection = fairy.dbapi_connection = _ParentsConnection()
    _reopen.clear()
    for engine in list(_engines):
        engine.dispose(close=False)


def _handed_out() -> list[tuple[Any, Any]]:
    pairs = [(record, record.fairy_ref and record.fairy_ref()) for record in list(_taken)]
    return [(record, fairy) for record, fairy in pairs if fairy is not None]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
