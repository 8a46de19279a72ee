"""Connection poolers in front of PostgreSQL, such as PgBouncer.

A claim is a lock of the server's connection. A pooler that assigns a server connection to each transaction, not to each
session, leaves the lock on a connection that other clients use next: later runs wait for it forever.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import Any
from weakref import WeakSet

from sqlalchemy import Connection, Engine, event, text

from ozelot import url
from ozelot.errors import ConfigError

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
