"""What is left of an earlier run when a task starts: its own is cleared, anything else is refused."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from ozelot.errors import LeftoverRows
from ozelot.etl.base_rows import base_rows
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
from ozelot.etl.identity import parameter_names, task_label
from ozelot.etl.unrecorded import find_unrecorded, how_to_delete
from ozelot.orm import history, run
from ozelot.orm import target as marker
from ozelot.orm.rows import Model, Rows, chain, count, exists, is_owned, models_in, owners, values

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


def clear_leftovers(task: Any, connection: sa.Connection, key: str, *, ran_before: bool) -> set[sa.Table]:
    """Deal with what is left of an earlier run whose marker was removed.

    Rows that know their run are deleted, and columns that only this task fills are reset.

    Returns:
        The tables without a ``run_id`` that are empty now, and that only this task fills.

    Raises:
        LeftoverRows: there are others, in a table or column that this task declares.
    """
    models, columns = created_models(task), updated_columns(task)
    if not models and not columns and not ran_before:
        return set()
    owned = [model for model in models if is_owned(model)]
    # Where another task that fills a column is complete, it cannot be told whose the values are.
    mine = [c for c in columns if marker.first_other(connection, updater_names(c), keys_of(task)) is None]
    if ran_before:
        run.mark_clearing(connection, [key], owners(owned))
        if owned or mine:
            rows = Rows(owned, mine, base_rows=base_rows(connection, owned, keys_of(task)))
            delete_rows(rows, {key}, connection)
    else:
        for column in mine:
            _refuse_values(task, column, connection)
    unowned = [model for model in models if model not in owned]
    is_clean = not unowned or _refuse_rows(task, unowned, connection, ran_before)
    if ran_before:
        run.mark_cleared(connection)
    return _empty_tables(task, models, connection, unowned if is_clean else [])


def _empty_tables(
    task: Any, models: Collection[Model], connection: sa.Connection, clean: Collection[Model]
) -> set[sa.Table]:
    """The tables that hold nothing, and that only this task fills; those of clean models have no rows of these."""
    if not models or parameter_names(type(task)):
        return set()
    own = {model for model in models if creator_names([model]) == {task.get_name()}}
    found = {model for model in own & set(clean) if isinstance(model, sa.Table)}
    for model in own:
        if isinstance(model, sa.Table):
            continue
        mapper = sa.inspect(model)
        table, *bases = chain(mapper)
        is_simple = not bases and len([*mapper.base_mapper.self_and_descendants]) == 1
        if is_simple and model in clean:
            found.add(table)
        elif not is_simple:
            found |= {each for each in [table, *bases] if _is_unused(each, task, connection)}
    return found - owners(models)


def _is_unused(table: sa.Table, task: Any, connection: sa.Connection) -> bool:
    filled = creator_names(models_in([table.name])[table.name]) <= {task.get_name()}
    return filled and not exists(connection, table, None)


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
        name = f"{column.table.name}.{column.name}"
        _refuse_those_of_gone(task, name, connection)
        if unrecorded := find_unrecorded(connection, [task], {name: values(connection, column)}, keys_of(task)):
            raise LeftoverRows(
                f"{task_label(task)} fills {name}, but {unrecorded[0]}: set them to NULL, or let "
                f"'ozelot clear {argument_of(task)} --include-unrecorded' do so"
            )
        raise LeftoverRows(
            f"{task_label(task)} is not complete, but there are values in {column.table.name}.{column.name}, which it "
            "fills and clearing would reset: the marker of an earlier run was removed, or another task set them. Clear "
            f"them with 'ozelot clear {argument_of(task)}' or its clear(), or leave the column to this task alone"
        )


def _refuse_rows(task: Any, models: list[Any], connection: sa.Connection, ran_before: bool) -> bool:
    """Refuse to run on top of rows that are there already; returns whether there are none."""
    rows = Rows(models, base_rows=base_rows(connection, models, keys_of(task)))
    table = rows.first_in(connection)
    if table is None:
        return True
    if not ran_before and marker.names_complete(connection, creator_names(models), limit=1):
        return False  # they are another task's
    _refuse_those_of_gone(task, table.name, connection)
    label = task_label(task)
    if not task.creates:
        log.warning("%s runs on top of rows that are in %s already", label, table.name)
        return False
    number = count(connection, table, rows.tables[table])
    if unrecorded := find_unrecorded(connection, [task], {table.name: number}, keys_of(task)):
        raise LeftoverRows(
            f"{label} creates the rows of {table.name}, but {unrecorded[0]}: {how_to_delete(unrecorded)}"
        )
    raise LeftoverRows(
        f"{label} is not complete, but there are rows in {table.name}, which it creates: the marker of an earlier run "
        f"was removed, its rows were not. Clear them with 'ozelot clear {argument_of(task)}', its clear(), or from "
        "a task that requires it with check_completion(root, clear=True)"
    )
