"""What a worker does: a batch of tasks, those that have nothing but markers in one frame, all others one by one."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import luigi

from ozelot import client, sqlite, transaction, writes
from ozelot.engine.attempts import Report, attempt, failed, succeeded
from ozelot.engine.frame import Frame
from ozelot.engine.jobs import Batch, Became, Job, Note, Outcome, is_plain
from ozelot.errors import OutputMissing
from ozelot.etl.declared import task_classes
from ozelot.etl.definition import is_external
from ozelot.etl.execution import Begun, run_task
from ozelot.etl.late import LateRequirements
from ozelot.etl.missing_rows import find_missing_rows
from ozelot.etl.status import why_not_there
from ozelot.etl.targets import ORMTarget
from ozelot.fork import ChildrenEnd
from ozelot.joined import OF_A_RUNNER
from ozelot.orm import target as marker


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
            sqlite.checked_at_end(connection),
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
    with writes.unwatched(outer):
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
