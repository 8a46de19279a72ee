"""Errors that a setting of the server or a connection pooler causes, and what to do about each."""

from __future__ import annotations

import re
import shutil
import threading
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakSet

from sqlalchemy import Connection, Engine, event, text

from ozelot.db import url
from ozelot.errors import ConfigError

_CONNECTIONS = "raise the limit, or use fewer workers (--workers)"
_IDLE = "raise the limit, or let the task compute before its first statement"
_LEAST = 64 * 1024  # bytes that SQLite needs beside a file to read it
_DISK_FULL = "free space on the disk of the database, then run again"

#: By PostgreSQL's code or MariaDB's number.
_BY_CODE = {
    "25P03": f"idle_in_transaction_session_timeout of the server ended a transaction that waited for the task: {_IDLE}",
    "25P04": "transaction_timeout of the server ended the transaction: raise it",
    "53100": _DISK_FULL,
    "55P03": "lock_timeout of the server: raise it, or wait until other transactions end",
    "57P05": f"idle_session_timeout of the server ended a connection that waited for the task: {_IDLE}",
    1021: _DISK_FULL,
    1040: f"max_connections of the server is reached: {_CONNECTIONS}",
    1153: "a value is larger than max_allowed_packet of the server: raise it, or keep the value in a file",
    1203: f"max_user_connections of the server is reached: {_CONNECTIONS}",
    1226: f"a limit of this user, such as MAX_USER_CONNECTIONS, is reached: {_CONNECTIONS}",
    1927: "an administrator ended the connection",
    1969: "max_statement_time of the server or the user: raise it",
    2006: f"the server restarted, or its wait_timeout ended a connection that waited for the task: {_IDLE}; or a value "
    "is larger than its max_allowed_packet: raise that",
    2013: f"the server restarted, or its wait_timeout ended a connection that waited for the task: {_IDLE}",
    3024: "max_execution_time of the server: raise it",
    4031: f"wait_timeout of the server ended a connection that waited for the task: {_IDLE}",
}

#: By the text, where a driver passes on no code: PostgreSQL refuses connections, and poolers answer in its place.
_BY_TEXT = [
    (re.compile(pattern, re.IGNORECASE), text)
    for pattern, text in (
        (r"too many connections for role", f"CONNECTION LIMIT of the role is reached: {_CONNECTIONS}"),
        (r"too many connections for database", f"CONNECTION LIMIT of the database is reached: {_CONNECTIONS}"),
        (
            r"too many clients|remaining connection slots",
            f"max_connections of the server is reached: {_CONNECTIONS}",
        ),
        (r"max_client_conn", f"max_client_conn of the pooler is reached: {_CONNECTIONS}"),
        (r"query_wait_timeout", f"default_pool_size of the pooler is reached: {_CONNECTIONS}"),
        (r"statement pooling mode", "a run needs sessions: set pool_mode = session; see the how-to on poolers"),
        (r"statement timeout", "statement_timeout of the server or the role: raise it"),
        (r"no space left|disk is full|errcode: 28|error 28\b", _DISK_FULL),
    )
]


def advice(error: BaseException | None, file: Path | None = None) -> str:
    """The setting behind an error of a database driver, and what to do; empty where none is known.

    Args:
        error: of the driver.
        file: the database, if it is a file: on a full disk, SQLite fails to read as well, with other errors.
    """
    if file is not None and _is_full(file):
        return _DISK_FULL
    codes = codes_of(error)
    by_code = (text for code, text in _BY_CODE.items() if code in codes)
    by_text = (text for pattern, text in _BY_TEXT if pattern.search(str(error)))
    return next(by_code, None) or next(by_text, "")


def _is_full(file: Path) -> bool:
    with suppress(OSError):
        return shutil.disk_usage(file.absolute().parent).free < _LEAST
    return False


def codes_of(error: BaseException | None) -> set[str | int]:
    """The codes of a driver's error: PostgreSQL's and those of the standard are texts, MariaDB's are numbers."""
    found = (getattr(error, "sqlstate", None), next(iter(getattr(error, "args", ())), None))
    return {code for code in found if isinstance(code, str | int)}


_ROUNDS = 3  # a pool may hand out its connections in turn, and have other clients
_PATIENCE = 5.0  # seconds to wait for a second connection, which a pool of one has only for transactions

_PID = text("SELECT pg_backend_pid()")

#: Engines whose sessions keep their server connection.
_keeps_sessions: WeakSet[Engine] = WeakSet()


def set_up(engine: Engine) -> None:
    """Let connections of psycopg return instants in UTC, and prepare no statements where they go through a pooler.

    The next client of the pooler would find these statements. In another time zone than UTC, Python cannot hold all
    instants that a column can: some belong to the year 10,000 there.
    """

    @event.listens_for(engine, "connect")
    def _adjust(connection: Any, _record: object) -> None:
        if engine.dialect.driver == "psycopg":
            answer = connection.pgconn.exec_(b"SET TimeZone = 'UTC'; SELECT pg_backend_pid()")  # begins no transaction
            if answer.get_value(0, 0) != str(connection.info.backend_pid).encode():
                connection.prepare_threshold = None


def refuse_pooler(connection: Connection) -> None:
    """Check, once per engine, that a session keeps its server connection between transactions.

    On a direct connection, this costs one query. Otherwise a second connection is made, to compare server processes.

    Args:
        connection: in no transaction.

    Raises:
        ConfigError: a pooler assigns server connections to transactions.
    """
    engine = connection.engine
    if engine.dialect.name != "postgresql" or engine in _keeps_sessions:
        return
    mine = _processes(connection, 1)
    # The process that a client connects to is the one that answers; a pooler makes up a number. Not all drivers tell.
    info = getattr(connection.connection.dbapi_connection, "info", None)
    if mine != {getattr(info, "backend_pid", None)} and _is_shared(connection, mine):
        raise ConfigError(
            f"{url.hide_password(engine.url)} is a connection pooler that assigns server connections to transactions "
            "(PgBouncer: pool_mode = transaction), where the locks of a run would be left behind. Connect to the "
            "server directly, or to a pool with pool_mode = session; see the how-to on poolers"
        )
    _keeps_sessions.add(engine)


def _is_shared(connection: Connection, mine: set[int]) -> bool:
    # In a thread: a pool of sessions that has no second connection does not answer.
    other: Future[set[int]] = Future()
    threading.Thread(target=_ask, args=(connection.engine, other), daemon=True).start()
    theirs: set[int] = set()
    with suppress(TimeoutError):  # a pool of transactions would have served the other session while this one is idle
        theirs = other.result(_PATIENCE)
    mine = mine | _processes(connection, _ROUNDS)
    return len(mine) > 1 or len(theirs) > 1 or not mine.isdisjoint(theirs)


def _ask(engine: Engine, answer: Future[set[int]]) -> None:
    try:
        with engine.connect() as connection:
            answer.set_result(_processes(connection, _ROUNDS))
    except Exception as exc:  # noqa: BLE001 - whatever it is, the other thread raises it
        answer.set_exception(exc)


def _processes(connection: Connection, transactions: int) -> set[int]:
    """The server processes that execute transactions of a session; the session is idle after each."""
    found = set()
    for _ in range(transactions):
        found.add(int(connection.scalar(_PID)))
        connection.rollback()
    return found
