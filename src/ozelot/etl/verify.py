"""Finding where the database disagrees with what its markers and runs say; changes nothing.

Rows that know their run are counted by run. Others are counted by what creates them: the last run of the tasks that say
so recorded how many there were.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import luigi
import sqlalchemy as sa

from ozelot import client, transaction
from ozelot.etl.declared import created_models, is_orm_task, task_classes, updated_columns
from ozelot.etl.graph import Graph, walk
from ozelot.etl.identity import task_argument
from ozelot.orm import run
from ozelot.orm import target as marker
from ozelot.orm.base import Base
from ozelot.orm.references import dangling
from ozelot.orm.rows import Model, Rows, chain, counts_by_run, is_owned, owner_of, values
from ozelot.orm.run import Run


class Kind(StrEnum):
    """What is wrong."""

    MISSING = "rows missing"
    ADDED = "rows added"
    LEFT = "rows of no complete task"
    VALUES = "values missing"
    DANGLING = "dangling reference"
    MARKER = "marker without a run"
    UNKNOWN = "unknown marker"


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


def verify(root: luigi.Task | Iterable[luigi.Task]) -> list[Finding]:
    """What does not agree between the rows, the markers and the recorded runs; changes nothing.

    Looks at the whole database, and at all classes of tasks that were imported. Values that were changed in place are
    not noticed, but for those in ``updates`` that became NULL.

    Args:
        root: the pipeline, one task or several.
    """
    graph = walk(root)
    with _snapshot(client.get_client().engine) as connection:
        return list(_State(connection, graph).findings())


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


class _State:
    """What the database says, read once."""

    def __init__(self, connection: sa.Connection, graph: Graph) -> None:
        self.connection = connection
        self.there = set(sa.inspect(connection).get_table_names())
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

    def findings(self) -> Iterator[Finding]:
        yield from self._unknown_markers()
        yield from self._markers_without_run()
        yield from self._owned_rows()
        yield from self._other_rows()
        yield from self._values()
        for reference in dangling(self.connection):
            yield Finding(
                Kind.DANGLING,
                reference.table,
                f"{reference.count} rows of {reference.table} refer, by {reference.columns}, to rows of "
                f"{reference.refers_to} that are not there",
                "clear the tasks that made them, and run them again; turn foreign keys on in what else writes here",
            )

    def _unknown_markers(self) -> Iterator[Finding]:
        known = {name for cls in task_classes for name in (cls.get_name(), cls.__name__)}
        for row in self.markers:
            if row.name not in known:
                yield Finding(
                    Kind.UNKNOWN,
                    f"{row.name} {row.params}",
                    f"{row.name} is marked complete, but no task of that name is known",
                    "import the module that defines it (MODELS in project_config.py); or, where it is gone for good, "
                    f"delete its rows, and its marker, the row of {marker.markers.name} with the key {row.key}",
                )

    def _markers_without_run(self) -> Iterator[Finding]:
        last = {entry.key: entry for entry in self.runs}
        for row in self.markers:
            entry = last.get(row.key)
            if entry is not None and row.key not in self.done:
                yield Finding(
                    Kind.MARKER,
                    f"{row.name} {row.params}",
                    f"{row.name} {row.params} is marked complete, but its last run is {entry.state}: somebody wrote "
                    "the marker by hand",
                    _again(row.name, row.params),
                )
            elif entry is None and (cls := self.classes.get(row.name)) is not None:
                models = self._existing(created_models(cls))
                if models and Rows(models, made_by=()).first_in(self.connection) is None:
                    yield Finding(
                        Kind.MISSING,
                        f"{row.name} {row.params}",
                        f"{row.name} {row.params} is marked complete, but no run of it is recorded, and there is "
                        "nothing in its tables",
                        _again(row.name, row.params),
                    )

    def _existing(self, models: Iterable[Model]) -> list[Model]:
        return [model for model in models if _table_names([model]) <= self.there]

    def _owned_rows(self) -> Iterator[Finding]:
        """Rows that know their run, held against what it recorded."""
        found: dict[str, dict[int, int]] = {}
        counted = set()
        models = [mapper.class_ for mapper in Base.registry.mappers if _table_names([mapper.class_]) <= self.there]
        for model in filter(is_owned, sorted(models, key=lambda model: model.__name__) if self.runs else ()):
            for table, numbers in counts_by_run(self.connection, model).items():
                source = table, owner_of(sa.inspect(model))
                if source not in counted:
                    counted.add(source)
                    of_table = found.setdefault(table, {})
                    for run_id, number in numbers.items():
                        of_table[run_id] = of_table.get(run_id, 0) + number
        complete = {entry.id: entry for entry in self.done.values()}
        for entry in self.runs:
            of_run = {table: numbers.get(entry.id, 0) for table, numbers in found.items()}
            if entry.id not in complete:
                yield from _left_by_run(entry, of_run)
                continue
            recorded = entry.row_counts
            if (cls := self.classes.get(entry.name)) is not None:
                shared = {
                    table.name for model in created_models(cls) if not is_owned(model) for table in _tables(model)
                }
                of_run = {table: number for table, number in of_run.items() if table not in shared}
            for table, number in of_run.items():
                yield from _compare(entry, table, recorded.get(table, 0), number)

    def _other_rows(self) -> Iterator[Finding]:
        """Rows that do not know their run, held against what the last run of those who create them recorded."""
        creators: defaultdict[tuple[Model, ...], set[str]] = defaultdict(set)
        for name, cls in self.classes.items():
            found = self._existing(model for model in created_models(cls) if not is_owned(model))
            if found:
                creators[tuple(sorted(found, key=_name))].add(name)
        marked = {row.name for row in self.markers}
        complete: set[Model] = set()
        for models, names in creators.items():
            if not names.isdisjoint(marked):
                complete.update(models)
        yield from self._left_over({model for models in creators for model in models} - complete)
        covered: defaultdict[str, int] = defaultdict(int)
        for models, names in creators.items():
            if not names.isdisjoint(marked):
                for table in _table_names(models):
                    covered[table] += 1
        for models, names in creators.items():
            entries = [entry for entry in self.runs if entry.state == run.DONE and entry.name in names]
            if not entries or not any(entry.key in self.done for entry in entries):
                continue
            last, more = self._ended_last(entries)
            recorded = last.row_counts
            own = {table.name for m in created_models(self.classes[last.name]) if is_owned(m) for table in _tables(m)}
            for table, number in Rows(models).counts(self.connection).items():
                if table in recorded and table not in own:
                    entry = max([last, *more], key=lambda entry: entry.row_counts.get(table, 0))
                    expected = entry.row_counts[table]
                    if number < expected or (covered[table] == 1 and not more):
                        yield from _compare(entry, table, expected, number)

    def _ended_last(self, entries: list[Run]) -> tuple[Run, list[Run]]:
        """The run that ended last, and runs of other tasks that may not have seen its rows, nor it theirs."""
        last = max(entries, key=lambda entry: (entry.finished or entry.started, entry.id))
        if self.connection.dialect.name == "sqlite":  # one writes at a time
            return last, []
        others = [entry for entry in entries if entry.key != last.key and entry is self.done.get(entry.key)]
        return last, [entry for entry in others if entry.finished is None or entry.finished >= last.started]

    def _left_over(self, models: set[Model]) -> Iterator[Finding]:
        for model in sorted(models, key=_name):
            number = Rows([model]).counts(self.connection)[_name(model)]
            if number:
                names = sorted(name for name, cls in self.classes.items() if model in created_models(cls))
                yield Finding(
                    Kind.LEFT,
                    _name(model),
                    f"there are {number} rows in {_name(model)}, but no task that creates them is complete "
                    f"({', '.join(names)})",
                    f"clear them: ozelot clear {names[0]}",
                )

    def _values(self) -> Iterator[Finding]:
        """Columns that a complete task filled, held against how many values its run recorded."""
        last: dict[str, tuple[Run, sa.Column[Any]]] = {}
        for entry in self.done.values():
            if (cls := self.classes.get(entry.name)) is not None:
                for column in updated_columns(cls):
                    name = f"{column.table.name}.{column.name}"
                    if column.table.name in self.there and (name not in last or last[name][0].id < entry.id):
                        last[name] = entry, column
        for name, (entry, column) in last.items():
            recorded, found = entry.row_counts.get(name, 0), values(self.connection, column)
            if found < recorded:
                yield Finding(
                    Kind.VALUES,
                    _label(entry),
                    f"{_label(entry)} set {recorded} values in {name}, but {found} are there",
                    _again(entry.name, entry.params),
                )


def _compare(entry: Run, table: str, recorded: int, found: int) -> Iterator[Finding]:
    if found != recorded:
        told = f"{_label(entry)} left {recorded} rows in {table}, but there are {found}"
        kind = Kind.MISSING if found < recorded else Kind.ADDED
        yield Finding(kind, _label(entry), told, _again(entry.name, entry.params))


def _left_by_run(entry: Run, of_run: dict[str, int]) -> Iterator[Finding]:
    for table, number in of_run.items():
        if number:
            state = "without its marker" if entry.state == run.DONE else entry.state
            yield Finding(
                Kind.LEFT,
                _label(entry),
                f"{number} rows of {table} belong to run {entry.id} of {_label(entry)}, which is {state}",
                f"clear them: ozelot clear {_quoted(entry.name, entry.params)}",
            )


def _label(entry: Run) -> str:
    return f"{entry.name} {entry.params}"


def _again(name: str, params: str) -> str:
    return f"clear it, and run it again: ozelot clear {_quoted(name, params)}, then ozelot run"


def _quoted(name: str, params: str) -> str:
    argument = task_argument(name, params)
    return argument if argument == name else f"'{argument}'"


def _tables(model: Model) -> list[sa.Table]:
    return [model] if isinstance(model, sa.Table) else chain(sa.inspect(model))


def _table_names(models: Iterable[Model]) -> set[str]:
    return {table.name for model in models for table in _tables(model)}


def _name(model: Model) -> str:
    return _tables(model)[0].name
