"""The errors of ozelot, all of one family, and the exit codes of its commands.

::

    OzelotError
    ├── ConfigError           a setting is missing, wrong, or cannot be read
    ├── DatabaseUnavailable   no connection to the database: driver, address, password, file
    ├── DatabaseNewer         a later ozelot wrote the database
    ├── TransactionError      sessions of one open transaction got in each other's way
    ├── MarkerNotFound        a marker that was to be removed is not there
    ├── TaskBroken            requires(), complete() or output() of a task failed, or gave what is no task
    ├── TaskInvalid           a task class has no usable run(), or does not declare what it writes
    ├── GraphError            requirements in a circle, two task classes of one name, or two tasks that fill one column
    ├── LeftoverRows          a task was about to run on top of rows of an earlier run
    ├── UndeclaredWrite       a task wrote to a table that it does not declare
    ├── LoadError             rows do not fit the model that they were to be loaded into
    ├── ValueRejected         a value that was given to a session or to Core does not fit its column
    ├── CheckFailed           the data are not what a check says that they should be
    ├── NoRun                 a row that belongs to a task was added outside of its run()
    ├── NotClearable          a task neither says what it creates nor how to clear it
    ├── ClearRefused          clearing would break rows that are not to be cleared
    ├── RowsChanged           clearing met other rows than it had counted
    ├── TableMissing          a task uses a table, or a column, that is not in the database
    ├── TableReferenced       a table cannot be dropped while others refer to it
    ├── UpgradeRefused        the database cannot be brought to what the models say
    ├── OutputMissing         a task ran without an error, but what it is to make is not there
    ├── TimedOut              a task took longer than it may
    ├── WorkerError           a worker died, or has not what it needs
    ├── FrameError            a query has no result for a frame, or one that its types do not hold
    ├── UsageError            options of a command do not go together
    ├── ProjectRefused        a project cannot be made in this folder, or under this name
    ├── TaskNotFound          a command was given a name that means no task, or several
    ├── NotConfirmed          a command that deletes was not told to go ahead
    └── FetchError            a web request failed
        ├── TooLarge          the answer is longer than the cache takes
        ├── Disallowed        the robots.txt of the server forbids it
        ├── LocalTargetRefused  the server is this machine or on its link, which the cache was told to refuse
        └── NotInCache        the page is not kept, and offline nobody may be asked

    Interrupted               Ctrl-C during a run; a KeyboardInterrupt that holds what came of it

Each also derives from what ozelot 0.2 raised in its place (mostly ``RuntimeError``), so that code written
for it goes on catching it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """What a command tells the shell."""

    OK = 0
    INCOMPLETE = 1  # the pipeline is not complete, or something was found
    USAGE = 2  # the command was called wrongly
    ENVIRONMENT = 3  # the database, a module or a setting is not as it should be


class OzelotError(Exception):
    """Base of all errors that ozelot raises on purpose; the message is meant for the user."""

    exit_code = ExitCode.INCOMPLETE


class ConfigError(OzelotError, RuntimeError, ValueError):
    """A setting is missing, wrong, or cannot be read."""

    exit_code = ExitCode.ENVIRONMENT


class DatabaseUnavailable(OzelotError, RuntimeError):
    """The database cannot be reached; the message names what to change, never a password.

    Attributes:
        database: its URL, without the password.
    """

    exit_code = ExitCode.ENVIRONMENT
    database = ""


class DatabaseFileError(OzelotError, RuntimeError):
    """An SQLite file cannot be written safely: it was deleted or replaced while in use, or has several names."""

    exit_code = ExitCode.ENVIRONMENT


class DatabaseNewer(OzelotError, RuntimeError):
    """A later ozelot brought the tables of the database to a form that this one does not know."""

    exit_code = ExitCode.ENVIRONMENT


class TransactionError(OzelotError, RuntimeError):
    """Several sessions that share one open transaction got in each other's way."""


class MarkerNotFound(OzelotError, LookupError, RuntimeError):
    """A marker that was to be removed is not there."""


class TaskBroken(OzelotError, RuntimeError):
    """A task could not be asked: ``requires()``, ``complete()`` or ``output()`` failed, or gave what is no task."""

    exit_code = ExitCode.ENVIRONMENT


class TaskInvalid(OzelotError, TypeError):
    """A task class has no usable ``run()``, or does not declare what it writes; the message has the file and line."""

    exit_code = ExitCode.ENVIRONMENT


class GraphError(OzelotError, RuntimeError):
    """Requirements run in a circle, or two tasks share a name or a column that they fill; the message says which."""


class LeftoverRows(OzelotError, RuntimeError):
    """A task was about to run although rows of an earlier run of it are still there.

    Attributes:
        clear: the name of the task whose class is gone, and whose rows they are; empty where they are the task's own.
    """

    def __init__(self, message: str, clear: str = "") -> None:
        super().__init__(message)
        self.clear = clear


class UndeclaredWrite(OzelotError, RuntimeError):
    """A task wrote to a table that neither its ``creates`` nor its ``updates`` names; all was rolled back."""


class LoadError(OzelotError, ValueError):
    """Rows do not fit the model that they were to be loaded into; nothing of that load is in the database."""


class ValueRejected(OzelotError, ValueError):
    """A value that was given to a session or to Core does not fit its column, which would store another value."""


class CheckFailed(OzelotError, AssertionError):
    """The data are not what checks say that they should be.

    Attributes:
        results: what came of all checks that were made together, a list of :class:`ozelot.checks.Result`.
    """

    def __init__(self, message: str, results: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.results = results


class NoRun(OzelotError, RuntimeError):
    """A row of a model with ``TaskOwned`` was added outside of the ``run()`` of a task."""


class NotClearable(OzelotError, NotImplementedError):
    """A task neither declares what it creates or updates, nor defines ``clear()``."""


class ClearRefused(OzelotError, RuntimeError):
    """Clearing would break, or take along, rows that are not to be cleared; nothing was changed."""


class RowsChanged(OzelotError, RuntimeError):
    """Clearing met other rows than it had counted a moment before; nothing was changed."""


class TableMissing(OzelotError, RuntimeError):
    """A task uses a table or a column of a model that is not in the database, or would once its rows were cleared."""

    exit_code = ExitCode.ENVIRONMENT


class TableReferenced(OzelotError, RuntimeError):
    """A table cannot be dropped while other tables refer to it."""


class UpgradeRefused(OzelotError, RuntimeError):
    """The database cannot be brought to what the models say; the message tells whether something was changed."""


class OutputMissing(OzelotError, RuntimeError):
    """A task ran without an error, but what says that it is complete is not there."""


class TimedOut(OzelotError, TimeoutError):
    """A task took longer than it may, and its process was ended."""


class WorkerError(OzelotError, RuntimeError):
    """A worker died in the middle of a task, or has not what it needs to run it."""


class FrameError(OzelotError, ValueError):
    """A query has no result to make a frame of, or values that do not fit the types of its columns."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C ended a run: what ran stays, what was under way ended or was rolled back.

    Attributes:
        result: what came of the run, a :class:`ozelot.engine.RunResult`.
    """

    def __init__(self, result: Any) -> None:
        super().__init__("the run was interrupted")
        self.result = result


class UsageError(OzelotError, ValueError):
    """Options of a command do not go together."""

    exit_code = ExitCode.USAGE


class ProjectRefused(OzelotError, ValueError):
    """A project cannot be made in this folder, or under this name; nothing was made."""

    exit_code = ExitCode.USAGE


class TaskNotFound(OzelotError, LookupError):
    """A command was given a name that means no task of the pipeline, or several where it takes one."""

    exit_code = ExitCode.USAGE


class NotConfirmed(OzelotError):
    """A command that deletes was not told to go ahead; nothing was changed."""


class FetchError(OzelotError, RuntimeError):
    """A web request failed, or failed earlier and its failure was kept in the request cache.

    Attributes:
        url: the address that was asked for, without what is secret in it.
        status: the HTTP status, or one of the codes above 900 in :mod:`ozelot.cache`.
        tries: how often somebody was asked.
    """

    def __init__(self, message: str, *, url: str, status: int, tries: int = 0) -> None:
        super().__init__(message)
        self.url = url
        self.status = status
        self.tries = tries

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_fetch_error, (type(self), str(self), self.url, self.status, self.tries)


def _rebuild_fetch_error(kind: type[FetchError], message: str, url: str, status: int, tries: int) -> FetchError:
    return kind(message, url=url, status=status, tries=tries)


class TooLarge(FetchError):
    """An answer is longer than the request cache takes."""


class Disallowed(FetchError):
    """The ``robots.txt`` of the server forbids to ask for a page, and it was to be honoured."""


class LocalTargetRefused(FetchError):
    """An address leads to this machine or its link, and the request cache was told to refuse these."""


class NotInCache(FetchError):
    """A page is not in the request cache, and offline nobody may be asked for it."""


@contextmanager
def exit_on_error() -> Iterator[None]:
    """End the program with one line on stderr and an exit code where an :class:`OzelotError` comes out.

    For the outermost level of a script. Any other exception passes with its traceback: it is a bug.

    Raises:
        SystemExit: with the error's ``exit_code``.
    """
    try:
        yield
    except OzelotError as exc:
        print(f"error: {exc}", file=sys.stderr)  # noqa: T201 - the one place that talks to the terminal
        sys.exit(exc.exit_code)
