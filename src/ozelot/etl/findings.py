"""What may be found wrong in a database, and what the database says about markers, tables and references."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa

from ozelot import client
from ozelot.errors import ClearRefused
from ozelot.etl.base_rows import base_rows
from ozelot.etl.declared import created_models, is_orm_task, keys_of, task_classes
from ozelot.etl.graph import Graph
from ozelot.etl.identity import parameter_names, params_of, task_argument
from ozelot.etl.plan import legacy_graph
from ozelot.orm import run
from ozelot.orm import target as marker
from ozelot.orm.base import names_there
from ozelot.orm.files import run_file
from ozelot.orm.pages import run_page
from ozelot.orm.references import dangling
from ozelot.orm.rows import BaseRows, Model, Rows, chain, is_owned, told
from ozelot.orm.run import Run


class Kind(StrEnum):
    """What is wrong."""

    MISSING = "rows missing"
    ADDED = "rows added"
    LEFT = "rows of no complete task"
    VALUES = "values missing"
    TABLE = "table missing"
    DANGLING = "dangling reference"
    MARKER = "marker without a run"
    UNKNOWN = "unknown marker"
    UPSTREAM = "upstream incomplete"


@dataclass(frozen=True)
class Finding:
    """Something that does not agree.

    Attributes:
        kind: what is wrong, in a word or two.
        where: the task or the table.
        what: what is wrong, in a sentence.
        do: what to do about it.
    """

    kind: Kind
    where: str
    what: str
    do: str


class Known:
    """What the database and the classes of tasks say, read once.

    Args:
        connection: sees the database as it is at one moment.
        graph: the pipeline.

    Attributes:
        there: the names of all tables.
        markers: all markers.
        classes: all classes of ORM tasks that were imported, by name.
        runs: all recorded runs, oldest first.
        done: the last run of each complete task that is done, by key.
    """

    def __init__(self, connection: sa.Connection, graph: Graph) -> None:
        self.connection = connection
        self.there = names_there(connection)
        self.markers = marker.every(connection)
        self.marked = {row.key for row in self.markers}
        self.classes = {cls.get_name(): cls for cls in task_classes}
        # Where two modules use one name, that of the pipeline counts.
        self.classes |= {task.get_name(): type(task) for task in graph.tasks.values() if is_orm_task(task)}
        self.runs: list[Run] = []
        if Run.__tablename__ in self.there:
            with client.get_client().session_maker(bind=connection) as session:
                self.runs = list(session.scalars(sa.select(Run).order_by(Run.id)))
                session.expunge_all()
        #: The last run of each complete task that is done, by key.
        self.done = {entry.key: entry for entry in self.runs if entry.state == run.DONE and self._is_complete(entry)}

    def _is_complete(self, entry: Run) -> bool:
        return entry.key in self.marked or marker.legacy_key(entry.name, entry.params) in self.marked

    def existing(self, models: Iterable[Model]) -> list[Model]:
        """Those of the models whose tables are there."""
        return [model for model in models if table_names([model]) <= self.there]

    def base_rows(self, models: Iterable[Model]) -> BaseRows:
        """Which base rows are those of other tasks, as far as the records say so without contradiction."""
        try:
            return base_rows(self.connection, models)
        except ClearRefused:
            return BaseRows()

    def findings(self) -> Iterator[Finding]:
        """What does not agree, short of the rows of tasks."""
        yield from self._dangling()  # first: what knows no run must go before its task runs again
        yield from self._missing_tables()
        yield from self._unknown_markers()
        yield from self._markers_without_run()
        yield from self._upstream_incomplete()

    def _dangling(self) -> Iterator[Finding]:
        for found in dangling(self.connection):
            if found.table in (run.run_edge.name, run_page.name, run_file.name):
                continue  # says nothing of rows
            do = "clear the tasks that made them, and run them again; turn foreign keys on in what else writes here"
            if found.refers_to == Run.__tablename__:
                do = f"nobody can tell who made them: delete first of all those rows whose {found.columns} names no run"
            what = f"{told(found.count)} of {found.table} refer, by {found.columns}, to rows of {found.refers_to}"
            yield Finding(Kind.DANGLING, found.table, f"{what} that are not there", do)

    def _missing_tables(self) -> Iterator[Finding]:
        lost: defaultdict[str, list[str]] = defaultdict(list)
        for entry in self.done.values():
            for name, number in entry.row_counts.items():
                if number != 0 and name.partition(".")[0] not in self.there:
                    lost[name.partition(".")[0]].append(label_of_run(entry))
        for table, labels in sorted(lost.items()):
            several = f" and {len(labels) - 1} more" if len(labels) > 1 else ""
            yield Finding(
                Kind.TABLE,
                table,
                f"there is no table {table}, but {labels[0]}{several} left rows there, by what is marked complete",
                "create it, then clear those tasks, and run them again: ozelot db init",
            )

    def _unknown_markers(self) -> Iterator[Finding]:
        known = {name for cls in task_classes for name in (cls.get_name(), cls.__name__)}
        takes: defaultdict[str, list[set[str]]] = defaultdict(list)
        for cls in task_classes:
            takes[cls.get_name()].append(parameter_names(cls))
        recorded = {entry.key for entry in self.runs if entry.state == run.DONE}
        for row in self.markers:
            why = ""
            if row.name not in known:
                why = "no task of that name is known: import the module that defines it (MODELS in project_config.py)"
            elif row.key == marker.marker_key(row.name, row.params):  # else 0.2 wrote it, with all parameters
                given = params_of(row.params)
                if given is not None and all(given.keys() != names for names in takes[row.name]):
                    why = f"{row.name} takes other parameters by now: give it back those that it had"
            if why:
                reason, _, do = why.partition(": ")
                rest = f"delete its rows, and its marker, the row of {marker.markers.name} with the key {row.key}"
                if row.key in recorded:
                    argument = task_argument(row.name, row.params)
                    if argument == row.name and row.name in known:  # which would mean those of today
                        argument = shlex.quote(f"{row.name} {row.params}")
                    rest = f"clear it: ozelot clear {argument}"
                yield Finding(
                    Kind.UNKNOWN,
                    f"{row.name} {row.params}",
                    f"{row.name} {row.params} is marked complete, but {reason}",
                    f"{do}; or, where it is gone for good, {rest}",
                )

    def _markers_without_run(self) -> Iterator[Finding]:
        last = {entry.key: entry for entry in self.runs}
        for row in self.markers:
            label = f"{row.name} {row.params}"
            entry = last.get(row.key)
            if entry is not None and row.key not in self.done:
                why = f"its last run is {entry.state}: somebody wrote the marker by hand"
                yield Finding(Kind.MARKER, label, f"{label} is marked complete, but {why}", again(row.name, row.params))
            elif entry is None and (cls := self.classes.get(row.name)) is not None:
                models = self.existing(created_models(cls))
                bases = self.base_rows(models)
                if models and Rows(models, made_by=(), base_rows=bases).first_in(self.connection) is None:
                    owned = any(is_owned(model) for model in models)
                    why = "so that no rows are its own" if owned else "and there is nothing in its tables"
                    what = f"{label} is marked complete, but no run of it is recorded, {why}"
                    yield Finding(Kind.MISSING, label, what, again(row.name, row.params))

    def _upstream_incomplete(self) -> Iterator[Finding]:
        """Complete tasks of which no run is recorded, whatever their root, that require something incomplete."""
        without_run = {row.key for row in marker.without_run(self.connection)}
        graph = legacy_graph(self.connection) if without_run else Graph()
        reasons: dict[str, str] = {}
        for label, task in graph.tasks.items():  # requirements come first
            if not is_orm_task(task):
                continue
            if self.marked.isdisjoint(keys_of(task)):
                reasons[label] = label
            elif (first := next((other for other in graph.requires[label] if other in reasons), None)) is not None:
                reasons[label] = reasons[first]
                if not without_run.isdisjoint(keys_of(task)):
                    what = f"{label} is marked complete, but {reasons[first]}, upstream of it, is not"
                    name, params = label.split(" ", 1)
                    yield Finding(Kind.UPSTREAM, label, what, again(name, params))


def label_of_run(entry: Run) -> str:
    """Name and parameters of the task."""
    return f"{entry.name} {entry.params}"


def again(name: str, params: str) -> str:
    """The advice to load a task anew."""
    return f"clear it, and run it again: ozelot clear {task_argument(name, params)}, then ozelot run"


def tables_in(model: Model) -> list[sa.Table]:
    """The tables of a model, its own first."""
    return [model] if isinstance(model, sa.Table) else chain(sa.inspect(model))


def table_names(models: Iterable[Model]) -> set[str]:
    """The names of the tables of models."""
    return {table.name for model in models for table in tables_in(model)}
