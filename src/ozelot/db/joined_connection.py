"""Connections that join an open transaction.

In the context of an open transaction the engine's pool hands these out: to sessions, to ``engine.begin()``, to
``DataFrame.to_sql(..., engine)`` alike. Each behaves like a connection of its own, with ``commit`` and ``rollback``
that mean what they always mean to the code that calls them; underneath, it is a scope of the one real transaction.
"""

from __future__ import annotations

import logging
import re
import sqlite3
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import PoolProxiedConnection, QueuePool, SingletonThreadPool

from ozelot.db import sql_analysis, transaction
from ozelot.db.sql_analysis import Target, database_code
from ozelot.db.transaction import OpenTransaction, Scope
from ozelot.errors import TransactionError

log = logging.getLogger(__name__)

#: The execution option of connections on which runs are recorded, before and after their transactions.
OF_A_RUNNER = "ozelot_of_a_runner"

_OWN_SAVEPOINT = re.compile(r"(SAVEPOINT|ROLLBACK TO SAVEPOINT|RELEASE SAVEPOINT) (sa_savepoint_\d+)$")


class JoinedConnection(PoolProxiedConnection):
    """What the pool hands out inside an open transaction."""

    def __init__(self, opened: OpenTransaction, real: PoolProxiedConnection) -> None:
        self.transaction = opened
        self.scope = Scope()
        self.expects_statement = False  # SQLAlchemy is about to execute one, and will announce it
        self._is_writing = False  # the statement that was announced last
        self._unseen: Any = None  # a cursor that nobody announced, since when nothing was counted
        self._real = real
        self._is_sqlite = opened.engine.dialect.name == "sqlite"
        self._is_mariadb = opened.engine.dialect.name in ("mysql", "mariadb")
        self._cursors: WeakSet[_KeepingCursor] = _cursors_of(opened)

    def announce(self, statement: str, context: Any) -> str:
        """What must happen before a statement; returns the statement, with its savepoints named apart."""
        if self._unseen is not None and context.cursor is self._unseen:  # it was for exec_driver_sql()
            self.transaction.writes.take_back_unknown()
        self._unseen = None
        _refuse_end(statement)
        if self._is_mariadb and (word := sql_analysis.commits_on_mariadb(statement)):
            raise TransactionError(
                f"{word} inside a run would commit half of it, as MariaDB commits with every change of a table: create "
                "and change tables before the run"
            )
        reads = sql_analysis.reads(statement)
        if not reads:
            self._keep_results()
        self.transaction.before_statement(self.scope, reads=reads)
        own = _OWN_SAVEPOINT.match(statement)
        self._is_writing = own is None and not reads
        if own is None and not sql_analysis.is_built(context):
            self.transaction.lasting = True
        if self.transaction.watch is not None and own is None:
            self.transaction.watch.statement(statement, context, reads=reads)
        if own is not None:
            # Sessions name their savepoints alike, as if each had a connection to itself.
            verb, name = own[1], f"{own[2]}_{id(self)}"
            if verb == "SAVEPOINT":
                self.transaction.mark_inner(self.scope, name)
            elif verb.startswith("ROLLBACK"):
                self.transaction.before_inner_rollback(self.scope, name)
            return f"{verb} {name}"
        return statement

    def executed(self, statement: str, context: Any, cursor: Any) -> None:
        """What must happen after a statement."""
        opened = self.transaction
        if opened.watch is not None:
            opened.watch.executed(cursor)
        if opened.run.run_id is None:
            return
        if not self._is_writing:
            calls = database_code(opened.connection).calls
            if calls is not None and calls.search(statement):
                opened.writes.add_called(opened.run)
        elif not getattr(context, "_ozelot_counted", False):  # SQLAlchemy may execute it in several parts
            context._ozelot_counted = True
            change = sql_analysis.row_change(statement, context, cursor)
            if change is not None:
                self._count(change, context)

    def _count(self, change: sql_analysis.RowChange, context: Any) -> None:
        run, writes = self.transaction.run, self.transaction.writes
        if change.table is None:
            writes.add_unknown(run)
            return
        writes.add_rows(run, change.table, change.rows)
        if change.rows and change.table in run.inherited:
            if sql_analysis.is_whole(context):
                writes.add_whole(run, change.table, change.rows)
            else:
                writes.add_keys(run, change.table, sql_analysis.inserted_keys(context))

    def _keep_results(self) -> None:
        for cursor in list(self._cursors) if self._is_sqlite else ():
            cursor.keep()

    def for_writing(self, targets: Iterable[Target]) -> Any:
        """The driver's own connection, for somebody who says what they are about to write with it.

        Raises:
            UndeclaredWrite: who runs does not declare that.
        """
        self._keep_results()
        self.transaction.before_statement(self.scope, reads=False)
        if self.transaction.watch is not None:
            self.transaction.watch.announced(targets)
        return self._real.driver_connection

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        if not self.transaction.active:
            raise TransactionError(
                "A session that began inside a task's run() is used after run() ended, or in another thread: what it "
                "reads or writes belongs to no transaction. Close sessions at the end of run(), or use self.session"
            )
        is_unseen = not self.expects_statement and self._before_the_unseen()
        self.expects_statement = False
        cursor: Any
        if self._is_sqlite:
            cursor = self._real.cursor(_KeepingCursor)
            self._cursors.add(cursor)
        elif self._is_mariadb:
            cursor = self._real.cursor()  # never a streaming one: the next statement would cut it short
        else:
            cursor = self._real.cursor(*args, **kwargs)
        self._unseen = cursor if is_unseen else None
        return cursor

    def _before_the_unseen(self) -> bool:
        """Somebody goes past SQLAlchemy: what they do cannot be seen from here.

        Returns:
            Whether that made the count of the run's rows unknown, which it was not before.
        """
        self.transaction.lasting = True
        self.transaction.before_statement(self.scope, reads=False)
        if self.transaction.watch is not None:
            self.transaction.watch.ask_database()
        run = self.transaction.run
        return run.run_id is not None and self.transaction.writes.add_unknown(run)

    def commit(self) -> None:
        if self.transaction.active:
            self.transaction.release(self.scope)

    def rollback(self) -> None:
        if self.transaction.active:
            self.transaction.undo(self.scope)

    def close(self) -> None:
        self.rollback()

    def _close_special(self, *, transaction_reset: bool = False) -> None:
        # What SQLAlchemy calls in place of close() where it has rolled back already.
        if not transaction_reset:
            self.rollback()

    def invalidate(self, e: BaseException | None = None, soft: bool = False) -> None:
        self.transaction.connection.invalidate(e)

    def detach(self) -> None:
        raise TransactionError("A connection that joined an open transaction cannot be detached from it")

    @property
    def is_valid(self) -> bool:
        return self._real.is_valid

    @property
    def is_detached(self) -> bool:
        return False

    @property
    def dbapi_connection(self) -> Any:  # type: ignore[override]
        # SQLAlchemy takes it to change the isolation level, when an engine was made with one as an option.
        raise TransactionError(
            "Inside an open transaction, such as a run, the isolation level cannot be changed. For the driver's own "
            "connection, ask for driver_connection"
        )

    @property
    def driver_connection(self) -> Any:  # type: ignore[override]
        self._before_the_unseen()
        return self._real.driver_connection

    @property
    def info(self) -> dict[Any, Any]:
        return self._real.info

    @property
    def record_info(self) -> dict[str, Any] | None:
        return self._real.record_info

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real.dbapi_connection, name)


@contextmanager
def written_past_sqlalchemy(connection: Connection, targets: Iterable[Target]) -> Iterator[Any]:
    """The driver's own connection under a connection of SQLAlchemy, to write with it what is named.

    Raises:
        UndeclaredWrite: within a run that does not declare that.
        sqlalchemy.exc.DBAPIError: in place of the driver's own error.
    """
    proxied = connection.connection
    try:
        if isinstance(proxied, JoinedConnection):
            yield proxied.for_writing(targets)
        else:
            _check_outside_write(connection)
            transaction.begin(connection)
            yield proxied.driver_connection
    except connection.dialect.loaded_dbapi.Error as exc:
        if isinstance(proxied, JoinedConnection):
            proxied.scope.failed = True
        error = connection.dialect.loaded_dbapi.Error
        raise DBAPIError.instance(None, None, exc, error, dialect=connection.dialect) from exc


def count_written(connection: Connection, table: str, rows: int) -> None:
    """Count rows that were inserted past SQLAlchemy for the run under way, if there is one."""
    if isinstance(joined := connection.connection, JoinedConnection) and joined.transaction.run.run_id is not None:
        joined.transaction.writes.add_rows(joined.transaction.run, table, rows)


def count_whole(connection: Connection, table: str, rows: int) -> None:
    """Say that rows of a table were inserted along with their rows in all other tables of their model."""
    if isinstance(joined := connection.connection, JoinedConnection) and table in joined.transaction.run.inherited:
        joined.transaction.writes.add_whole(joined.transaction.run, table, rows)


def _refuse_end(statement: str) -> None:
    if word := sql_analysis.ends_transaction(statement):
        raise TransactionError(
            f"{word} as a statement of its own would end the transaction that all of a run shares: use commit() and "
            "rollback() of the session or connection"
        )


class _KeepingCursor(sqlite3.Cursor):
    """Keeps the rest of its result when something is written; bare SQLite would go on to read what is new."""

    _kept: deque[Any] | None = None
    _begun = False

    def keep(self) -> None:
        if self._begun and self._kept is None:
            try:
                self._kept = deque(super().fetchall())
            except sqlite3.ProgrammingError:  # it is closed
                self._kept = deque()

    def execute(self, *args: Any) -> Any:
        _refuse_end(args[0])
        self._kept, self._begun = None, True
        return super().execute(*args)

    def executescript(self, *_: Any) -> Any:
        raise TransactionError("executescript() would commit half of a run: execute the statements one by one")

    def fetchone(self) -> Any:
        if self._kept is None:
            return super().fetchone()
        return self._kept.popleft() if self._kept else None

    def fetchmany(self, size: int | None = None) -> list[Any]:
        wanted = self.arraysize if size is None else size
        if self._kept is None:
            return super().fetchmany(wanted)
        return [self._kept.popleft() for _ in range(min(wanted, len(self._kept)))]

    def fetchall(self) -> list[Any]:
        if self._kept is None:
            return super().fetchall()
        rest, self._kept = list(self._kept), deque()
        return rest

    def __next__(self) -> Any:
        row = self.fetchone()
        if row is None:
            raise StopIteration
        return row


def _cursors_of(opened: OpenTransaction) -> WeakSet[_KeepingCursor]:
    found: WeakSet[_KeepingCursor] = opened.connection.info.setdefault("ozelot_cursors", WeakSet())
    return found


class JoiningQueuePool(QueuePool):
    """For servers and files."""

    def connect(self) -> PoolProxiedConnection:
        opened = transaction.of_pool(self)
        return super().connect() if opened is None else JoinedConnection(opened, opened.connection.connection)


def _tell_in_one_line(record: logging.LogRecord) -> bool:
    """That a connection is found broken when it is given back is no error: whoever needs it for more hears of it."""
    if record.exc_info:
        reason = str(record.exc_info[1]).strip().splitlines()
        record.msg, record.args = "A connection broke before it was given back: %s", (reason[0] if reason else "",)
        record.exc_info = None
    return True


logging.getLogger(f"{__name__}.{JoiningQueuePool.__name__}").addFilter(_tell_in_one_line)


class JoiningThreadPool(SingletonThreadPool):
    """For SQLite in memory: one connection a thread."""

    def connect(self) -> PoolProxiedConnection:
        opened = transaction.of_pool(self)
        return super().connect() if opened is None else JoinedConnection(opened, opened.connection.connection)


def set_up(engine: Engine) -> None:
    """Let the connections of an engine with one of the pools above join; before ``sqlite.set_up``."""

    @event.listens_for(engine, "before_execute")
    def _expect(conn: Connection, *_: object) -> None:
        if isinstance(joined := conn.connection, JoinedConnection):
            joined.expects_statement = True

    @event.listens_for(engine, "before_cursor_execute", retval=True)
    def _before(
        conn: Connection, _cursor: object, statement: str, parameters: Any, context: object, _many: bool
    ) -> tuple[str, Any]:
        if isinstance(joined := conn.connection, JoinedConnection):
            return joined.announce(statement, context), parameters
        if not sql_analysis.reads(statement):
            _check_outside_write(conn)
        return statement, parameters

    @event.listens_for(engine, "after_cursor_execute")
    def _after(conn: Connection, cursor: Any, statement: str, _parameters: object, context: Any, _many: bool) -> None:
        if isinstance(joined := conn.connection, JoinedConnection):
            joined.executed(statement, context, cursor)

    @event.listens_for(engine, "handle_error")
    def _failed(context: ExceptionContext) -> None:
        conn = context.connection
        if conn is None or conn.closed or conn.invalidated:  # to look would connect again
            return
        if isinstance(joined := conn.connection, JoinedConnection):
            joined.scope.failed = True


def _check_outside_write(conn: Connection) -> None:
    """A connection that has not joined is about to write."""
    opened = transaction.of_pool(conn.engine.pool)
    if opened is not None and conn is not opened.connection:
        raise TransactionError(
            "A session or connection that was in use before an open transaction began (such as a run) is no part of "
            "it, and may not write meanwhile: commit or close it before, or open a new one"
        )
    if opened is None and not conn.get_execution_options().get(OF_A_RUNNER):
        for other in transaction.elsewhere(conn.engine.pool):
            if not other.warned:
                other.warned = True
                log.warning(
                    "A thread writes to the database by itself while %s is running: where run() started that thread, "
                    "its rows are not part of the task. Let it return them to run() instead",
                    other.run.owner,
                )
