"""Clearing: deleting what tasks put into the database, and their markers.

A task declares what it creates and updates; a plan of several tasks is data to look at (``plan.count()``), and
``plan.apply()`` acts in one transaction. Tasks are cleared downstream first. Rows of those that declare
what they create are deleted in an order that foreign keys accept; a task with a ``clear()`` of its own has its turn
when everything downstream of it is cleared.
"""

from __future__ import annotations

import inspect
import logging
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard
from weakref import WeakSet

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import InstrumentedAttribute, Session

from ozelot import client
from ozelot.errors import ClearRefused, NotClearable
from ozelot.etl.graph import Graph
from ozelot.etl.identity import task_label
from ozelot.etl.targets import ORMTarget, judged_by_marker
from ozelot.orm import run
from ozelot.orm import target as marker
from ozelot.orm.base import Base, table_of
from ozelot.orm.rows import Rows

log = logging.getLogger(__name__)


class ClearableTask(Protocol):
    """What an ORM task has, as far as clearing is concerned."""

    creates: Collection[type[Base] | sa.Table] | None
    object_classes: Collection[type[Base]] | None
    updates: Collection[InstrumentedAttribute[Any]] | None

    def mark_incomplete(self) -> None: ...
    def clear(self) -> None: ...
    def close_session(self, commit: bool = True) -> None: ...


#: All classes of ORM tasks, to find those that create rows of a model.
task_classes: WeakSet[Any] = WeakSet()


def is_orm_task(task: object) -> TypeGuard[ClearableTask]:
    """Whether the task has a marker and can be cleared."""
    return type(task) in task_classes


def created_models(task: Any) -> list[type[Base] | sa.Table]:
    """The models (or plain tables) whose rows a task, or a class of tasks, says that it creates."""
    return [*(task.creates or ()), *(task.object_classes or ())]


def creator_names(models: Iterable[type[Base] | sa.Table]) -> set[str]:
    """The names of all tasks that say that they create rows of one of these models."""
    wanted = set(models)
    return {cls.get_name() for cls in task_classes if not wanted.isdisjoint(created_models(cls))}


def rows_of(tasks: Iterable[Any], *, run_id: int | None = None) -> Rows:
    """What tasks say that they create and update; of rows that know their run, those of one run, if it is given."""
    models: list[type[Base] | sa.Table] = []
    columns: list[sa.Column[Any]] = []
    for task in tasks:
        models += created_models(task)
        for attribute in task.updates or ():
            for column in attribute.property.columns:
                if not column.nullable or column.default is not None or column.server_default is not None:
                    raise NotClearable(
                        f"{task.get_name()} updates {column.table.name}.{column.name}, which cannot be reset to what "
                        "it was: a column in 'updates' must be nullable and have no default"
                    )
                columns.append(column)
    made_by = run.being_cleared if run_id is None else [run_id]
    return Rows(dict.fromkeys(models), dict.fromkeys(columns), made_by=made_by)


def clears_itself(task: object) -> bool:
    """Whether the task's class has a ``clear()`` of its own, in place of the one derived from what it declares."""
    method = inspect.getattr_static(type(task), "clear")
    return not getattr(getattr(method, "function", method), "derived", False)


def clear_one(task: ClearableTask) -> None:
    """The ``clear()`` of a task that declares what it creates: marker and rows go in one transaction.

    Rows that others still refer to stay, with a warning, until those others are cleared with them.
    """
    _check_clearable(task)
    label = task_label(task)  # type: ignore[arg-type]
    database = client.get_client()
    marker.prepare(database.engine)
    with database.transaction() as session:
        keys = _check_shared(session.connection(), [task])
        task.mark_incomplete()
        try:
            with database.transaction() as part:
                run.mark_clearing(part.connection(), keys)
                _delete([task], keys)
                run.mark_cleared(part.connection())
        except ClearRefused as exc:
            log.warning(
                "%s is marked incomplete, but its rows stay: %s. check_completion(root, clear=True) clears both, "
                "where root is a task that requires both",
                label,
                exc,
            )


def _check_clearable(task: ClearableTask) -> None:
    if not clears_itself(task) and task.creates is None and task.object_classes is None and task.updates is None:
        name = type(task).__name__
        raise NotClearable(
            f"{name} does not say how to clear it: declare 'creates = [Model, ...]' or 'updates = [Model.column, ...]' "
            f"in class {name}, or define clear()"
        )


@dataclass(frozen=True)
class ClearPlan:
    """Tasks to clear, in order: downstream first.

    Attributes:
        steps: the tasks by label.
        left_out: labels of tasks that are no ORM tasks, and so are left as they are.
    """

    steps: dict[str, ClearableTask]
    left_out: list[str]

    def count(self) -> dict[str, dict[str, int]]:
        """What would go: for each step the rows of each table, and the values of each ``table.column`` to be reset.

        Changes nothing. A task with a ``clear()`` of its own has nothing here: only that knows what it deletes.
        """
        database = client.get_client()
        declared = {label: task for label, task in self.steps.items() if not clears_itself(task)}
        with database.create_session() as session:
            known = set(sa.inspect(session.connection()).get_table_names())
            found: dict[Any, dict[str, int]] = {}
            for item in {item for task in declared.values() for item in [*created_models(task), *(task.updates or ())]}:
                found[item] = _count(session, item) if _table_name(item) in known else {}
        steps: dict[str, dict[str, int]] = {label: {} for label in self.steps}
        for label, task in declared.items():
            key = ORMTarget.from_task(task).keys[0]  # type: ignore[arg-type]
            for model in created_models(task):
                shared = isinstance(model, type) and issubclass(model, run.TaskOwned)
                steps[label][_table_name(model)] = found[model].get(key if shared else "", 0)
            for column in task.updates or ():
                steps[label].update(found[column])
        return steps

    def apply(self) -> None:
        """Clear the tasks, all in one transaction: on any error nothing is changed.

        Raises:
            ClearRefused: rows of other tasks refer to rows that would be deleted.
        """
        if not self.steps:
            return
        database = client.get_client()
        marker.prepare(database.engine)
        tasks = list(self.steps.values())
        with database.transaction() as session:
            keys = _check_shared(session.connection(), tasks)
            remove_markers(tasks)
            run.mark_clearing(session.connection(), keys)
            declared: list[ClearableTask] = []
            for task in tasks:
                if not clears_itself(task):
                    declared.append(task)
                    continue
                _delete(declared, keys)
                declared.clear()
                try:
                    task.clear()
                    task.close_session()
                finally:
                    task.close_session(commit=False)
            _delete(declared, keys)
            run.mark_cleared(session.connection())


def _table_name(item: Any) -> str:
    if isinstance(item, InstrumentedAttribute):
        return str(item.property.columns[0].table.name)
    return (item if isinstance(item, sa.Table) else table_of(item)).name


def _count(session: Session, item: Any) -> dict[str, int]:
    """The rows of a model by the key of their task, or under '' where they do not know it; the values of a column."""
    if isinstance(item, InstrumentedAttribute):
        return Rows((), item.property.columns).counts(session.connection())
    if isinstance(item, type) and issubclass(item, run.TaskOwned):
        query = sa.select(run.Run.key, sa.func.count()).select_from(item).join(run.Run, item.run_id == run.Run.id)
        return {key: number for key, number in session.execute(query.group_by(run.Run.key))}  # noqa: C416
    return {"": Rows([item]).counts(session.connection())[_table_name(item)]}


def remove_markers(tasks: Collection[Any]) -> None:
    """Remove the markers of tasks, those of ordinary tasks by one statement."""
    ordinary = [task for task in tasks if removes_marker_only(task)]
    with client.get_client().engine.begin() as connection:
        marker.delete(connection, [key for task in ordinary for key in ORMTarget.from_task(task).keys])
    for task in tasks:
        if not removes_marker_only(task):
            task.mark_incomplete()


def removes_marker_only(task: Any) -> bool:
    """Whether nothing about ``mark_incomplete()`` was overridden, so that the key says all."""
    method = inspect.getattr_static(type(task), "mark_incomplete")
    return getattr(getattr(method, "function", method), "derived", False) and judged_by_marker(task)


def _check_shared(connection: sa.Connection, tasks: Collection[Any]) -> set[str]:
    """Refuse to clear one of several tasks whose rows cannot be told apart.

    Returns:
        The keys of the markers of all these tasks.

    Raises:
        ClearRefused: a complete task that is not to be cleared creates rows of the same model.
    """
    keys = {key for task in tasks for key in ORMTarget.from_task(task).keys}
    for model in {model for task in tasks if not clears_itself(task) for model in task.creates or ()}:
        if isinstance(model, type) and issubclass(model, run.TaskOwned):
            continue  # its rows know whose they are
        other = marker.first_other(connection, creator_names([model]), keys)
        if other is not None:
            table = model if isinstance(model, sa.Table) else table_of(model)
            raise ClearRefused(
                f"{other} has rows in {table.name}, too, and these cannot be told from the ones to be cleared: clear "
                "all tasks that create such rows together, from a task that requires them; or let the model use "
                "TaskOwned"
            )
    return keys


def _delete(tasks: Collection[Any], keys: Collection[str]) -> None:
    rows = rows_of(tasks)
    if rows.tables or rows.resets:
        with client.get_client().engine.begin() as connection:
            delete_rows(rows, keys, connection)


def delete_rows(rows: Rows, keys: Collection[str], connection: sa.Connection) -> None:
    """Delete rows, and reset columns, if nothing else refers to them.

    Args:
        rows: what is to go.
        keys: the keys of the markers of all tasks that are cleared together.
        connection: in an open transaction.

    Raises:
        ClearRefused: other rows refer to these, or the database says so.
    """
    for table in rows.associations:
        other = marker.first_other(connection, creator_names([table]), keys)
        if other is not None:
            raise ClearRefused(f"{other} has rows in {table.name} that refer to rows to be deleted")
    blocked = rows.blocked_by(connection)
    if blocked:
        told = "; ".join(
            f"{found.count} rows of {found.table.name}{_created_by(connection, found.table)} "
            f"refer to {found.refers_to.name}"
            for found in blocked
        )
        raise ClearRefused(told)
    try:
        rows.delete(connection)
    except IntegrityError as exc:
        reason = str(exc.orig).splitlines()[0]
        raise ClearRefused(f"the database refuses to delete: {reason}") from exc


def _created_by(connection: sa.Connection, table: sa.Table) -> str:
    names = {cls.get_name() for cls in task_classes if table in Rows(created_models(cls)).tables}
    labels = marker.names_complete(connection, names, limit=5) or sorted(names)
    return f" (created by {', '.join(labels)})" if labels else ""


def plan_of(graph: Graph, labels: Collection[str]) -> ClearPlan:
    """The plan to clear those tasks of a graph; changes nothing.

    Raises:
        NotClearable: a task does not say how.
    """
    dependents = {label: 0 for label in reversed(graph.tasks) if label in labels}
    for label in dependents:
        for requirement in graph.requires[label]:
            if requirement in dependents:
                dependents[requirement] += 1
    # Those that declare what they create go first where both may, so that their rows go together, in one order.
    ready: dict[bool, deque[str]] = {False: deque(), True: deque()}
    steps: dict[str, ClearableTask] = {}
    left_out: list[str] = []

    def add(label: str) -> None:
        ready[is_orm_task(task := graph.tasks[label]) and clears_itself(task)].append(label)

    for label, count in dependents.items():
        if not count:
            add(label)
    while ready[False] or ready[True]:
        label = (ready[False] or ready[True]).popleft()
        task = graph.tasks[label]
        if is_orm_task(task):
            _check_clearable(task)
            steps[label] = task
        else:
            left_out.append(label)
        for requirement in graph.requires[label]:
            if requirement in dependents:
                dependents[requirement] -= 1
                if not dependents[requirement]:
                    add(requirement)
    return ClearPlan(steps, left_out)
