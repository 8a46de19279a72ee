"""Finding where the database disagrees with what its markers and runs say; changes nothing.

Rows that know their run are counted by run. Others are counted by what creates them: the last run of the tasks that say
so recorded how many there were.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import luigi
import sqlalchemy as sa

from ozelot import client, transaction
from ozelot.etl.declared import created_models, updated_columns
from ozelot.etl.findings import Finding, Kind, Known, again, label_of_run, table_names, tables_in
from ozelot.etl.graph import walk
from ozelot.etl.identity import task_argument
from ozelot.orm import run
from ozelot.orm import target as marker
from ozelot.orm.base import Base
from ozelot.orm.rows import (
    Model,
    Rows,
    count,
    counts_by_run,
    is_owned,
    models_in,
    owner_of,
    tables_of,
    told,
    values,
)
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
    recorded = [entry.row_counts for entry in known.runs if entry.state == run.DONE]
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
        entries = [entry for entry in known.runs if entry.state == run.DONE and name in entry.row_counts]
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
            state = "without its marker" if entry.state == run.DONE else entry.state
            yield Finding(
                Kind.LEFT,
                label_of_run(entry),
                f"{told(number)} of {table} belong to run {entry.id} of {label_of_run(entry)}, which is {state}",
                f"clear them: ozelot clear {task_argument(entry.name, entry.params)}",
            )


def _name(model: Model) -> str:
    return tables_in(model)[0].name
