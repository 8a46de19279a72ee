"""What a worker does: a batch of tasks, those that have nothing but markers in one frame, all others one by one."""

from __future__ import annotations

import functools
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import luigi
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ozelot import client
from ozelot.db import locks, sqlite_file, transaction, write_guard
from ozelot.db.fork_safety import ChildrenEnd
from ozelot.db.joined_connection import OF_A_RUNNER
from ozelot.engine.luigi_hooks import Report, attempt, failed, succeeded
from ozelot.engine.messages import Batch, Became, Job, Note, Outcome, is_plain
from ozelot.errors import DatabaseUnavailable, OutputMissing
from ozelot.etl.execution import Begun, run_task
from ozelot.etl.status import why_not_there
from ozelot.pipeline.declarations import keys_of, task_classes
from ozelot.pipeline.definition import is_external
from ozelot.pipeline.marker_target import ORMTarget
from ozelot.pipeline.user_code import LateRequirements
from ozelot.staleness.fingerprint import fingerprint_of
from ozelot.state import inputs
from ozelot.state import markers as marker
from ozelot.state import runs as run
from ozelot.state.lineage import find_missing_rows
from ozelot.state.runs import Starting

#: A batch that turns out to take longer is cut short: others may want to work, or wait for these claims.
_LONGEST = 0.5  # seconds

#: What takes less than that shares a commit with others, none of which starts later than that after the first.
_QUICK, _TOGETHER = 0.002, 0.02  # seconds


class Frame:
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
        self.gone: set[str] = set()  # labels of what did not become complete
        self.may_share = connection.dialect.name != "sqlite"
        self.backend = connection.connection.driver_connection

    def run(self) -> None:
        """Run them."""
        connection = self.connection
        held = locks.take(connection, self.keys.values())
        try:
            due = self._due(held)
            self._begin(due)
            self._run(due)
        finally:
            try:
                connection.rollback()  # nothing on success; a broken connection takes no statement before that
                with suppress(DBAPIError, DatabaseUnavailable):  # the connection may be what broke
                    if unused := [begun.run_id for begun in self.begun.values() if begun.run_id is not None]:
                        run.forget(connection, unused)
                    connection.commit()
            finally:
                locks.give_back(connection, held)

    def _due(self, held: set[str]) -> list[Job]:
        """Those that are still to be run, and that nobody else is at."""
        free = [job for label, job in self.jobs.items() if self.keys[label] in held]
        # First: whoever fills an empty table again removes the markers of all whose rows are gone, in one commit.
        lost = {self.keys[job.label] for job in free if job.lost_rows}
        self.lost = find_missing_rows(self.connection, lost) if lost else {}
        there = marker.existing(self.connection, {key for job in free for key in keys_of(job.task)})
        due = []
        for job in free:
            if job.again or there.isdisjoint(keys_of(job.task)) or self.keys[job.label] in self.lost:
                due.append(job)
            else:
                self.report(Outcome(job.label, Became.COMPLETE))
        for label, key in self.keys.items():
            if key not in held:
                self.gone.add(label)
                self.report(Outcome(label, Became.BUSY))
        self.there = there
        return due

    def _begin(self, due: list[Job]) -> None:
        mine = {self.keys[job.label] for job in due}
        before = {key for job in due for key in job.required if key not in mine}
        self.runs = run.latest(self.connection, before) if before else {}
        if not due:
            return
        made_of = {job.label: fingerprint_of(job.task, job.needs.columns) for job in due}
        inputs.keep(self.connection, set(made_of.values()))
        started = run.begin(self.connection, [self._starting(job, made_of[job.label]) for job in due])
        for job in due:
            target = ORMTarget.from_task(job.task)
            lost_rows = target.keys[0] in self.lost
            missing = [target] if lost_rows or self.there.isdisjoint(target.keys) else []
            begun = Begun(self.connection, target.keys[0], missing, needs=job.needs, lost_rows=lost_rows)
            begun.run_id, begun.ran_before = started[target.keys[0]]
            self.begun[job.label] = begun
        self.connection.commit()  # so that others see that they are running

    def _starting(self, job: Job, made_of: inputs.Fingerprint) -> Starting:
        task: Any = job.task
        return Starting(self.keys[job.label], task.get_name(), task.get_param_string(), made_of.digest)

    def _run(self, due: list[Job]) -> None:
        self._until = time.perf_counter() + _LONGEST
        waiting = deque(due)
        is_quick = False
        while waiting:
            together = self.may_share and is_quick and len(waiting) > 1
            is_quick = self._together(waiting) if together else self._alone(waiting.popleft())

    def _alone(self, job: Job) -> bool:
        """Run one task in a transaction of its own; whether that took next to no time."""
        outcome = self._attempt(job, self.begun.pop(job.label))
        self._tell(job, outcome)
        return _is_quick(outcome)

    def _together(self, waiting: deque[Job]) -> bool:
        """Run tasks in one transaction, for as long as they take next to no time; whether they do.

        Each lies behind a savepoint, so one that fails takes no other along. None of them requires another: what a
        task requires is committed before it starts, and so there for whatever connection it may use.
        """
        ended: list[tuple[Job, Begun, Outcome]] = []
        until = time.perf_counter() + _TOGETHER
        inside: set[str] = set()
        is_quick = True
        try:
            with transaction.on_connection(self.connection) as opened:
                while is_quick and waiting and inside.isdisjoint(waiting[0].requires):
                    job = waiting.popleft()
                    begun = self.begun.pop(job.label)
                    inside.add(job.label)
                    outcome = self._attempt(job, begun)
                    ended.append((job, begun, outcome))
                    is_quick = _is_quick(outcome)
                    if opened.lasting or time.perf_counter() > until:
                        break
        except Exception as exc:  # noqa: BLE001 - whatever a commit may raise
            self._undone(ended, exc)
            return False
        for job, _, outcome in ended:
            self._tell(job, outcome)
        return is_quick

    def _undone(self, ended: list[tuple[Job, Begun, Outcome]], exc: Exception) -> None:
        """What ran together was rolled back: each once more by itself, where the connection is still there."""
        lost = self._is_lost()
        there = set() if lost else marker.existing(self.connection, [begun.key for _, begun, _ in ended])
        for job, begun, outcome in ended:
            if outcome.became is Became.DONE and lost:
                self._tell(job, failed(job.label, exc, outcome.seconds, Became.LOST))
            elif outcome.became is Became.DONE and begun.key not in there:
                self.begun[job.label] = begun.anew()
                self._alone(job)
            else:
                if outcome.became is Became.FAILED and begun.run_id is not None and not lost:
                    run.fail(self.connection, begun.run_id, outcome.traceback)
                    self.connection.commit()
                self._tell(job, outcome)

    def _is_lost(self) -> bool:
        """Whether the connection is another one by now, and with it all claims are lost."""
        return self.connection.connection.driver_connection is not self.backend

    def _attempt(self, job: Job, begun: Begun) -> Outcome:
        # What is not complete is required by those behind it.
        late = time.perf_counter() > self._until
        if late or self.stopped() or not self.gone.isdisjoint(job.requires) or self._is_lost():
            self.begun[job.label] = begun  # its record is to be forgotten
            return Outcome(job.label, Became.LEFT)
        begun.required = {self.runs[key] for key in job.required if key in self.runs}
        self.report(job.label)
        outcome = attempt(job, self.report, functools.partial(run_task, job.task, begun))
        outcome.rows, outcome.notes = begun.rows, begun.notes
        if outcome.became is Became.DONE and begun.finished and begun.run_id is not None:
            self.runs[begun.key] = begun.run_id
        elif outcome.became is Became.DONE:
            outcome.became = Became.COMPLETE  # the database says that another one was faster
        return outcome

    def _tell(self, job: Job, outcome: Outcome) -> None:
        outcome = succeeded(job, outcome)
        if outcome.became not in (Became.DONE, Became.COMPLETE):
            self.gone.add(job.label)
        self.report(outcome)


def _is_quick(outcome: Outcome) -> bool:
    return outcome.became is Became.DONE and outcome.seconds < _QUICK


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
        with (
            engine.connect().execution_options(**{OF_A_RUNNER: True}) as connection,
            sqlite_file.checked_at_end(connection),
        ):
            Frame(connection, plain, report, stopped).run()
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
    told: list[Outcome | Note | str] = []
    with client.connected_to(batch.url):
        run_batch(batch, told.append, lambda: False)
    return [outcome for outcome in told if isinstance(outcome, Outcome)]


def _run_within(job: Job, outer: transaction.OpenTransaction, report: Report) -> Outcome:
    """Run an ORM task as a part of the caller's own transaction."""
    target = ORMTarget.from_task(job.task)
    with write_guard.unwatched(outer):
        lost_rows = bool(job.lost_rows and find_missing_rows(outer.connection, [target.keys[0]]))
        there = marker.existing(outer.connection, target.keys)
        if there and not job.again and not lost_rows:
            return Outcome(job.label, Became.COMPLETE)
        missing = [] if there and not lost_rows else [target]
        begun = Begun(outer.connection, target.keys[0], missing, needs=job.needs, lost_rows=lost_rows)
        outcome = succeeded(job, attempt(job, report, functools.partial(run_task, job.task, begun)), committed=False)
    if outcome.became in (Became.LOST, Became.REFUSED):
        outcome.became = Became.FAILED  # with the connection, or by a deadlock, all of the transaction is lost
    outcome.rows, outcome.notes = begun.rows, begun.notes
    return outcome


def _run_other(job: Job, report: Report) -> Outcome:
    """Run a task that is complete by something else than a marker."""
    task = job.task
    if is_external(task):
        if task.complete():  # by now
            return Outcome(job.label, Became.COMPLETE)
        why = "another program has to complete it (run = None)" if type(task) in task_classes else why_not_there(task)
        return failed(job.label, OutputMissing(why), 0.0)

    def act(late: LateRequirements) -> Any:
        if type(task) in task_classes:
            return run_task(task, late=late)
        with ChildrenEnd():
            return task.run()

    return succeeded(job, attempt(job, report, act, _require_output))


def _require_output(task: luigi.Task) -> None:
    if type(task) not in task_classes and _has_to_be_complete(task) and not task.complete():
        raise OutputMissing(why_not_there(task))


def _has_to_be_complete(task: luigi.Task) -> bool:
    """Whether a task says when it is complete; one without any output never is, and runs each time."""
    return type(task).complete is not luigi.Task.complete or bool(luigi.task.flatten(task.output()))
