"""What the code does not tell any more of tasks that are to be cleared, but their runs do.

The class of a task may be gone, or declare less than when it ran. Its rows are still those that its last run recorded.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa

from ozelot.errors import ClearRefused
from ozelot.model.base import names_there, table_of
from ozelot.pipeline.declarations import (
    GoneTask,
    clears_itself,
    created_models,
    is_orm_task,
    keys_of,
    label_of,
    updated_columns,
)
from ozelot.rows.selection import is_owned, tables_of
from ozelot.state import lineage
from ozelot.state import markers as marker


def gone(
    connection: sa.Connection, key: str, name: str, params: str, keys: Collection[str], *, named: bool = False
) -> GoneTask:
    """A task whose class is not known, as its last run recorded it.

    Args:
        connection: the database.
        key: of its marker.
        name: its name.
        params: its parameter string.
        keys: of the markers of all tasks that are to be cleared with it.
        named: it is what was asked for, not something that was built on that.

    Raises:
        ClearRefused: it cannot be told which its rows are.
    """
    recorded = lineage.recorded_rows(connection, [key]).get(key, {})
    why = f"{name} {params} was built on what is to be cleared, but its class is not known here"
    if named:
        why = f"The class of {name} {params} is not known here"
    return _as_recorded(connection, GoneTask(name, params, recorded), keys, why)


def gone_by_name(
    connection: sa.Connection, identities: Collection[tuple[str, str]], others: Collection[str]
) -> dict[str, GoneTask]:
    """Tasks whose class is not known, by label, as their last runs recorded them; of what left nothing, none.

    Args:
        connection: the database.
        identities: names and parameter strings.
        others: the keys of the markers of tasks that are to be cleared with them.

    Raises:
        ClearRefused: it cannot be told which their rows are.
    """
    found = {marker.marker_key(name, params): (name, params) for name, params in identities}
    recorded = lineage.recorded_rows(connection, found.keys())
    marked = marker.existing(connection, found.keys() | {marker.legacy_key(*identity) for identity in identities})
    together = {*found, *others}
    together |= lineage.downstream(connection, together).identities.keys()
    tasks = {}
    for key, (name, params) in found.items():
        if key in recorded:
            tasks[f"{name} {params}"] = gone(connection, key, name, params, together, named=True)
        elif not marked.isdisjoint((key, marker.legacy_key(name, params))):
            raise ClearRefused(
                f"The class of {name} {params} is not known here, nor is a run of it recorded, so that nobody can tell "
                "which its rows are: import the module that defines it, as it was; 'ozelot verify' says how to do "
                "without"
            )
    return tasks


def with_former(connection: sa.Connection, tasks: Mapping[str, Any]) -> dict[str, Any]:
    """Tasks by label, and behind each what it had recorded but does not declare any more, as a task of its own.

    Raises:
        ClearRefused: it cannot be told which rows these are.
    """
    keys = {label: keys_of(task)[0] for label, task in tasks.items() if is_orm_task(task)}
    recorded = lineage.recorded_rows(connection, keys.values())
    there = names_there(connection)
    found = {}
    for label, task in tasks.items():
        found[label] = task
        if label not in keys or isinstance(task, GoneTask) or clears_itself(task):
            continue
        declared = {table.name for table in tables_of(created_models(task))}
        declared |= {f"{column.table.name}.{column.name}" for column in updated_columns(task)}
        former = {
            what: number
            for what, number in recorded.get(keys[label], {}).items()
            if number != 0 and what not in declared and what.partition(".")[0] in there
        }
        if former:
            why = f"{label_of(task)} left something in {', '.join(sorted(former))} that it does not declare any more"
            rest = GoneTask(task.get_name(), task.get_param_string(), former)
            found[f"{label}, as it was declared when it ran"] = _as_recorded(connection, rest, keys.values(), why)
    return found


def _as_recorded(connection: sa.Connection, task: GoneTask, keys: Collection[str], why: str) -> GoneTask:
    """The task, if what it recorded says which rows are its own."""
    for table in task.unknown_tables:
        if table in names_there(connection):
            raise ClearRefused(
                f"{why}, nor is a model of its table {table}: import the module that defines it; or, where the table "
                "is of no use any more, drop it first: ozelot db upgrade --drop"
            )
    for model in task.creates:
        if not is_owned(model):
            table = (model if isinstance(model, sa.Table) else table_of(model)).name
            other = lineage.other_with_rows(connection, table, set(keys))
            if other is not None:
                raise ClearRefused(
                    f"{why}, and its rows in {table} cannot be told from those of {other}: import the module that "
                    f"defines it, as it was, or clear them together: {how_to_clear(task.get_name(), other)}"
                )
    return task


def how_to_clear(*labels: str) -> str:
    """The command that clears all tasks of the names that labels begin with."""
    names = dict.fromkeys(label.partition(" ")[0] for label in labels)
    return f"ozelot clear {' '.join(map(shlex.quote, names))}"
