"""What Luigi promises around the run of a task: events, hooks, what it may say; and what an error comes down to."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from typing import Any

import luigi
from luigi.task import DynamicRequirements
from sqlalchemy.exc import DBAPIError

from ozelot import client
from ozelot.db import sqlite_file
from ozelot.db.fork_safety import ChildrenEnd
from ozelot.db.server_errors import advice, codes_of
from ozelot.db.url import hide_password, without_password
from ozelot.engine.messages import Became, Job, Note, Outcome
from ozelot.errors import DatabaseUnavailable, OutputMissing, TimedOut, WorkerError
from ozelot.pipeline.declarations import task_classes
from ozelot.pipeline.definition import refuse_awaitable
from ozelot.pipeline.user_code import LateRequirements
from ozelot.staleness.fingerprint import Needs
from ozelot.state.runs import reason_of

#: PostgreSQL's codes and MariaDB's numbers for "try again": deadlocks, serialization failures, lock waits.
_TRANSIENT = {"40001", "40P01", 1213, 1205}

#: What Luigi adds to a task while it runs.
_SAYINGS = "set_status_message", "set_tracking_url", "set_progress_percentage", "decrease_running_resources"

#: What Python says to a task that wants to hear of signals in a thread.
_MAIN_THREAD = "ValueError: signal only works in main thread"

Report = Callable[[Outcome | Note | str], None]


class _Says:
    """What Luigi lets a task call while it runs; where a copy travels to another process, nobody hears it."""

    def __init__(self, hear: Callable[[Any], object]) -> None:
        self._hear = hear

    def __call__(self, what: Any) -> None:
        self._hear(what)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Says, (str,)


def attempt(
    job: Job,
    report: Report,
    act: Callable[[LateRequirements], Any],
    check: Callable[[luigi.Task], None] = lambda task: None,
) -> Outcome:
    """Run a task; where that went well, :func:`succeeded` is to follow, once it is committed.

    Args:
        job: the task.
        report: is handed what the task says.
        act: runs it, given what it has requested so far.
        check: raises where it is not complete then.
    """
    task = job.task
    says = _Says(lambda text: report(Note(job.label, str(text))))
    vars(task).update(
        set_status_message=says,
        set_tracking_url=says,
        set_progress_percentage=_Says(lambda percent: report(Note(job.label, f"{percent} %"))),
        decrease_running_resources=_Says(lambda part: report(Note(job.label, gives_back=dict(part)))),
    )
    begin = time.perf_counter()
    task.trigger_event(luigi.Event.START, task)
    try:
        late = LateRequirements() if job.late is None else job.late
        late.requested = set()
        waits_for = _finish(task, act(late), late)
        if waits_for is not None:
            jobs = [Job(requirement, [], [], Needs()) for requirement in waits_for]
            seconds = time.perf_counter() - begin
            return Outcome(job.label, Became.WAITS, seconds, wanted=jobs, late=late)
        check(task)
        seconds = time.perf_counter() - begin
        task.trigger_event(luigi.Event.PROCESSING_TIME, task, seconds)
        return Outcome(job.label, Became.DONE, seconds)
    except KeyboardInterrupt:  # ends the run
        raise
    except BaseException as exc:  # noqa: BLE001 - the task's own; under Luigi, too, sys.exit() fails the task
        seconds = time.perf_counter() - begin
        if (became := became_by(exc)) is not Became.FAILED:
            return failed(job.label, exc, seconds, became)
        return _failed_for_good(job, exc, seconds)
    finally:
        vars(task).update(dict.fromkeys(_SAYINGS))


def succeeded(job: Job, outcome: Outcome, *, committed: bool = True) -> Outcome:
    """Tell a task, and all who listen, that it ended well; the outcome, which is another one if that raises.

    Args:
        job: the task.
        outcome: of its run.
        committed: whether the task stays complete if its ``on_success()`` raises.
    """
    if outcome.became is not Became.DONE:
        return outcome
    try:
        job.task.on_success()
        job.task.trigger_event(luigi.Event.SUCCESS, job.task)
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # noqa: BLE001 - the task's own
        found = _failed_for_good(job, exc, outcome.seconds)
        if committed:
            found.became, found.rows, found.notes = outcome.became, outcome.rows, outcome.notes
            found.reason = f"on_success() failed after the commit, and the task is complete: {found.reason}"
        return found
    return outcome


def _failed_for_good(job: Job, exc: BaseException, seconds: float) -> Outcome:
    job.task.trigger_event(luigi.Event.FAILURE, job.task, exc)
    with suppress(Exception):  # what counts is the first error
        job.task.on_failure(exc)
    return failed(job.label, exc, seconds)


def _finish(task: luigi.Task, result: Any, late: LateRequirements) -> Iterable[luigi.Task] | None:
    """Go on with a ``run()`` that yields requirements; returns those that it has to wait for."""
    if not isinstance(result, Generator):
        refuse_awaitable(task, result)
        return None
    answer = None
    try:
        while True:
            with ChildrenEnd():
                wanted = result.send(answer)
            requirements = wanted if isinstance(wanted, DynamicRequirements) else DynamicRequirements(wanted)
            # An ORM task has looked, and undone what it did so far.
            if type(task) in task_classes or not late.is_complete(requirements):
                found: Iterable[luigi.Task] = requirements.flat_requirements
                return found
            answer = requirements.paths
    except StopIteration:
        return None
    finally:
        result.close()


def failed(label: str, exc: BaseException, seconds: float, became: Became = Became.FAILED) -> Outcome:
    """The outcome of a task that raised."""
    url = client.get_client().engine.url
    first = exc if became is Became.REFUSED else _first_of(exc)
    lines = without_password(url, str(first.orig if isinstance(first, DBAPIError) else first)).strip().splitlines()
    told = without_password(url, "".join(traceback.format_exception(exc)))
    reason = f"{type(first).__name__}: {lines[0]}" if lines else type(first).__name__
    if isinstance(first, DBAPIError) and (what_to_do := advice(first.orig, sqlite_file.file_of(url))):
        reason += f": {what_to_do}"
    if type(first) is AssertionError and not lines:
        reason = reason_of(told)
    if isinstance(exc, ValueError) and reason.startswith(_MAIN_THREAD):  # as a task that starts a program
        reason += ". Use processes, where each task has a main thread: ozelot run --processes"
    if isinstance(exc, OutputMissing | TimedOut | WorkerError):  # of the run, not of the task's code
        return Outcome(label, became, seconds, reason=str(exc), exception=exc)
    return Outcome(label, became, seconds, reason=reason, traceback=told, exception=exc)


def _first_of(exc: BaseException) -> BaseException:
    """The deadlock or the lost connection that an error came of: MariaDB tells of savepoints that went with it."""
    earlier = exc.__context__
    while earlier is not None:
        if is_transient(earlier):
            return earlier
        earlier = earlier.__context__
    return exc


def became_by(exc: BaseException) -> Became:
    """What became of a task that raised: whether it may begin again, now or once the database answers."""
    if is_transient(exc):
        return Became.LOST
    url = client.get_client().url
    refused = url.get_backend_name() != "sqlite" and _is_unavailable(exc, hide_password(url))
    return Became.REFUSED if refused else Became.FAILED


def _is_unavailable(exc: BaseException, database: str) -> bool:
    if isinstance(exc, DatabaseUnavailable):
        return exc.database == database
    return exc.__cause__ is not None and _is_unavailable(exc.__cause__, database)


def is_transient(exc: BaseException) -> bool:
    """Whether an error says that a connection broke, or that another transaction was in the way."""
    if not isinstance(exc, DBAPIError):
        return exc.__cause__ is not None and is_transient(exc.__cause__)
    return exc.connection_invalidated or not _TRANSIENT.isdisjoint(codes_of(exc.orig))
