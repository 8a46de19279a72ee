"""The state of every task of a graph, as data, and which tasks a change of the schema makes stale."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

import luigi

from ozelot import client, formatting
from ozelot.etl.completion import complete, pending
from ozelot.formatting import amounts, duration, moment, task_text
from ozelot.pipeline import user_code
from ozelot.pipeline.declarations import is_orm_task, keys_of, task_of
from ozelot.pipeline.graph import Graph, walk
from ozelot.pipeline.marker_target import task_label, task_name, task_params
from ozelot.schema.difference import Difference, Kind
from ozelot.staleness.detector import Verdict, judge
from ozelot.state import lineage, runs
from ozelot.state import markers as marker
from ozelot.state.lineage import find_missing_rows
from ozelot.state.runs import Counts, Run
from ozelot.state.version import has_runs


class State(StrEnum):
    """What is to be said of a task."""

    COMPLETE = "complete"
    STALE = "stale"
    ON_STALE = "complete on stale"
    INCOMPLETE = "incomplete"
    ROWS_MISSING = "rows missing"
    ON_INCOMPLETE = "complete on incomplete"


@dataclass(frozen=True)
class TaskStatus:
    """The state of one task.

    Attributes:
        name: the name of the task.
        params: its parameter string.
        state: whether it is complete, and so is all upstream; and then, whether that is stale. A complete task whose
            rows are gone is "rows missing", and runs again.
        why: the reason in words, where it is not complete, or stale; else empty.
        task: the task; None where only the database was asked.
        when: when its last run ended (where it is complete: the run that made it), in UTC; None where none is recorded.
        seconds: how long that run took.
        rows: how many rows of each table it made, and ``table.column``: how many values it set; None: unknown.
        notes: what the loads of that run left out, in words, and how often: rows that were skipped, or that got NULL.
        verdict: what is known of what it was made of, where it is complete.
        last: how its last run ended, or ``running``; empty where no run is recorded.
    """

    name: str
    params: str
    state: State
    why: str
    task: luigi.Task | None = None
    when: datetime.datetime | None = None
    seconds: float | None = None
    rows: Counts = field(default_factory=dict)
    verdict: Verdict | None = None
    last: str = ""
    notes: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether it is complete, and so is all upstream, stale or not."""
        return self.state in (State.COMPLETE, State.STALE, State.ON_STALE)

    @property
    def is_incomplete(self) -> bool:
        """Whether a run would run it, if everything upstream is complete."""
        return self.state in (State.INCOMPLETE, State.ROWS_MISSING)

    @property
    def label(self) -> str:
        """Name and parameters."""
        return f"{self.name} {self.params}"


class Statuses(list[TaskStatus]):
    """The state of several tasks; a table in a notebook."""

    def _repr_html_(self) -> str:
        rows = [
            (
                task_text(entry.label),
                entry.state,
                amounts({**entry.rows, **entry.notes}, zeros=True),
                duration(entry.seconds),
                moment(entry.when),
                entry.why,
            )
            for entry in self
        ]
        complete = sum(entry.is_complete for entry in self)
        below = f"{complete:,} of {len(self):,} are complete"
        return formatting.table(("task", "state", "rows", "took", "ended (UTC)", "why"), rows, below)


def status(root: luigi.Task) -> Statuses:
    """The state of a task and everything upstream, requirements first; changes nothing.

    Requirements that turned up while a task ran are there, too, as its run recorded them.
    The number of queries does not depend on the size of the graph, but for one for each task that is running.
    """
    return of_graph(with_late(root))


def of_graph(graph: Graph) -> Statuses:
    """The state of every task of a graph, in its order; changes nothing."""
    missing: dict[str, str] = {}
    with client.get_client().engine.connect() as connection:
        gone = find_missing_rows(connection)
    done = complete(graph, missing=missing, gone=gone)
    open_tasks = pending(graph, done, gone)
    last = _last_runs(graph, done)
    known = {*done, *missing}
    ended = {label for label, entry in last.items() if entry.state == runs.DONE and label not in known}
    if ended:  # perhaps since the markers were read
        done |= complete(Graph({label: graph.tasks[label] for label in ended}, {}))
        open_tasks = pending(graph, done, gone)
    verdicts = judge(graph, graph.tasks.keys() - open_tasks.keys())
    found = Statuses()
    for label, task in graph.tasks.items():
        recorded = last.get(label)
        verdict = verdicts.get(label)
        if label not in open_tasks:
            state, why = _as_judged(verdict)
        elif label in done:
            state, why = State.ON_INCOMPLETE, open_tasks[label]
        elif label in missing:
            state, why = State.ROWS_MISSING, missing[label]
        else:
            state, why = State.INCOMPLETE, _why_incomplete(recorded) if is_orm_task(task) else why_not_there(task)
        found.append(_told(task_name(task), task_params(task), state, why, recorded, task, verdict))
    return found


def _as_judged(verdict: Verdict | None) -> tuple[State, str]:
    if verdict is not None and verdict.reasons:
        more = len(verdict.reasons) - 1
        return State.STALE, f"{verdict.reasons[0]}" + (f"; and {more} more" if more else "")
    if verdict is not None and verdict.stands_on:
        return State.ON_STALE, f"stands on {verdict.stands_on}, which is stale"
    return State.COMPLETE, ""


def recorded() -> Statuses:
    """The state of every task that the database knows of, in the order of their runs; changes nothing.

    Needs no code of the pipeline, and so knows nothing of tasks that never ran. Also for a database of ozelot 0.2.
    """
    database = client.get_client()
    with database.create_session() as session:
        connection = session.connection()
        markers = {row.key: row for row in marker.every(connection)}
        missing = find_missing_rows(connection)
        on = lineage.on_incomplete(connection, missing)
        last = {}
        if has_runs(connection):
            last = _to_be_told(lineage.told(session, session.scalars(runs.last_runs(None)).all()), markers.keys())
        if any(entry.state == runs.DONE and key not in markers for key, entry in last.items()):
            # They may have ended since the markers were read.
            markers |= {row.key: row for row in marker.every(connection) if row.key in last}
    found = Statuses()
    for row in sorted(markers.values(), key=lambda row: last[row.key].id if row.key in last else 0):
        state, why = State.COMPLETE, ""
        if row.key in missing:
            state, why = State.ROWS_MISSING, missing[row.key]
        elif row.key in on:
            state, why = State.ON_INCOMPLETE, on[row.key]
        told = _told(row.name, row.params, state, why, last.get(row.key))
        found.append(told if told.when or not row.created else replace(told, when=row.created))
    for key, entry in last.items():
        if key not in markers and marker.legacy_key(entry.name, entry.params) not in markers:
            found.append(_told(entry.name, entry.params, State.INCOMPLETE, _why_incomplete(entry), entry))
    return found


def _told(
    name: str,
    params: str,
    state: State,
    why: str,
    entry: Run | None,
    task: luigi.Task | None = None,
    verdict: Verdict | None = None,
) -> TaskStatus:
    if entry is None:
        return TaskStatus(name, params, state, why, task, verdict=verdict)
    took = (entry.finished - entry.started).total_seconds() if entry.finished else None
    is_there = state not in (State.INCOMPLETE, State.ROWS_MISSING)
    rows, notes = (entry.row_counts, entry.notes) if is_there else ({}, {})
    return TaskStatus(name, params, state, why, task, entry.finished, took, rows, verdict, entry.state, notes)


def with_late(root: luigi.Task) -> Graph:
    """The graph of a task, with what turned up while its tasks ran."""
    late: dict[str, luigi.Task] = {}
    graph = walk(root)
    while True:
        keys = {keys_of(task)[0] for task in graph.tasks.values() if is_orm_task(task)}
        with client.get_client().engine.connect() as connection:
            recorded = lineage.upstream(connection, keys)
        found = {task_label(task): task for each in recorded if (task := task_of(*each)) is not None}
        new = found.keys() - graph.tasks.keys()
        if not new:
            return graph
        late |= {label: task for label, task in found.items() if label in new}
        graph = walk([*late.values(), root])


def _last_runs(graph: Graph, done: Collection[str]) -> dict[str, Run]:
    labels = {keys_of(task)[0]: label for label, task in graph.tasks.items() if is_orm_task(task)}
    database = client.get_client()
    with database.create_session() as session:
        if not labels or not has_runs(session.connection()):
            return {}
        found = [entry for entry in session.scalars(runs.last_runs(labels.keys())).all() if entry.key in labels]
        told = _to_be_told(lineage.told(session, found), {key for key, label in labels.items() if label in done})
    return {labels[key]: entry for key, entry in told.items()}


def _to_be_told(found: Iterable[Run], complete_keys: Collection[str]) -> dict[str, Run]:
    """Of each task its last run; of one that is complete that which completed it, where a later one changed nothing."""
    last: dict[str, Run] = {}
    for entry in found:
        if entry.key not in last or entry.key not in complete_keys or entry.state == runs.DONE:
            last[entry.key] = entry
    return last


def why_not_there(task: luigi.Task) -> str:
    """What is missing of a task that is no ORM task: the first file, where it is files that it is known by."""
    files = [target.path for target in user_code.outputs(task) if isinstance(target, luigi.LocalTarget)]
    missing = [path for path in files if not Path(path).exists()]
    return f"there is no file {missing[0]}" if missing else "its output is not there"


def _why_incomplete(recorded: Run | None) -> str:
    if recorded is None:
        return "it never ran"
    if recorded.state == runs.FAILED:
        if recorded.reason == KeyboardInterrupt.__name__:
            return "it was interrupted"
        return f"failed: {recorded.reason or 'no reason is known'}"
    doubt = f"; whether it still is cannot be seen here: {recorded.unseen}" if recorded.unseen else ""
    return {
        runs.RUNNING: f"running since {recorded.started:%Y-%m-%d %H:%M:%S} UTC on {recorded.host}{doubt}",
        runs.ABORTED: "it was interrupted, or its runner died",
        runs.CLEARED: "it was cleared",
    }.get(recorded.state, "its marker was removed, what it loaded is still there")


def made_stale(difference: Difference, entries: Iterable[TaskStatus]) -> tuple[str, ...]:
    """The names of the tasks that are stale since what they fill, or stand on, is what a difference is about.

    Args:
        difference: in which models and database differ.
        entries: the state of the tasks, by today's models.
    """
    found = {
        entry.name
        for entry in entries
        if entry.verdict is not None and _is_about(difference, {reason.column for reason in entry.verdict.reasons})
    }
    return tuple(sorted(found))


def _is_about(difference: Difference, columns: Collection[str]) -> bool:
    if difference.kind in (Kind.TABLE_MISSING, Kind.TABLE_EXTRA):
        return any(name.startswith((f"{difference.table}.", f"{difference.table} (")) for name in columns)
    if difference.kind in (Kind.INDEX_MISSING, Kind.INDEX_EXTRA) and not difference.item.unique:
        return False  # it is nothing that a task would write differently for
    return not {f"{difference.table}.{difference.column}", f"{difference.table} ({difference.column})"}.isdisjoint(
        columns
    )
