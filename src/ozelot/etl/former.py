"""What the code does not tell any more of tasks that are to be cleared, but their runs do.

The class of a task may be gone, or declare less than when it ran. Its rows are still those that its last run recorded.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa

from ozelot.errors import ClearRefused
from ozelot.etl.declared import (
    GoneTask,
    clears_itself,
    created_models,
    is_orm_task,
    keys_of,
    label_of,
    updated_columns,
)
from ozelot.orm import history
from ozelot.orm.base import names_there, table_of
from ozelot.orm.rows import is_owned, tables_of


def gone(connection: sa.Connection, key: str, name: str, params: str, keys: Collection[str]) -> GoneTask:
    """A task whose class is not known, as its last run recorded it.

    Args:
        connection: the database.
        key: of its marker.
        name: its name.
        params: its parameter string.
        keys: of the markers of all tasks that are to be cleared with it.

    Raises:
        ClearRefused: it cannot be told which its rows are.
    """
    recorded = history.recorded_rows(connection, [key]).get(key, {})
    why = f"{name} {params} was built on what is to be cleared, but its class is not known here"
    return _as_recorded(connection, GoneTask(name, params, recorded), keys, why)


def with_former(connection: sa.Connection, tasks: Mapping[str, Any]) -> dict[str, Any]:
    """Tasks by label, and behind each what it had recorded but does not declare any more, as a task of its own.

    Raises:
        ClearRefused: it cannot be told which rows these are.
    """
    keys = {label: keys_of(task)[0] for label, task in tasks.items() if is_orm_task(task)}
    recorded = history.recorded_rows(connection, keys.values())
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
            if number and what not in declared and what.partition(".")[0] in there
        }
        if former:
            why = f"{label_of(task)} left something in {', '.join(sorted(former))} that it does not declare any more"
            rest = GoneTask(task.get_name(), task.get_param_string(), former)
            found[f"{label}, as it was declared when it ran"] = _as_recorded(connection, rest, keys.values(), why)
    return found


def _as_recorded(connection: sa.Connection, task: GoneTask, keys: Collection[str], why: str) -> GoneTask:
    """The task, if what it recorded says which rows are its own."""
    for table in task.unknown_tables:
        raise ClearRefused(f"{why}, nor is a model of its table {table}: import the module that defines it")
    for model in task.creates:
        if not is_owned(model):
            table = (model if isinstance(model, sa.Table) else table_of(model)).name
            other = history.other_with_rows(connection, table, set(keys))
            if other is not None:
                raise ClearRefused(
                    f"{why}, and its rows in {table} cannot be told from those of {other}: import the module that "
                    "defines it, as it was"
                )
    return task
