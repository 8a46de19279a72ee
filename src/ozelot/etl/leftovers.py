"""What is left of an earlier run when a task starts: its own is cleared, anything else is refused."""

from __future__ import annotations

import logging
from typing import Any

import sqlalchemy as sa

from ozelot.errors import LeftoverRows
from ozelot.etl.clearing import delete_rows
from ozelot.etl.declared import (
    argument_of,
    created_models,
    creator_names,
    keys_of,
    task_of,
    updated_columns,
    updater_names,
)
from ozelot.etl.former import how_to_clear
from ozelot.etl.identity import task_label
from ozelot.orm import history, run
from ozelot.orm import target as marker
from ozelot.orm.rows import Rows, exists, is_owned, owners

log = logging.getLogger(__name__)


def refuse_half(task: Any, others: list[Any]) -> None:
    """Make sure that a complete task has its other targets, too.

    Raises:
        LeftoverRows: it does not.
    """
    missing = [str(getattr(target, "path", target)) for target in others if not target.exists()]
    if missing:
        raise LeftoverRows(
            f"{task_label(task)} has its marker and its rows, but not its other output {', '.join(missing)}: clear it "
            f"with 'ozelot clear {argument_of(task)}' or its clear(), and run it again"
        )


def clear_leftovers(task: Any, connection: sa.Connection, key: str, *, ran_before: bool) -> None:
    """Deal with what is left of an earlier run whose marker was removed.

    Rows that know their run are deleted, and columns that only this task fills are reset.

    Raises:
        LeftoverRows: there are others, in a table or column that this task declares.
    """
    models, columns = created_models(task), updated_columns(task)
    owned = [model for model in models if is_owned(model)]
    # Where another task that fills a column is complete, it cannot be told whose the values are.
    mine = [c for c in columns if marker.first_other(connection, updater_names(c), keys_of(task)) is None]
    if ran_before:
        run.mark_clearing(connection, [key], owners(owned))
        if owned or mine:
            delete_rows(Rows(owned, mine), {key}, connection)
    else:
        for column in mine:
            _refuse_values(task, column, connection)
    if unowned := [model for model in models if model not in owned]:
        _refuse_rows(task, unowned, connection, ran_before)
    if ran_before:
        run.mark_cleared(connection)


def _refuse_those_of_gone(task: Any, what: str, connection: sa.Connection) -> None:
    """Rows or values that a task left whose class is not known any more, as it was renamed: they go by its name."""
    other = history.other_with_rows(connection, what, keys_of(task), marked=True)
    name, _, params = (other or "").partition(" ")
    if other is not None and task_of(name, params) is None:
        raise LeftoverRows(
            f"{task_label(task)} is not complete, but {other} left something in {what}, which both fill, and its class "
            "is not known here: import the module that defines it (MODELS in project_config.py); or, where it is gone "
            f"or has another name by now, clear it with '{how_to_clear(name)}'",
            name,
        )


def _refuse_values(task: Any, column: sa.Column[Any], connection: sa.Connection) -> None:
    if exists(connection, column.table, column.is_not(None)):
        _refuse_those_of_gone(task, f"{column.table.name}.{column.name}", connection)
        raise LeftoverRows(
            f"{task_label(task)} is not complete, but there are values in {column.table.name}.{column.name}, which it "
            "fills and clearing would reset: the marker of an earlier run was removed, or another task set them. Clear "
            f"them with 'ozelot clear {argument_of(task)}' or its clear(), or leave the column to this task alone"
        )


def _refuse_rows(task: Any, models: list[Any], connection: sa.Connection, ran_before: bool) -> None:
    table = Rows(models).first_in(connection)
    if table is None:
        return
    if not ran_before and marker.names_complete(connection, creator_names(models), limit=1):
        return  # they are another task's
    _refuse_those_of_gone(task, table.name, connection)
    label = task_label(task)
    if not task.creates:
        log.warning("%s runs on top of rows that are in %s already", label, table.name)
        return
    raise LeftoverRows(
        f"{label} is not complete, but there are rows in {table.name}, which it creates: the marker of an earlier run "
        f"was removed, its rows were not. Clear them with 'ozelot clear {argument_of(task)}', its clear(), or from "
        "a task that requires it with check_completion(root, clear=True)"
    )
