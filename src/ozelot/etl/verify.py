"""Finding where the database disagrees with what its markers and runs say; changes nothing.

Rows that know their run are counted by run. Others are counted by what creates them: the last run of the tasks that say
so recorded how many there were.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import luigi
import sqlalchemy as sa

from ozelot import client, transaction
from ozelot.etl.declared import created_models, updated_columns
from ozelot.etl.findings import Finding, Kind, Known, again, label_of_run, table_names, tables_in
from ozelot.etl.graph import walk
from ozelot.etl.identity import task_argument
from ozelot.orm import run
from ozelot.orm.base import Base
from ozelot.orm.rows import Model, Rows, counts_by_run, is_owned, owner_of, tables_of, told, values
from ozelot.orm.run import Run


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
        return [*known.findings(), *_owned_rows(known), *_other_rows(known), *_values(known), *_undeclared(known)]


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


def _owned_rows(known: Known) -> Iterator[Finding]:
    """Rows that know their run, held against what it recorded."""
    found: dict[str, dict[int, int]] = {}
    counted = set()
    models = [mapper.class_ for mapper in Base.registry.mappers if table_names([mapper.class_]) <= known.there]
    for model in filter(is_owned, sorted(models, key=lambda model: model.__name__) if known.runs else ()):
        for table, numbers in counts_by_run(known.connection, model).items():
            source = table, owner_of(sa.inspect(model))
            if source not in counted:
                counted.add(source)
                of_table = found.setdefault(table, {})
                for run_id, number in numbers.items():
                    of_table[run_id] = of_table.get(run_id, 0) + number
    complete = {entry.id: entry for entry in known.done.values()}
    for entry in known.runs:
        of_run = {table: numbers.get(entry.id, 0) for table, numbers in found.items()}
        if entry.id not in complete:
            yield from _left_by_run(entry, of_run)
            continue
        recorded = entry.row_counts
        if (cls := known.classes.get(entry.name)) is not None:
            shared = {table.name for model in created_models(cls) if not is_owned(model) for table in tables_in(model)}
            of_run = {table: number for table, number in of_run.items() if table not in shared}
        for table, number in of_run.items():
            yield from _compare(entry, table, recorded.get(table, 0), number)


def _other_rows(known: Known) -> Iterator[Finding]:
    """Rows that do not know their run, held against what the last run of those who create them recorded."""
    creators: defaultdict[tuple[Model, ...], set[str]] = defaultdict(set)
    for name, cls in known.classes.items():
        found = known.existing(model for model in created_models(cls) if not is_owned(model))
        if found:
            creators[tuple(sorted(found, key=_name))].add(name)
    marked = {row.name for row in known.markers}
    complete: set[Model] = set()
    for models, names in creators.items():
        if not names.isdisjoint(marked):
            complete.update(models)
    yield from _left_over(known, {model for models in creators for model in models} - complete)
    covered: defaultdict[str, int] = defaultdict(int)
    for models, names in creators.items():
        if not names.isdisjoint(marked):
            for table in table_names(models):
                covered[table] += 1
    for models, names in creators.items():
        entries = [entry for entry in known.runs if entry.state == run.DONE and entry.name in names]
        if not entries or not any(entry.key in known.done for entry in entries):
            continue
        last, more = _ended_last(known, entries)
        recorded = last.row_counts
        own = {table.name for m in created_models(known.classes[last.name]) if is_owned(m) for table in tables_in(m)}
        for table, number in Rows(models).counts(known.connection).items():
            if table in recorded and table not in own:
                entry = max([last, *more], key=lambda entry: entry.row_counts.get(table, 0))
                expected = entry.row_counts[table]
                if number < expected or (covered[table] == 1 and not more):
                    yield from _compare(entry, table, expected, number)


def _ended_last(known: Known, entries: list[Run]) -> tuple[Run, list[Run]]:
    """The run that ended last, and runs of other tasks that may not have seen its rows, nor it theirs."""
    last = max(entries, key=lambda entry: (entry.finished or entry.started, entry.id))
    if known.connection.dialect.name == "sqlite":  # one writes at a time
        return last, []
    others = [entry for entry in entries if entry.key != last.key and entry is known.done.get(entry.key)]
    return last, [entry for entry in others if entry.finished is None or entry.finished >= last.started]


def _left_over(known: Known, models: set[Model]) -> Iterator[Finding]:
    gone = [entry for entry in known.done.values() if entry.name not in known.classes]
    theirs = {table for entry in gone for table, number in entry.row_counts.items() if number}  # that is told already
    for model in sorted((model for model in models if _name(model) not in theirs), key=_name):
        number = Rows([model]).counts(known.connection)[_name(model)]
        if number:
            names = sorted(name for name, cls in known.classes.items() if model in created_models(cls))
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
        if found < recorded:
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
            if number and "." not in table and table not in declared and table in known.there:
                yield Finding(
                    Kind.LEFT,
                    label_of_run(entry),
                    f"{label_of_run(entry)} left {told(number)} in {table}, which it does not declare any more",
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
            state = "without its marker" if entry.state == run.DONE else entry.state
            yield Finding(
                Kind.LEFT,
                label_of_run(entry),
                f"{told(number)} of {table} belong to run {entry.id} of {label_of_run(entry)}, which is {state}",
                f"clear them: ozelot clear {task_argument(entry.name, entry.params)}",
            )


def _name(model: Model) -> str:
    return tables_in(model)[0].name
