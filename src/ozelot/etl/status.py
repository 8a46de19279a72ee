"""The state of every task of a graph, as data."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from enum import StrEnum

import luigi
import sqlalchemy as sa

from ozelot import client
from ozelot.claim import is_held
from ozelot.etl.completion import complete, pending
from ozelot.etl.declared import is_orm_task, task_classes
from ozelot.etl.graph import Graph, walk
from ozelot.etl.identity import task_name, task_params
from ozelot.etl.targets import ORMTarget
from ozelot.orm import run
from ozelot.orm.run import Run


class State(StrEnum):
    """What is to be said of a task."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    ON_INCOMPLETE = "complete on incomplete"


@dataclass(frozen=True)
class TaskStatus:
    """The state of one task.

    Attributes:
        task: the task.
        label: its name and parameters.
        state: whether it is complete, and so is all upstream.
        why: the reason in words, where it is not; empty where it is.
        when: when its last run ended, in UTC; None where no run is recorded.
        seconds: how long that run took.
        rows: how many rows of each table it made, and ``table.column``: how many values it set.
    """

    task: luigi.Task
    label: str
    state: State
    why: str
    when: datetime.datetime | None = None
    seconds: float | None = None
    rows: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the task."""
        return task_name(self.task)

    @property
    def params(self) -> str:
        """Its parameter string."""
        return task_params(self.task)


def status(root: luigi.Task) -> list[TaskStatus]:
    """The state of a task and everything upstream, requirements first; changes nothing.

    The number of queries does not depend on the size of the graph, but for one for each task that is running.
    """
    graph = walk(root)
    done = complete(graph)
    open_tasks = pending(graph, done)
    last = _last_runs(graph)
    found = []
    for label, task in graph.tasks.items():
        recorded = last.get(label)
        if label not in open_tasks:
            state, why = State.COMPLETE, ""
        elif label in done:
            first = next(requirement for requirement in graph.requires[label] if requirement in open_tasks)
            state, why = State.ON_INCOMPLETE, f"requires {first}, which is not complete"
        else:
            state, why = State.INCOMPLETE, _why_incomplete(recorded, is_orm_task(task))
        if recorded is None:
            found.append(TaskStatus(task, label, state, why))
            continue
        took = (recorded.finished - recorded.started).total_seconds() if recorded.finished else None
        rows = recorded.row_counts if label in done else {}
        found.append(TaskStatus(task, label, state, why, recorded.finished, took, rows))
    return found


def _last_runs(graph: Graph) -> dict[str, Run]:
    orm_tasks = {label: task for label, task in graph.tasks.items() if type(task) in task_classes}
    keys = {ORMTarget.from_task(task).keys[0]: label for label, task in orm_tasks.items()}
    database = client.get_client()
    with database.create_session() as session:
        if not keys or not sa.inspect(session.connection()).has_table(Run.__tablename__):
            return {}
        found = {}
        for recorded in session.scalars(run.last_runs(list(keys))):
            if recorded.key in keys:
                if recorded.state == run.RUNNING and not is_held(session.connection(), recorded.key):
                    recorded.state = run.ABORTED
                found[keys[recorded.key]] = recorded
        session.expunge_all()  # what was said of aborted runs is not for the database
        return found


def _why_incomplete(recorded: Run | None, is_orm: bool) -> str:
    if recorded is None:
        return "it never ran" if is_orm else "its output is not there"
    if recorded.state == run.FAILED:
        lines = (recorded.error or "").strip().splitlines() or ["no reason is known"]
        return f"failed: {lines[-1]}"
    return {
        run.RUNNING: f"running since {recorded.started:%Y-%m-%d %H:%M:%S} UTC on {recorded.host}",
        run.ABORTED: "its runner died",
        run.CLEARED: "it was cleared",
    }.get(recorded.state, "its marker was removed, what it loaded is still there")
