"""What may be wrong in a database: markers, runs, rows and references that do not fit together."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

import luigi
import sqlalchemy as sa

from ozelot import client
from ozelot.clear.inherited_rows import base_rows
from ozelot.clear.plan import legacy_graph
from ozelot.db import transaction
from ozelot.errors import ClearRefused
from ozelot.model.base import Base, names_there
from ozelot.pipeline.declarations import created_models, is_orm_task, keys_of, task_classes, updated_columns
from ozelot.pipeline.graph import Graph, walk
from ozelot.pipeline.marker_target import parameter_names, params_of, task_argument
from ozelot.rows.deletion import dangling
from ozelot.rows.selection import (
    BaseRows,
    Model,
    Rows,
    chain,
    count,
    counts_by_run,
    is_owned,
    models_in,
    owner_of,
    tables_of,
    told,
    values,
)
from ozelot.state import markers as marker
from ozelot.state import runs
from ozelot.state.inputs import run_file, run_page
from ozelot.state.runs import Run


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
        self.done = {entry.key: entry for entry in self.runs if entry.state == runs.DONE and self._is_complete(entry)}

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
            if found.table in (runs.run_edge.name, run_page.name, run_file.name):
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
        recorded = {entry.key for entry in self.runs if entry.state == runs.DONE}
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


def verify(root: luigi.Task | Iterable[luigi.Task]) -> list[Finding]:
    """What does not agree between the rows, the markers and the recorded runs; changes nothing.

    Looks at the whole database, and at all classes of tasks that were imported. Values that were changed in place are
    not noticed, but for those in ``updates`` that became NULL.

    Args:
        root: the pipeline, one task or several.
    """
    graph = walk(root)
    with _snapshot(client.get_client().engine) as connection:
        known = Known(connection, graph)
        found = [*known.findings()]
        counted, of_runs = _owned_rows(known)
        found += of_runs
        return [*found, *_other_rows(known, counted), *_values(known), *_undeclared(known)]


@contextmanager
def _snapshot(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection that sees the database as it is at one moment, whoever writes meanwhile."""
    with engine.connect() as connection:
        if transaction.current(engine) is not None:
            yield connection
        elif connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")
            yield connection
        else:
            yield connection.execution_options(isolation_level="REPEATABLE READ")


def _owned_rows(known: Known) -> tuple[set[str], list[Finding]]:
    """Rows that know their run, held against what it recorded.

    Returns:
        The tables whose rows are all compared so, or where something was found already; and what was found.
    """
    found: dict[tuple[str, str], dict[int, int]] = {}  # by table, and the table with the run_id
    models = [mapper.class_ for mapper in Base.registry.mappers if table_names([mapper.class_]) <= known.there]
    for model in filter(is_owned, sorted(models, key=lambda model: model.__name__) if known.runs else ()):
        owner_table = owner_of(sa.inspect(model))
        for table, numbers in counts_by_run(known.connection, model).items() if owner_table is not None else ():
            found.setdefault((table, cast(sa.Table, owner_table).name), numbers)
    shared = {
        table.name
        for cls in known.classes.values()
        for model in created_models(cls)
        if not is_owned(model)
        for table in tables_in(model)
    }
    counted = {table for table, owner in found if table == owner or table not in shared}
    counted -= (split := {table for table, owner in found if table != owner and _is_split(known, table, owner)})
    complete = {entry.id for entry in known.done.values()}
    with_other_rows: dict[str, set[str]] = {}
    result: list[Finding] = []
    for entry in known.runs:
        recorded = entry.row_counts
        if entry.name not in with_other_rows:
            with_other_rows[entry.name] = _tables_with_other_rows(known, entry)
        mixed = with_other_rows[entry.name]
        left: dict[str, int] = {}
        for (table, owner), numbers in found.items():
            number = numbers.get(entry.id, 0)
            if entry.id not in complete:
                left[table] = left.get(table, 0) + number
            elif table == owner or (table not in split | mixed and recorded.get(owner, 0) != 0):
                expected = recorded.get(table, 0)
                if expected is not None and number != expected:
                    counted.add(table)
                    result += _compare(entry, table, expected, number)
        result += _left_by_run(entry, left)
    return counted, result


def _tables_with_other_rows(known: Known, entry: Run) -> set[str]:
    """The tables in which a task also creates rows that do not know their run, such as those of the base model itself.

    Of a task whose class is gone, that cannot be told: all base tables.
    """
    cls = known.classes.get(entry.name)
    models = [mapper.class_ for mapper in Base.registry.mappers] if cls is None else created_models(cls)
    return {table.name for model in models if not is_owned(model) for table in tables_in(model)}


def _is_split(known: Known, table: str, owner: str) -> bool:
    """Whether a run inserted rows of a derived model for base rows, which know their run, of another run."""
    if not any(owner in table_names([model]) for model in models_in([table])[table]):
        return False  # it is the base table, of rows that know their run themselves
    recorded = [entry.row_counts for entry in known.runs if entry.state == runs.DONE]
    return any((rows.get(table) or 0) > (rows.get(owner) or 0) for rows in recorded)


def _other_rows(known: Known, counted: Collection[str]) -> Iterator[Finding]:
    """Rows that do not know their run: as many as all runs that wrote to their table recorded.

    Args:
        known: the database.
        counted: tables that were looked at already.
    """
    creators: defaultdict[sa.Table, set[str]] = defaultdict(set)
    of_model: defaultdict[Model, set[str]] = defaultdict(set)
    for name, cls in known.classes.items():
        for model in known.existing(created_models(cls)):
            if not is_owned(model):
                of_model[model].add(name)
            for table in tables_in(model):
                creators[table].add(name)
    marked = {row.name for row in known.markers}
    incomplete = {model for model, names in of_model.items() if names.isdisjoint(marked)}
    yield from _left_over(known, incomplete, of_model)
    for storage, names in sorted(creators.items(), key=lambda item: item[0].name):
        name = storage.name
        entries = [entry for entry in known.runs if entry.state == runs.DONE and name in entry.row_counts]
        if name in counted or not any(entry.key in known.done for entry in entries):
            continue
        numbers = [entry.row_counts[name] for entry in entries]
        recorded = sum(number or 0 for number in numbers)
        found = count(known.connection, storage, None)
        is_exact = None not in numbers and not marker.has_unrecorded(known.connection, names)
        if found < recorded or (is_exact and found > recorded):
            yield _differs([entry for entry in entries if entry.key in known.done], name, recorded, found)


def _differs(entries: list[Run], table: str, recorded: int, found: int) -> Finding:
    """A table that holds another number of rows than all complete tasks that write to it recorded."""
    filled = [entry for entry in entries if entry.row_counts[table]] or entries
    if len({entry.key for entry in filled}) == 1:
        return next(_compare(filled[-1], table, recorded, found))
    names = " ".join(dict.fromkeys(task_argument(entry.name, "{}") for entry in filled))
    return Finding(
        Kind.MISSING if found < recorded else Kind.ADDED,
        table,
        f"{len(filled)} tasks left {told(recorded)} in {table}, but there are {found}",
        f"clear them, and run them again: ozelot clear {names}, then ozelot run",
    )


def _left_over(known: Known, models: set[Model], creators: Mapping[Model, set[str]]) -> Iterator[Finding]:
    bases = known.base_rows(models)
    gone = [entry for entry in known.done.values() if entry.name not in known.classes]
    theirs = {table for entry in gone for table, number in entry.row_counts.items() if number != 0}
    for model in sorted((model for model in models if _name(model) not in theirs), key=_name):
        number = Rows([model], base_rows=bases).counts(known.connection)[_name(model)]
        if number:
            names = sorted(creators[model])
            yield Finding(
                Kind.LEFT,
                _name(model),
                f"{told(number)} in {_name(model)}, but no task that creates them is complete ({', '.join(names)})",
                f"clear them: ozelot clear {names[0]}",
            )


def _values(known: Known) -> Iterator[Finding]:
    """Columns that a complete task filled, held against how many values its run recorded."""
    last: dict[str, tuple[Run, sa.Column[Any]]] = {}
    for entry in known.done.values():
        if (cls := known.classes.get(entry.name)) is not None:
            for column in updated_columns(cls):
                name = f"{column.table.name}.{column.name}"
                if column.table.name in known.there and (name not in last or last[name][0].id < entry.id):
                    last[name] = entry, column
    for name, (entry, column) in last.items():
        recorded, found = entry.row_counts.get(name, 0), values(known.connection, column)
        if recorded is not None and found < recorded:
            yield Finding(
                Kind.VALUES,
                label_of_run(entry),
                f"{label_of_run(entry)} set {recorded} values in {name}, but {found} are there",
                again(entry.name, entry.params),
            )


def _undeclared(known: Known) -> Iterator[Finding]:
    """What a complete task left where its class does not declare it any more."""
    for entry in known.done.values():
        if (cls := known.classes.get(entry.name)) is None:
            continue
        declared = {table.name for table in tables_of(created_models(cls))}
        for table, number in entry.row_counts.items():
            if number != 0 and "." not in table and table not in declared and table in known.there:
                rows = "rows" if number is None else told(number)
                yield Finding(
                    Kind.LEFT,
                    label_of_run(entry),
                    f"{label_of_run(entry)} left {rows} in {table}, which it does not declare any more",
                    again(entry.name, entry.params),
                )


def _compare(entry: Run, table: str, recorded: int, found: int) -> Iterator[Finding]:
    if found != recorded:
        what = f"{label_of_run(entry)} left {told(recorded)} in {table}, but there are {found}"
        kind = Kind.MISSING if found < recorded else Kind.ADDED
        yield Finding(kind, label_of_run(entry), what, again(entry.name, entry.params))


def _left_by_run(entry: Run, of_run: dict[str, int]) -> Iterator[Finding]:
    for table, number in of_run.items():
        if number:
            state = "without its marker" if entry.state == runs.DONE else entry.state
            yield Finding(
                Kind.LEFT,
                label_of_run(entry),
                f"{told(number)} of {table} belong to run {entry.id} of {label_of_run(entry)}, which is {state}",
                f"clear them: ozelot clear {task_argument(entry.name, entry.params)}",
            )


def _name(model: Model) -> str:
    return tables_in(model)[0].name
