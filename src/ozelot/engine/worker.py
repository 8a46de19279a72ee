"""What a worker does: a batch of tasks on one connection, one transaction each.

What can be done for many at once is: taking their claims, looking for their markers, recording that they start.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from typing import Any

import luigi
import sqlalchemy as sa
from luigi.task import DynamicRequirements
from sqlalchemy.exc import DBAPIError

from ozelot import claim, client, transaction, writes
from ozelot.engine.jobs import Batch, Became, Job, Note, Outcome, is_external, is_plain
from ozelot.errors import OutputMissing, TimedOut, WorkerError
from ozelot.etl.declared import keys_of, task_classes
from ozelot.etl.execution import Begun, run_task
from ozelot.etl.status import why_not_there
from ozelot.etl.targets import ORMTarget
from ozelot.joined import OF_A_RUNNER
from ozelot.orm import run
from ozelot.orm import target as marker
from ozelot.url import without_password

#: A batch that turns out to take longer is cut short: others may want to work, or wait for these claims.
_LONGEST = 0.5  # seconds

#: PostgreSQL's codes and MariaDB's numbers for "try again": deadlocks, serialization failures, lock waits.
_TRANSIENT = {"40001", "40P01", 1213, 1205}

#: What Luigi adds to a task while it runs.
_SAYINGS = "set_status_message", "set_tracking_url", "set_progress_percentage", "decrease_running_resources"

#: What Python says to a task that wants to hear of signals in a thread.
_MAIN_THREAD = "ValueError: signal only works in main thread"

Report = Callable[[Outcome | Note | str], None]


def run_batch(batch: Batch, report: Report, stopped: Callable[[], bool]) -> None:
    """Run jobs one after another.

    Args:
        batch: the jobs.
        report: is handed the label of each task that starts, and the outcome of each job.
        stopped: whether to begin no more.
    """
    if not batch.keep_going:
        report, stopped = _until_one_fails(report, stopped)
    jobs = {job.label: job for job in batch.jobs}
    plain: dict[str, Job] = {}
    others: dict[str, Job] = {}
    for label, job in list(jobs.items()):
        try:
            (plain if is_plain(job.task) else others)[label] = job
        except Exception as exc:  # noqa: BLE001 - whatever importing a module may raise
            report(failed(label, exc, 0.0))
            del jobs[label]
    engine = client.get_client().engine
    if plain:
        marker.prepare(engine)
    if (outer := transaction.current(engine)) is not None:  # all of it is one transaction of the caller's
        gone: set[str] = set()
        for label, job in jobs.items():
            if stopped() or not gone.isdisjoint(job.requires):
                gone.add(label)
                report(Outcome(label, Became.LEFT))
                continue
            report(label)
            outcome = _run_within(job, outer, report) if label in plain else _run_other(job, report)
            if outcome.became not in (Became.DONE, Became.COMPLETE):
                gone.add(label)
            report(outcome)
        return
    if plain:
        with engine.connect().execution_options(**{OF_A_RUNNER: True}) as connection:
            _Frame(connection, plain, report, stopped).run()
    for label, job in others.items():
        report(label)
        report(_run_other(job, report))


def _until_one_fails(report: Report, stopped: Callable[[], bool]) -> tuple[Report, Callable[[], bool]]:
    """The same, but no more are begun after a failure: whoever handed them out hears of it only later."""
    has_failed = threading.Event()

    def heard(told: Outcome | Note | str) -> None:
        if isinstance(told, Outcome) and told.became is Became.FAILED:
            has_failed.set()
        report(told)

    return heard, lambda: has_failed.is_set() or stopped()


def run_elsewhere(batch: Batch) -> list[Outcome]:
    """Run jobs in a process that shares nothing with the one that handed them out."""
    batch.connect()
    told: list[Outcome | Note | str] = []
    run_batch(batch, told.append, lambda: False)
    return [outcome for outcome in told if isinstance(outcome, Outcome)]


class _Frame:
    """Jobs that have nothing but markers, under their claims."""

    def __init__(
        self, connection: sa.Connection, jobs: dict[str, Job], report: Report, stopped: Callable[[], bool]
    ) -> None:
        self.connection = connection
        self.jobs = jobs
        self.report = report
        self.stopped = stopped
        self.keys = {label: keys_of(job.task)[0] for label, job in jobs.items()}
        self.begun: dict[str, Begun] = {}
        self.backend = connection.connection.driver_connection

    def run(self) -> None:
        """Run them."""
        connection = self.connection
        held = claim.take(connection, self.keys.values())
        try:
            due = self._due(held)
            self._begin(due)
            self._run(due)
        finally:
            connection.rollback()  # nothing on success; a broken connection takes no statement before that
            with suppress(DBAPIError):  # the connection may be what broke
                if unused := [begun.run_id for begun in self.begun.values() if begun.run_id is not None]:
                    run.forget(connection, unused)
                connection.commit()
            claim.give_back(connection, held)

    def _due(self, held: set[str]) -> list[Job]:
        """Those that are still to be run, and that nobody else is at."""
        free = [job for label, job in self.jobs.items() if self.keys[label] in held]
        there = marker.existing(self.connection, {key for job in free for key in keys_of(job.task)})
        due = []
        for job in free:
            if job.again or there.isdisjoint(keys_of(job.task)):
                due.append(job)
            else:
                self.report(Outcome(job.label, Became.COMPLETE))
        self.busy = [label for label in self.jobs if self.keys[label] not in held]
        for label in self.busy:
            self.report(Outcome(label, Became.BUSY))
        self.there = there
        return due

    def _begin(self, due: list[Job]) -> None:
        mine = {self.keys[job.label] for job in due}
        before = {key for job in due for key in job.required if key not in mine}
        self.runs = run.latest(self.connection, before) if before else {}
        if not due:
            return
        told = [(self.keys[job.label], job.task.get_name(), job.task.get_param_string()) for job in due]  # type: ignore[attr-defined]
        started = run.begin(self.connection, told)
        for job in due:
            target = ORMTarget.from_task(job.task)
            missing = [target] if self.there.isdisjoint(target.keys) else []
            begun = Begun(self.connection, target.keys[0], missing)
            begun.run_id, begun.ran_before = started[target.keys[0]]
            self.begun[job.label] = begun
        self.connection.commit()  # so that others see that they are running

    def _run(self, due: list[Job]) -> None:
        until = time.perf_counter() + _LONGEST
        gone = set(self.busy)  # what did not become complete, and what requires it
        for job in due:
            # What is not complete is required by those behind it; a broken connection has lost all claims.
            lost = self.connection.connection.driver_connection is not self.backend
            if self.stopped() or not gone.isdisjoint(job.requires) or lost or time.perf_counter() > until:
                gone.add(job.label)
                self.report(Outcome(job.label, Became.LEFT))
                continue
            begun = self.begun.pop(job.label)
            begun.required = {self.runs[key] for key in job.required if key in self.runs}
            self.report(job.label)
            outcome = _attempt(job, self.report, lambda job=job, begun=begun: run_task(job.task, begun))  # type: ignore[misc]
            outcome.rows = begun.rows
            if outcome.became is Became.DONE and begun.finished and begun.run_id is not None:
                self.runs[begun.key] = begun.run_id
            elif outcome.became is Became.DONE:
                outcome.became = Became.COMPLETE  # the database says that another one was faster
            if outcome.became not in (Became.DONE, Became.COMPLETE):
                gone.add(job.label)
            self.report(outcome)


def _run_within(job: Job, outer: transaction.OpenTransaction, report: Report) -> Outcome:
    """Run an ORM task as a part of the caller's own transaction."""
    target = ORMTarget.from_task(job.task)
    with writes.unwatched(outer):
        there = marker.existing(outer.connection, target.keys)
        if there and not job.again:
            return Outcome(job.label, Became.COMPLETE)
        begun = Begun(outer.connection, target.keys[0], [] if there else [target])
        outcome = _attempt(job, report, lambda: run_task(job.task, begun))
    if outcome.became is Became.LOST:
        outcome.became = Became.FAILED  # with the connection, or by a deadlock, all of the transaction is lost
    outcome.rows = begun.rows
    return outcome


def _run_other(job: Job, report: Report) -> Outcome:
    """Run a task that is complete by something else than a marker."""
    task = job.task
    if is_external(task):
        if task.complete():  # by now
            return Outcome(job.label, Became.COMPLETE)
        return failed(job.label, OutputMissing(why_not_there(task)), 0.0)
    return _attempt(job, report, task.run, _require_output)


def _require_output(task: luigi.Task) -> None:
    if type(task) not in task_classes and _has_to_be_complete(task) and not task.complete():
        raise OutputMissing(why_not_there(task))


def _has_to_be_complete(task: luigi.Task) -> bool:
    """Whether a task says when it is complete; one without any output never is, and runs each time."""
    return type(task).complete is not luigi.Task.complete or bool(luigi.task.flatten(task.output()))


class _Says:
    """What Luigi lets a task call while it runs; where a copy travels to another process, nobody hears it."""

    def __init__(self, hear: Callable[[Any], object]) -> None:
        self._hear = hear

    def __call__(self, what: Any) -> None:
        self._hear(what)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Says, (str,)


def _attempt(
    job: Job, report: Report, act: Callable[[], Any], check: Callable[[luigi.Task], None] = lambda task: None
) -> Outcome:
    """Run a task with what Luigi promises around it: events, hooks, and what it may say."""
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
        if (waits_for := _finish(task, act())) is not None:
            jobs = [Job(requirement, [], []) for requirement in waits_for]
            return Outcome(job.label, Became.WAITS, time.perf_counter() - begin, wanted=jobs)
        check(task)
        seconds = time.perf_counter() - begin
        task.trigger_event(luigi.Event.PROCESSING_TIME, task, seconds)
        task.on_success()
        task.trigger_event(luigi.Event.SUCCESS, task)
        return Outcome(job.label, Became.DONE, seconds)
    except KeyboardInterrupt:  # ends the run
        raise
    except BaseException as exc:  # noqa: BLE001 - the task's own; under Luigi, too, sys.exit() fails the task
        seconds = time.perf_counter() - begin
        if is_transient(exc):
            return failed(job.label, exc, seconds, Became.LOST)
        task.trigger_event(luigi.Event.FAILURE, task, exc)
        with suppress(Exception):  # what counts is the first error
            task.on_failure(exc)
        return failed(job.label, exc, seconds)
    finally:
        vars(task).update(dict.fromkeys(_SAYINGS))


def _finish(task: luigi.Task, result: Any) -> Iterable[luigi.Task] | None:
    """Go on with a ``run()`` that yields requirements; returns those that it has to wait for."""
    if not isinstance(result, Generator):
        return None
    answer = None
    try:
        while True:
            wanted = result.send(answer)
            requirements = wanted if isinstance(wanted, DynamicRequirements) else DynamicRequirements(wanted)
            # An ORM task has looked, and undone what it did so far.
            if type(task) in task_classes or not requirements.complete():
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
    first = _first_of(exc)
    lines = without_password(url, str(first.orig if isinstance(first, DBAPIError) else first)).strip().splitlines()
    reason = f"{type(first).__name__}: {lines[0]}" if lines else type(first).__name__
    if isinstance(exc, ValueError) and reason.startswith(_MAIN_THREAD):  # as a task that starts a program
        reason += ". Use processes, where each task has a main thread: ozelot run --processes"
    if isinstance(exc, OutputMissing | TimedOut | WorkerError):  # of the run, not of the task's code
        return Outcome(label, became, seconds, reason=str(exc), exception=exc)
    told = without_password(url, "".join(traceback.format_exception(exc)))
    return Outcome(label, became, seconds, reason=reason, traceback=told, exception=exc)


def _first_of(exc: BaseException) -> BaseException:
    """The deadlock or the lost connection that an error came of: MariaDB tells of savepoints that went with it."""
    earlier = exc.__context__
    while earlier is not None:
        if is_transient(earlier):
            return earlier
        earlier = earlier.__context__
    return exc


def is_transient(exc: BaseException) -> bool:
    """Whether an error says that a connection broke, or that another transaction was in the way."""
    if not isinstance(exc, DBAPIError):
        return exc.__cause__ is not None and is_transient(exc.__cause__)
    code: Any = getattr(exc.orig, "sqlstate", None) or next(iter(getattr(exc.orig, "args", ())), None)
    return exc.connection_invalidated or code in _TRANSIENT
