"""One open transaction that everything in its context joins.

While a task runs, its rows, its marker and whatever its helpers write must reach the database together. So, in the
context in which :func:`open_transaction` is active, the engine's pool hands out *joined* connections: to sessions,
to ``engine.begin()``, to ``DataFrame.to_sql(..., engine)`` alike. Each behaves like a connection of its own, with
``commit`` and ``rollback`` that mean what they always mean to the code that calls them; underneath, they are
savepoints of the one real transaction.

A savepoint can undo what one session wrote only while no other session wrote after it. Where that is not so, undoing
raises :class:`~ozelot.errors.TransactionError` and the whole transaction fails: nothing is lost in silence.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.pool import Pool, PoolProxiedConnection, QueuePool, SingletonThreadPool

from ozelot import sqlite
from ozelot.claim import claimed
from ozelot.errors import TransactionError

_innermost: ContextVar[OpenTransaction | None] = ContextVar("ozelot_open_transaction", default=None)


class OpenTransaction:
    """A transaction under way, and the savepoints of those who joined it.

    Attributes:
        connection: the real connection; what is executed here belongs to no savepoint.
        owner: the task whose ``run()`` is under way.
        reserved: keys of the markers that are written when that ``run()`` ends.
    """

    def __init__(self, connection: Connection, outer: OpenTransaction | None) -> None:
        self.connection = connection
        self.engine = connection.engine
        self.owner: object = None
        self.reserved: frozenset[str] = frozenset()
        self.outer = outer
        self.open = True
        self._pid = os.getpid()
        self._scopes: list[JoinedConnection] = []  # those with a savepoint, oldest first
        self._savepoints = 0
        self._turns = 0  # how often the writer changed
        self._writer: JoinedConnection | None = None

    @property
    def active(self) -> bool:
        """Whether it has not ended; never true in a forked child, whose parent it belongs to."""
        return self.open and self._pid == os.getpid()

    def belongs_to(self, engine: Engine) -> bool:
        """Whether connections of that engine are to join."""
        return self.active and self.engine is engine

    def before_statement(self, joined: JoinedConnection, *, reads: bool) -> None:
        """Give ``joined`` a savepoint to come back to, if it may need one, and note who writes."""
        # PostgreSQL: after any failed statement nothing works until the transaction is back at a savepoint.
        if joined.savepoint is None and not (reads and self.engine.dialect.name != "postgresql"):
            self._savepoints += 1
            joined.savepoint = f"ozelot_{self._savepoints}"
            joined.start, joined.turns, joined.failed = self._turns, 0, False
            self._execute(f"SAVEPOINT {joined.savepoint}")
            self._scopes.append(joined)
        if not reads and self._writer is not joined:
            self._writer = joined
            self._turns += 1
            joined.turns += 1

    def release(self, joined: JoinedConnection) -> None:
        """Keep what ``joined`` did: it is now part of the transaction."""
        if joined.savepoint is None:
            return
        # Releasing a savepoint releases all later ones with it, so one below others is left to the final commit.
        if self._scopes[-1] is joined:
            self._execute(f"RELEASE SAVEPOINT {joined.savepoint}")
        self._forget(joined)

    def undo(self, joined: JoinedConnection) -> None:
        """Undo what ``joined`` did since it last committed.

        Raises:
            TransactionError: another session wrote since then; the whole transaction must fail.
        """
        if joined.savepoint is None:
            return
        if not joined.turns and not joined.failed:
            self.release(joined)
            return
        if self._turns - joined.start != joined.turns:
            raise TransactionError(
                "A session in an open transaction was rolled back, or closed without a commit, after another session "
                "wrote: the database cannot undo the one and keep the other. Use one session for all that a task "
                "writes (self.session), or commit each before the next one writes"
            )
        self._execute(f"ROLLBACK TO SAVEPOINT {joined.savepoint}")
        self._execute(f"RELEASE SAVEPOINT {joined.savepoint}")
        self._turns, self._writer = joined.start, None
        self._forget(joined)

    @contextmanager
    def nested(self) -> Iterator[None]:
        """A part that can fail by itself: on an exception all that was written within the block is undone."""
        part = JoinedConnection(self)
        outer_scopes = len(self._scopes)
        self.before_statement(part, reads=False)
        try:
            yield
        except BaseException:
            for joined in self._scopes[outer_scopes + 1 :]:
                self._forget(joined)
            part.turns = self._turns - part.start  # whoever wrote since: it is all undone
            self.undo(part)
            raise
        self.release(part)

    def settle(self) -> int:
        """Undo what was never committed, as the end of its session would have; returns how many wrote so."""
        dropped = 0
        for joined in reversed(self._scopes[:]):
            dropped += bool(joined.turns)
            self.undo(joined)
        return dropped

    def begin(self) -> None:
        """Begin for good where the database would begin with the first write only (SQLite)."""
        driver = self.connection.connection.driver_connection
        if isinstance(driver, sqlite3.Connection) and not driver.in_transaction:
            sqlite.begin(driver)

    def _forget(self, joined: JoinedConnection) -> None:
        self._scopes.remove(joined)
        joined.savepoint = None
        joined.turns = 0
        if self._writer is joined:
            self._writer = None

    def _execute(self, statement: str) -> None:
        self.begin()
        cursor = self.connection.connection.cursor()
        try:
            cursor.execute(statement)
        finally:
            cursor.close()


class JoinedConnection(PoolProxiedConnection):
    """What the pool hands out inside an open transaction: a connection whose work is a savepoint of it."""

    def __init__(self, transaction: OpenTransaction) -> None:
        self.transaction = transaction
        self.savepoint: str | None = None
        self.start = 0  # the transaction's count of turns when the savepoint was set
        self.turns = 0  # own turns at writing since then
        self.failed = False  # a statement failed since then
        self._real = transaction.connection.connection

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        if not self.transaction.active:
            raise TransactionError(
                "A session that began inside a task's run() is used after run() ended: what it reads or writes "
                "belongs to no transaction. Close sessions at the end of run(), or use self.session"
            )
        return self._real.cursor(*args, **kwargs)

    def commit(self) -> None:
        if self.transaction.active:
            self.transaction.release(self)

    def rollback(self) -> None:
        if self.transaction.active:
            self.transaction.undo(self)

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
        return self._real.dbapi_connection

    @property
    def driver_connection(self) -> Any:  # type: ignore[override]
        self.transaction.before_statement(self, reads=False)  # what is done with it cannot be seen from here
        return self._real.driver_connection

    @property
    def info(self) -> dict[Any, Any]:
        return self._real.info

    @property
    def record_info(self) -> dict[str, Any] | None:
        return self._real.record_info

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real.dbapi_connection, name)


def _joined(pool: Pool) -> JoinedConnection | None:
    """A connection that joins the open transaction of the engine with that pool, if there is one in the context."""
    transaction = _innermost.get()
    while transaction is not None:
        if transaction.engine.pool is pool and transaction.belongs_to(transaction.engine):
            return JoinedConnection(transaction)
        transaction = transaction.outer
    return None


class JoiningQueuePool(QueuePool):
    """For servers and files."""

    def connect(self) -> PoolProxiedConnection:
        return _joined(self) or super().connect()


class JoiningThreadPool(SingletonThreadPool):
    """For SQLite in memory: one connection a thread."""

    def connect(self) -> PoolProxiedConnection:
        return _joined(self) or super().connect()


def set_up(engine: Engine) -> None:
    """Let the connections of an engine with one of the pools above join; after ``sqlite.set_up``."""

    @event.listens_for(engine, "before_cursor_execute")
    def _before(
        conn: Connection, _cursor: object, statement: str, _parameters: object, _context: object, _many: bool
    ) -> None:
        if isinstance(joined := conn.connection, JoinedConnection):
            joined.transaction.before_statement(joined, reads=sqlite.reads(statement))

    @event.listens_for(engine, "handle_error")
    def _failed(context: ExceptionContext) -> None:
        conn = context.connection
        if conn is not None and not conn.closed and isinstance(joined := conn.connection, JoinedConnection):
            joined.failed = True


def current(engine: Engine) -> OpenTransaction | None:
    """The open transaction that connections of that engine join in this context, if any."""
    transaction = _innermost.get()
    while transaction is not None and not transaction.belongs_to(engine):
        transaction = transaction.outer
    return transaction


@contextmanager
def open_transaction(engine: Engine, *, claim: str | None = None) -> Iterator[OpenTransaction]:
    """Open a transaction that all connections of the engine join until the block ends, then commit it.

    An exception rolls everything back, as does ``transaction.connection.rollback()`` at the end of the block.

    Args:
        engine: an engine that :mod:`ozelot.client` made.
        claim: hold the claim of this name for as long (:mod:`ozelot.claim`).
    """
    with engine.connect() as connection, claimed(connection, claim) if claim else nullcontext():
        if not connection.in_transaction():
            connection.begin()  # statements of joined connections go past this object; its commit() must not
        transaction = OpenTransaction(connection, _innermost.get())
        token = _innermost.set(transaction)
        try:
            yield transaction
            transaction.open = False
            connection.commit()
        finally:
            # Before the rollback: sessions that are closed from here on have nothing left to undo.
            transaction.open = False
            _innermost.reset(token)
            connection.rollback()
