"""One open transaction, and the parts of it that can be undone.

While a task runs, its rows, its marker and whatever its helpers write must reach the database together. So all that
joins an open transaction (:mod:`ozelot.db.joined_connection`) shares its one connection. Each session that joins is a
*scope*: what it did since it last committed lies after a savepoint, to be kept or undone.

A savepoint can undo what one scope wrote only while no other scope wrote after it. Where that is not so, undoing raises
:class:`~ozelot.errors.TransactionError` and the whole transaction fails: nothing is lost in silence.
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, Protocol
from weakref import WeakSet

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import Pool

from ozelot.db import sqlite_file
from ozelot.db.locks import claimed
from ozelot.db.run_context import UnderWay, WriteCounts
from ozelot.db.sql_analysis import Target
from ozelot.errors import DatabaseUnavailable, TransactionError

_innermost: ContextVar[OpenTransaction | None] = ContextVar("ozelot_open_transaction", default=None)
_all: WeakSet[OpenTransaction] = WeakSet()

_GUARD = "ozelot_guard"

_ENDED_EARLY = (
    "The transaction was ended before its time, and the rest is rolled back: by commit() or rollback() of the driver's "
    "own connection, or by the database, as MariaDB does in a deadlock and SQLite where the disk is full. Use those of "
    "the session; let such an error pass, and run again"
)

#: What databases say of a savepoint that went with its transaction.
_GONE = re.compile(r"no such savepoint|savepoint \S+ does not exist", re.I)


class Scope:
    """What one session (or nested part) did in an open transaction since it last committed."""

    def __init__(self) -> None:
        self.savepoint: str | None = None
        self.start = 0  # the transaction's count of turns when the savepoint was set
        self.turns = 0  # its own turns at writing since then
        self.failed = False  # a statement failed since then
        self.written = 0  # where the transaction's write counts were when the savepoint was set
        self.inner: dict[str, tuple[int, int, int]] = {}  # all three at the session's own savepoints, begin_nested()


class Watch(Protocol):
    """What looks at all that is written."""

    def statement(self, statement: str, context: Any, *, reads: bool) -> None: ...
    def announced(self, targets: Iterable[Target]) -> None: ...
    def executed(self, cursor: Any) -> None: ...
    def instance(self, model: type) -> None: ...
    def ask_database(self) -> None: ...
    def finish(self) -> None: ...
    def pause(self) -> None: ...
    def stop(self) -> None: ...
    def resume(self) -> None: ...


class OpenTransaction:
    """A transaction under way.

    Attributes:
        connection: the real connection; what is executed here belongs to no scope.
        run: the run that is under way in it.
        writes: how many rows each run has written so far.
        watch: what holds what is written against what was declared (:mod:`ozelot.db.write_guard`).
        warned: whether somebody was told of threads that do not join.
        ended: whether it was seen to be rolled back already; then nothing of it may be committed.
        lasting: whether something was done that may last until its end, such as ``SET LOCAL`` or a temporary table.
    """

    def __init__(self, connection: Connection, *, guard: bool = True) -> None:
        self._guard = guard
        self.connection = connection
        self.engine = connection.engine
        self.run = UnderWay()
        self.writes = WriteCounts()
        self.watch: Watch | None = None
        self.warned = False
        self.ended = False
        self.lasting = False
        self.outer = _innermost.get()
        self.open = True
        self._process_and_thread = os.getpid(), threading.get_ident()
        self.guarded = False
        self._scopes: list[Scope] = []  # those with a savepoint, oldest first
        self._error: type[Exception] = self.engine.dialect.loaded_dbapi.Error
        self._savepoints = 0
        self._turns = 0  # how often the writer changed
        self._writer: Scope | None = None

    @property
    def active(self) -> bool:
        """Whether it has not ended; never true in a forked child or another thread, which cannot share it."""
        return self.open and self._process_and_thread == (os.getpid(), threading.get_ident())

    def before_statement(self, scope: Scope, *, reads: bool) -> None:
        """Give a scope a savepoint to come back to, if it may need one, and note who writes."""
        # PostgreSQL: after any failed statement nothing works until the transaction is back at a savepoint.
        if scope.savepoint is None and not (reads and self.engine.dialect.name != "postgresql"):
            if not self._savepoints and self._guard:
                self._execute(f"SAVEPOINT {_GUARD}")
                self.guarded = True
            self._savepoints += 1
            name = f"ozelot_{self._savepoints}"
            self._execute(f"SAVEPOINT {name}")
            scope.savepoint, scope.start, scope.turns, scope.failed = name, self._turns, 0, False
            scope.written = self.writes.mark()
            self._scopes.append(scope)
        if not reads and self._writer is not scope:
            self._writer = scope
            self._turns += 1
            scope.turns += 1

    def release(self, scope: Scope) -> None:
        """Keep what a scope did: it is now part of the transaction."""
        if scope.savepoint is None:
            return
        # Releasing a savepoint releases all later ones with it, so one below others is left to the final commit.
        if self._scopes[-1] is scope:
            try:
                self._execute(f"RELEASE SAVEPOINT {scope.savepoint}")
            except self._error:
                if not scope.failed:
                    raise
                self._back_to(scope)  # as PostgreSQL itself, which rolls back where a failed transaction is committed
                return
        self._forget(scope)

    def undo(self, scope: Scope) -> None:
        """Undo what a scope did since it last committed.

        Raises:
            TransactionError: another one wrote since then; the whole transaction must fail.
        """
        if scope.savepoint is None:
            return
        if not scope.turns and not scope.failed:
            self.release(scope)
            return
        self._require_alone(scope, scope.start, 0)
        self._back_to(scope)

    def mark_inner(self, scope: Scope, name: str) -> None:
        """Note that a session sets a savepoint of its own."""
        scope.inner[name] = self._turns, scope.turns, self.writes.mark()

    def before_inner_rollback(self, scope: Scope, name: str) -> None:
        """A session is about to go back to a savepoint of its own.

        Raises:
            TransactionError: another one wrote since then.
        """
        if name not in scope.inner:
            return
        turns, own, written = scope.inner[name]
        self._require_alone(scope, turns, own)
        self._turns, scope.turns, self._writer = turns, own, None
        self.writes.roll_back_to(written)

    def _require_alone(self, scope: Scope, turns: int, own: int) -> None:
        if self._turns - turns != scope.turns - own:
            raise TransactionError(
                "A session in an open transaction was rolled back, or closed without a commit, after another session "
                "wrote: the database cannot undo the one and keep the other. Use one session for all that a task "
                "writes (self.session), or commit each before the next one writes"
            )

    @contextmanager
    def nested(self) -> Iterator[None]:
        """A part that can fail by itself: on an exception all that was written within the block is undone."""
        part = Scope()
        self.before_statement(part, reads=False)
        try:
            yield
        except BaseException:
            try:
                self._back_to(part)
            except (self._error, SQLAlchemyError, TransactionError, DatabaseUnavailable):
                self.ended = True  # the first error tells why: the connection broke, the disk is full
            raise
        self.release(part)

    def scopes(self) -> list[Scope]:
        """Those that may have something to undo."""
        return list(self._scopes)

    def settle(self, but: Collection[Scope] = ()) -> int:
        """Undo what was never committed, as the end of its session would have; returns how many wrote so."""
        dropped = 0
        for scope in reversed([scope for scope in self._scopes if scope not in but]):
            dropped += bool(scope.turns)
            self.undo(scope)
        return dropped

    def _back_to(self, scope: Scope) -> None:
        self._execute(f"ROLLBACK TO SAVEPOINT {scope.savepoint}")
        self._execute(f"RELEASE SAVEPOINT {scope.savepoint}")
        self._turns, self._writer = scope.start, None
        self.writes.roll_back_to(scope.written)
        for later in self._scopes[self._scopes.index(scope) :]:
            self._forget(later)  # the savepoints of those that came later went with it

    def _forget(self, scope: Scope) -> None:
        self._scopes.remove(scope)
        scope.savepoint = None
        scope.turns = 0
        scope.inner.clear()
        if self._writer is scope:
            self._writer = None
        if not self._scopes:
            self.writes.compact()

    def _execute(self, statement: str) -> None:
        begin(self.connection)
        cursor = self.connection.connection.cursor()
        try:
            cursor.execute(statement)
        except self._error as exc:
            if _GONE.search(str(exc)):
                self.ended = True
                raise TransactionError(_ENDED_EARLY) from exc
            raise
        finally:
            cursor.close()


def begin(connection: Connection) -> None:
    """Begin for good where the database would begin with the first write only (SQLite)."""
    driver = connection.connection.driver_connection
    if isinstance(driver, sqlite3.Connection) and not driver.in_transaction:
        sqlite_file.begin(driver)


def current(engine: Engine) -> OpenTransaction | None:
    """The open transaction that connections of that engine join in this context, if any."""
    return of_pool(engine.pool)


def of_pool(pool: Pool) -> OpenTransaction | None:
    """The open transaction that connections of that pool join in this context, if any."""
    transaction = _innermost.get()
    while transaction is not None and not (transaction.active and transaction.engine.pool is pool):
        transaction = transaction.outer
    return transaction


def current_run_id() -> int | None:
    """The run under way in this context, if any."""
    return None if (run := _run_under_way()) is None else run.run_id


def _run_under_way() -> UnderWay | None:
    transaction = _innermost.get()
    while transaction is not None and not (transaction.active and transaction.run.run_id is not None):
        transaction = transaction.outer
    return None if transaction is None else transaction.run


def pages_read() -> dict[bytes, tuple[bytes, str, str]] | None:
    """Where to note the web pages that the run under way in this context reads; None where there is no run."""
    return None if (run := _run_under_way()) is None else run.pages


def elsewhere(pool: Pool) -> list[OpenTransaction]:
    """The runs under way in this process on connections of that pool, in whatever context."""
    return [found for found in list(_all) if found.open and found.run.owner is not None and found.engine.pool is pool]


@contextmanager
def open_transaction(
    engine: Engine, *, claim: str | None = None, changes_schema: bool = False
) -> Iterator[OpenTransaction]:
    """Open a transaction that all connections of the engine join until the block ends, then commit it.

    An exception rolls everything back.

    Args:
        engine: an engine that :mod:`ozelot.client` made.
        claim: hold the claim of this name for as long (:mod:`ozelot.db.locks`).
        changes_schema: tables are created or changed, which on MariaDB commits what was before.

    Raises:
        TransactionError: MariaDB ended the transaction by itself, half-way; what came after is rolled back.
    """
    with (
        engine.connect() as connection,
        claimed(connection, claim) if claim else nullcontext(),
        on_connection(connection, changes_schema=changes_schema) as transaction,
    ):
        yield transaction


@contextmanager
def on_connection(connection: Connection, *, changes_schema: bool = False) -> Iterator[OpenTransaction]:
    """As :func:`open_transaction`, on a connection at hand, which has no part in another one."""
    if not connection.in_transaction():
        connection.begin()  # statements of joined connections go past this object; its commit() must not
    # MariaDB rolls back all of a transaction in a deadlock, a driver's own commit() ends it half-way: code that goes on
    # then must not be believed.
    guard = not (changes_schema and connection.dialect.name in ("mysql", "mariadb"))
    transaction = OpenTransaction(connection, guard=guard)
    token = _innermost.set(transaction)
    _all.add(transaction)
    try:
        yield transaction
        transaction.open = False
        if transaction.ended:
            raise TransactionError(_ENDED_EARLY)
        if transaction.guarded:
            _release_guard(connection)
        connection.commit()
    finally:
        # Before the rollback: sessions that are closed from here on have nothing left to undo.
        transaction.open = False
        _innermost.reset(token)
        connection.rollback()
        if not connection.invalidated:
            driver = connection.connection.driver_connection
            if isinstance(driver, sqlite3.Connection) and driver.in_transaction:
                driver.rollback()  # SQLAlchemy thinks that the commit ended it, but that failed


def _release_guard(connection: Connection) -> None:
    try:
        connection.execute(text(f"RELEASE SAVEPOINT {_GUARD}"))
    except DBAPIError as exc:
        raise TransactionError(_ENDED_EARLY) from exc
