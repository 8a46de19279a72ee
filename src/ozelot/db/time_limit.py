"""A time limit for each statement, so that a database of somebody else cannot keep a command waiting forever."""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext

from ozelot.errors import ExitCode, OzelotError

_STEPS = 10_000  # of SQLite's machine, from one look at the clock to the next
#: What databases say where a statement took too long, or waited too long for another one.
_SIGNS = (
    "interrupted",
    "statement timeout",
    "max_statement_time",
    "maximum statement execution time",
    "is locked",
    "lock wait",
)


class TakesTooLong(OzelotError):
    """The database took longer to answer than it may, and was stopped."""

    exit_code = ExitCode.ENVIRONMENT


def is_over_the_limit(exc: BaseException | None) -> bool:
    """Whether an error of a driver says that a statement took too long."""
    told = str(exc).casefold()
    return any(sign in told for sign in _SIGNS)


def limit_statements(engine: sa.Engine, seconds: float) -> None:
    """End each statement that takes longer.

    Args:
        engine: one that has not connected yet.
        seconds: the limit; reading the rows is included on SQLite.
    """
    dialect = engine.dialect.name
    here = threading.local()

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        if dialect in ("sqlite", "postgresql"):
            return
        cursor = connection.cursor()
        is_mariadb = getattr(engine.dialect, "is_mariadb", False)
        limit = f"max_statement_time = {seconds}" if is_mariadb else f"max_execution_time = {int(seconds * 1000)}"
        cursor.execute(f"SET SESSION {limit}")
        cursor.execute(f"SET SESSION lock_wait_timeout = {max(1, int(seconds))}")  # MySQL's limit leaves that out
        cursor.close()

    if dialect == "postgresql":

        @event.listens_for(engine, "begin")
        def _begin(connection: sa.Connection) -> None:
            # For the transaction: behind a pooler, what is set for the session would hold for other clients.
            connection.execute(sa.text(f"SET LOCAL statement_timeout = {int(seconds * 1000)}"))

    @event.listens_for(engine, "before_cursor_execute")
    def _limit(_connection: object, cursor: Any, *_: object) -> None:
        if dialect == "sqlite":
            end = here.end = time.monotonic() + seconds
            cursor.connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS)

    @event.listens_for(engine, "handle_error")
    def _pass_on_ctrl_c(context: ExceptionContext) -> None:
        stopped = getattr(context.original_exception, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT
        if stopped and time.monotonic() <= here.end:
            raise KeyboardInterrupt  # in the function that looks at the clock, where the driver drops it
