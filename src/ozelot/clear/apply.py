"""Clearing: deleting what tasks put into the database, and their markers, in one transaction.

A task declares what it creates and updates; what is to be deleted follows from that. Rows of several such tasks are
deleted together, in an order that foreign keys accept; a task with a ``clear()`` of its own has its turn when
everything downstream of it is cleared.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Collection
from typing import Any, cast

import luigi
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from ozelot import client
from ozelot.clear.inherited_rows import base_rows
from ozelot.clear.removed_tasks import how_to_clear, with_former
from ozelot.clear.unrecorded_rows import Unrecorded, find_unrecorded, how_to_delete
from ozelot.db import transaction, write_guard
from ozelot.db.locks import is_held, why_unseen
from ozelot.errors import ClearRefused, LeftoverRows, RowsChanged
from ozelot.model.base import table_of
from ozelot.pipeline.declarations import (
    ClearableTask,
    argument_of,
    check_clearable,
    clears_itself,
    created_models,
    creator_names,
    keys_of,
    label_of,
    only_as_in_0_2,
    removes_marker_only,
    rows_of,
    task_classes,
    task_of,
    updated_columns,
    updater_names,
    writable,
)
from ozelot.pipeline.definition import check_definition
from ozelot.pipeline.marker_target import look_again, parameter_names, task_label
from ozelot.rows.deletion import Blocked, blocked_by, remove
from ozelot.rows.selection import (
    Model,
    Rows,
    chain,
    count,
    exists,
    is_owned,
    models_in,
    owners,
    tables_of,
    told,
    values,
)
from ozelot.state import lineage, runs, version
from ozelot.state import markers as marker

log = logging.getLogger(__name__)

_FEW = 5  # tasks that are named


def clear_one(task: ClearableTask, *, include_unrecorded: bool = False) -> None:
    """The ``clear()`` of a task that declares what it creates: marker and rows go in one transaction.

    Rows that others still refer to stay, with a warning, until those others are cleared with them.

    Args:
        task: the task.
        include_unrecorded: also delete rows that no run wrote, where they cannot be told from the task's.

    Raises:
        ClearRefused: there are such rows, or rows of another task that cannot be told from these.
    """
    check_definition(cast(luigi.Task, task))
    check_clearable(task)
    look_again()
    database = client.get_client()
    marker.prepare(database.engine)
    with database.transaction() as session:
        connection = session.connection()
        version.lock(connection)
        tasks = list(with_former(connection, {label_of(task): task}).values())
        keys = check_shared(connection, tasks)
        if not include_unrecorded:
            _check_unrecorded(connection, tasks, keys)
        task.mark_incomplete()
        try:
            with database.transaction() as part:
                runs.mark_clearing(part.connection(), keys, owners(m for each in tasks for m in created_models(each)))
                _delete(tasks, keys)
                runs.mark_cleared(part.connection())
        except ClearRefused as exc:
            log.warning(
                "%s is marked incomplete, but its rows stay: %s. check_completion(root, clear=True) clears both, "
                "where root is a task that requires both; so does: ozelot clear %s",
                label_of(task),
                exc,
                argument_of(task),
            )


def _check_unrecorded(connection: sa.Connection, tasks: Collection[Any], keys: Collection[str]) -> None:
    derived = [task for task in tasks if not clears_itself(task)]
    models = {model for task in derived for model in created_models(task) if not is_owned(model)}
    columns = {column for task in derived for column in updated_columns(task)}
    found = Rows(models, columns, base_rows=base_rows(connection, models, keys)).counts(connection)
    owned = {table.name for table in tables_of(m for task in derived for m in created_models(task) if is_owned(m))}
    found = {name: number for name, number in found.items() if name not in owned}
    refuse_unrecorded(find_unrecorded(connection, derived, found, keys))


def refuse_unrecorded(found: Collection[Unrecorded]) -> None:
    """Refuse to delete rows that no run wrote; of tasks as in ozelot 0.2, warn.

    Raises:
        ClearRefused: there are such rows.
    """
    for each in found:
        if each.is_legacy:
            log.warning("%s; they are deleted with the others", each)
    strict = [each for each in found if not each.is_legacy]
    if strict:
        raise ClearRefused(f"{'; '.join(map(str, strict))}: {how_to_delete(strict)}")


def clear_all(tasks: Collection[ClearableTask]) -> None:
    """Clear tasks in this order, in the open transaction, which must be rolled back on any exception.

    Raises:
        ClearRefused: rows of other tasks refer to rows that would be deleted, or one of the tasks is running.
        RowsChanged: what was deleted is not what was counted.
    """
    database = client.get_client()
    with database.transaction() as session:
        connection = session.connection()
        keys = check_shared(connection, tasks)
        refuse_running(connection, keys)
        remove_markers(tasks)
        runs.mark_clearing(connection, keys, owners(model for task in tasks for model in created_models(task)))
        declared: list[ClearableTask] = []
        for task in tasks:
            if not clears_itself(task):
                declared.append(task)
                continue
            _delete(declared, keys)
            declared.clear()
            _clear_by_itself(task)
        _delete(declared, keys)
        runs.mark_cleared(connection)


def _clear_by_itself(task: Any) -> None:
    """Let a task's own ``clear()`` act; it may write where the task says that it writes, if it says so."""
    opened = cast(transaction.OpenTransaction, transaction.current(client.get_client().engine))
    with (
        write_guard.unwatched(opened)
        if only_as_in_0_2(task)
        else write_guard.watched(opened, functools.partial(writable, task))
    ):
        try:
            task.clear()
            task.close_session()
        finally:
            task.close_session(commit=False)


def remove_markers(tasks: Collection[Any]) -> None:
    """Remove the markers of tasks, those of ordinary tasks by one statement."""
    ordinary = [task for task in tasks if removes_marker_only(task)]
    with client.get_client().engine.begin() as connection:
        identities = [
            marker.Identity(task.get_name(), task.get_param_string(), *keys_of(task)[:2]) for task in ordinary
        ]
        marker.record_lost_runs(connection, identities)
        marker.delete(connection, [key for task in ordinary for key in keys_of(task)])
    for task in tasks:
        if not removes_marker_only(task):
            task.mark_incomplete()


def check_shared(connection: sa.Connection, tasks: Collection[Any]) -> set[str]:
    """Refuse to clear one of several tasks whose rows (or values) cannot be told apart.

    Returns:
        The keys of the markers of all these tasks.

    Raises:
        ClearRefused: a complete task that is not to be cleared creates rows of the same model or fills the same column.
    """
    keys = {key for task in tasks for key in keys_of(task)}
    derived = [task for task in tasks if not clears_itself(task)]
    for model in {model for task in derived for model in task.creates or () if not is_owned(model)}:
        table = model if isinstance(model, sa.Table) else table_of(model)
        _refuse_others(connection, creator_names([model]), keys, f"has rows in {table.name}", "create such rows")
    for column in {column for task in derived for column in updated_columns(task)}:
        told = f"has values in {column.table.name}.{column.name}"
        _refuse_others(connection, updater_names(column), keys, told, "fill it")
    _refuse_unknown(connection, derived, keys)
    return keys


def _refuse_unknown(connection: sa.Connection, tasks: Collection[Any], keys: set[str]) -> None:
    """The same for tasks that only the runs know of: their class was not imported, or declared more when they ran."""
    models = {model for task in tasks for model in task.creates or () if not is_owned(model)}
    rows = Rows(models, base_rows=base_rows(connection, models, keys))
    wholly = [table.name for table, which in rows.tables.items() if which is None]
    columns = {column for task in tasks for column in updated_columns(task)}
    for what in sorted({*wholly, *(f"{column.table.name}.{column.name}" for column in columns)}):
        other = lineage.other_with_rows(connection, what, keys, marked=True)
        if other is not None:
            also = [label_of(task) for task in tasks if what in _filled(task)]
            raise ClearRefused(
                f"{other} is complete, and its run left something in {what}, which cannot be told from what is to be "
                "cleared: import the module that defines it, and clear both together; or, where it is gone for good, "
                f"do so by its name: {how_to_clear(other, *also)}"
            )


def _filled(task: Any) -> set[str]:
    rows = rows_of([task])
    columns = {f"{column.table.name}.{column.name}" for column in rows.columns}
    return {table.name for table in rows.tables} | columns


def _refuse_others(connection: sa.Connection, names: set[str], keys: set[str], has: str, those: str) -> None:
    other = marker.first_other(connection, names, keys)
    if other is not None:
        advice = "; or let the model use TaskOwned" if "rows" in has else ""
        raise ClearRefused(
            f"{other} {has}, too, and these cannot be told from the ones to be cleared: clear all tasks that {those} "
            f"together, from a task that requires them{advice}"
        )


def refuse_running(connection: sa.Connection, keys: Collection[str]) -> None:
    """Make sure that no task with one of these keys is under way.

    Raises:
        ClearRefused: one is.
    """
    query = sa.select(runs.runs).where(runs.runs.c.state == runs.RUNNING)
    for entry in connection.execute(query).all():
        if entry.key not in keys:
            continue
        since = f"since {entry.started:%Y-%m-%d %H:%M:%S} UTC on {entry.host} (process {entry.process})"
        if is_held(connection, entry.key):
            raise ClearRefused(f"{entry.name} {entry.params} is running, {since}: wait until it ends")
        if why := why_unseen(connection):
            raise ClearRefused(
                f"{entry.name} {entry.params} is recorded as running, {since}. Whether it still is cannot be seen "
                f"here: {why}"
            )


def _delete(tasks: Collection[Any], keys: Collection[str]) -> None:
    if any(created_models(task) or task.updates for task in tasks):
        try:
            with client.get_client().engine.begin() as connection:
                models = [model for task in tasks for model in created_models(task)]
                delete_rows(rows_of(tasks, base_rows(connection, models, keys)), keys, connection)
        except RowsChanged as exc:
            labels = [label_of(task) for task in tasks if created_models(task) or task.updates]
            more = f" and {len(labels) - _FEW} more" if len(labels) > _FEW else ""
            raise RowsChanged(f"Clearing {', '.join(labels[:_FEW])}{more}: {exc}") from exc


def delete_rows(rows: Rows, keys: Collection[str], connection: sa.Connection) -> None:
    """Delete rows, and reset columns, if nothing else refers to them.

    Args:
        rows: what is to go.
        keys: the keys of the markers of all tasks that are cleared together.
        connection: in an open transaction.

    Raises:
        ClearRefused: other rows refer to these, or the database says so.
        RowsChanged: what was deleted is not what was counted.
    """
    for table in rows.associations:
        other = marker.first_other(connection, creator_names([table]), keys)
        if other is not None:
            raise ClearRefused(f"{other} has rows in {table.name} that refer to rows to be deleted")
    if blocked := blocked_by(rows, connection):
        raise ClearRefused("; ".join(describe_blocked(connection, found) for found in blocked))
    try:
        with write_guard.unwatched(cast(transaction.OpenTransaction, transaction.current(connection.engine))):
            remove(rows, connection)
    except IntegrityError as exc:
        reason = str(exc.orig).splitlines()[0]
        raise ClearRefused(f"the database refuses to delete: {reason}") from exc


def describe_blocked(connection: sa.Connection, found: Blocked) -> str:
    """Rows that stand in the way: who created them, or which they are, and what to do about them."""
    names = {cls.get_name() for cls in list(task_classes) if found.table in Rows(created_models(cls)).tables}
    labels = found.made_by or marker.names_complete(connection, names, limit=5)
    what = f"{told(found.count)} of {found.table.name}"
    refer = f"{'refers' if found.count == 1 else 'refer'} to {found.refers_to.name}"
    if labels:
        return f"{what} (created by {', '.join(labels)}) {refer}"
    if names:
        return f"{what} (as {' or '.join(sorted(names))} would create) {refer}"
    more = ", ..." if found.count > len(found.keys) else ""
    keys = f" (key {', '.join(found.keys)}{more})" if found.keys else ""
    columns = ", ".join(f"{found.table.name}.{column}" for column in found.columns)
    them, these = ("it", "this row") if found.count == 1 else ("them", "these rows")
    advice = f", or set {columns} to NULL there" if found.is_nullable else ""
    return f"{what}{keys} {refer}, and no task created {them}: delete {these} first{advice}"


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
        runs.mark_clearing(connection, [key], owners(owned))
        if owned or mine:
            rows = Rows(owned, mine, base_rows=base_rows(connection, owned, keys_of(task)))
            delete_rows(rows, {key}, connection)
    else:
        for column in mine:
            _refuse_values(task, column, connection)
    unowned = [model for model in models if model not in owned]
    is_clean = not unowned or _refuse_rows(task, unowned, connection, ran_before)
    if ran_before:
        runs.mark_cleared(connection)
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
    other = lineage.other_with_rows(connection, what, keys_of(task), marked=True)
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
