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

from ozelot import client, transaction, writes
from ozelot.claim import is_held, why_unseen
from ozelot.errors import ClearRefused, RowsChanged
from ozelot.etl.base_rows import base_rows
from ozelot.etl.declared import (
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
    updated_columns,
    updater_names,
    writable,
)
from ozelot.etl.definition import check_definition
from ozelot.etl.former import how_to_clear, with_former
from ozelot.etl.targets import look_again
from ozelot.etl.unrecorded import Unrecorded, find_unrecorded, how_to_delete
from ozelot.orm import history, run, version
from ozelot.orm import target as marker
from ozelot.orm.base import table_of
from ozelot.orm.removal import Blocked, blocked_by, remove
from ozelot.orm.rows import Rows, is_owned, owners, tables_of, told

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
                run.mark_clearing(part.connection(), keys, owners(m for each in tasks for m in created_models(each)))
                _delete(tasks, keys)
                run.mark_cleared(part.connection())
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
        run.mark_clearing(connection, keys, owners(model for task in tasks for model in created_models(task)))
        declared: list[ClearableTask] = []
        for task in tasks:
            if not clears_itself(task):
                declared.append(task)
                continue
            _delete(declared, keys)
            declared.clear()
            _clear_by_itself(task)
        _delete(declared, keys)
        run.mark_cleared(connection)


def _clear_by_itself(task: Any) -> None:
    """Let a task's own ``clear()`` act; it may write where the task says that it writes, if it says so."""
    opened = cast(transaction.OpenTransaction, transaction.current(client.get_client().engine))
    with (
        writes.unwatched(opened) if only_as_in_0_2(task) else writes.watched(opened, functools.partial(writable, task))
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
        other = history.other_with_rows(connection, what, keys, marked=True)
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
    query = sa.select(run.runs).where(run.runs.c.state == run.RUNNING)
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
        with writes.unwatched(cast(transaction.OpenTransaction, transaction.current(connection.engine))):
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
