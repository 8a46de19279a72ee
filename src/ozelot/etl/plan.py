"""The plan of what to clear: data to look at, to print and to test; only its ``apply()`` acts."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ozelot import client, notebook
from ozelot.errors import RowsChanged
from ozelot.etl.clearing import clear_all, refuse_running
from ozelot.etl.declared import (
    check_clearable,
    clears_itself,
    created_models,
    is_orm_task,
    keys_of,
    task_of,
    updated_columns,
)
from ozelot.etl.former import gone as as_recorded
from ozelot.etl.former import gone_by_name, with_former
from ozelot.etl.graph import Graph
from ozelot.orm import history, version
from ozelot.orm import target as marker
from ozelot.orm.base import names_there
from ozelot.orm.rows import Model, Rows, chain, count, counts_by_task, is_owned, values
from ozelot.orm.run import few, runs
from ozelot.words import amounts, task_text


@dataclass(frozen=True)
class ClearStep:
    """What clearing one task will do.

    Attributes:
        label: name and parameters of the task.
        task: the task; one that only the database knows is a :class:`~ozelot.etl.declared.GoneTask`.
        deletes: how many rows will be deleted, by table.
        resets: how many values will be set to NULL, by ``table.column``.
        own_clear: the class has a ``clear()`` of its own, and only that knows what it deletes.
    """

    label: str
    task: Any
    deletes: dict[str, int]
    resets: dict[str, int]
    own_clear: bool


@dataclass(frozen=True)
class ClearPlan:
    """Tasks to clear.

    Attributes:
        steps: one a task, in order: downstream first.
        along: rows of association tables that go along with rows that they refer to, by table.
        left_out: labels of tasks that are no ORM tasks, and so are left as they are.
    """

    steps: list[ClearStep]
    along: dict[str, int]
    left_out: list[str]

    @property
    def deletes(self) -> dict[str, int]:
        """How many rows will be deleted in all, by table."""
        total = dict(self.along)
        for step in self.steps:
            for table, number in step.deletes.items():
                total[table] = total.get(table, 0) + number
        return {table: number for table, number in total.items() if number}

    def without(self, labels: Collection[str]) -> ClearPlan:
        """The same but for some tasks, whose markers and rows go by other means."""
        tasks = {step.label: step.task for step in self.steps if step.label not in labels}
        with client.get_client().create_session() as session:
            steps, along = _counted(session.connection(), tasks)
        return ClearPlan(steps, along, self.left_out)

    def refuse_running(self) -> None:
        """Make sure, before somebody is asked, that none of the tasks is running; :meth:`apply` does so, too.

        Raises:
            ClearRefused: one is.
        """
        with client.get_client().engine.connect() as connection:
            if version.has_runs(connection):
                refuse_running(connection, {key for step in self.steps for key in keys_of(step.task)})

    def _repr_html_(self) -> str:
        rows = [
            (
                task_text(step.label),
                "what its own clear() deletes" if step.own_clear else amounts(step.deletes),
                amounts(step.resets),
            )
            for step in self.steps
        ]
        along = amounts(self.along)
        below = f"Along with them: {along}" if along else ""
        return notebook.table(("task", "rows to delete", "values to reset"), rows, below)

    def apply(self) -> None:
        """Do all of it in one transaction, or, on any error, nothing.

        Raises:
            RowsChanged: the rows are not those of the plan any more, or others would change along with them.
            ClearRefused: rows of other tasks refer to rows that would be deleted.
        """
        if not self.steps:
            return
        database = client.get_client()
        marker.prepare(database.engine)
        tasks = {step.label: step.task for step in self.steps}
        with database.transaction() as session:
            version.lock(session.connection())
            steps, along = _counted(session.connection(), tasks)
            for planned, found in zip(self.steps, steps, strict=True):
                _check_same(planned.label, planned.deletes | planned.resets, found.deletes | found.resets)
            _check_same("the plan", self.along, along)
            clear_all(list(tasks.values()))


def _check_same(whose: str, planned: Mapping[str, int], found: Mapping[str, int]) -> None:
    for name in planned.keys() | found.keys():
        now, before = found.get(name, 0), planned.get(name, 0)
        if now != before:
            what = f"{'value' if '.' in name else 'row'}{'' if now == 1 else 's'}"
            raise RowsChanged(
                f"Since the plan was made, {name} changed: {whose} has {now} {what} there, not {before}. Nothing was "
                "cleared; look at a new plan"
            )


def make_plan(
    graph: Graph, labels: Collection[str], *, downstream: bool = True, gone: Collection[tuple[str, str]] = ()
) -> ClearPlan:
    """The plan to clear those tasks of a graph; changes nothing.

    Args:
        graph: the graph.
        labels: of the tasks.
        gone: names and parameter strings of tasks that only the database knows, to be cleared, too.
        downstream: also clear what the records tell to be built on them, in the graph or not.

    Raises:
        NotClearable: a task does not say how.
        ClearRefused: a task outside the graph was built on these, but it is not known any more what its rows are.
    """
    with client.get_client().create_session() as session:
        connection = session.connection()
        tasks: dict[str, Any] = {label: graph.tasks[label] for label in graph.tasks if label in labels}
        requires = {label: set(graph.requires[label]) for label in tasks}
        named = gone_by_name(connection, gone, [keys_of(task)[0] for task in tasks.values() if is_orm_task(task)])
        tasks |= named
        requires |= {label: set() for label in named}
        if downstream:
            _add_recorded(connection, graph, tasks, requires)
        ordered = with_former(connection, {label: tasks[label] for label in _downstream_first(tasks, requires)})
        for task in ordered.values():
            if is_orm_task(task):
                check_clearable(task)
        steps, along = _counted(connection, {label: task for label, task in ordered.items() if is_orm_task(task)})
    return ClearPlan(steps, along, [label for label, task in ordered.items() if not is_orm_task(task)])


def _add_recorded(
    connection: sa.Connection, graph: Graph, tasks: dict[str, Any], requires: dict[str, set[str]]
) -> None:
    """Add the tasks that were built on these, as the recorded runs tell."""
    label_of_key = {
        keys_of(task)[0]: label for label, task in [*graph.tasks.items(), *tasks.items()] if is_orm_task(task)
    }
    while True:
        keys = {keys_of(task)[0]: label for label, task in tasks.items() if is_orm_task(task)}
        recorded = history.downstream(connection, keys.keys())
        inside = {label_of_key[key] for key in recorded.identities if key in label_of_key}
        new = graph.downstream(inside & graph.tasks.keys()) - tasks.keys()
        for label in new:
            tasks[label] = graph.tasks[label]
            requires[label] = set(graph.requires[label])
        for key, (name, params) in recorded.identities.items():
            if key not in label_of_key:
                label = f"{name} {params}"
                tasks[label] = task_of(name, params) or as_recorded(
                    connection, key, name, params, {*recorded.identities, *keys}
                )
                label_of_key[key] = label
                requires[label] = set()
        for child, others in recorded.built_on.items():
            label = label_of_key.get(child, "")
            if label in requires:
                requires[label] |= {label_of_key[other] for other in others if other in label_of_key}
        if not new:
            return


def _downstream_first(tasks: Mapping[str, Any], requires: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Labels in an order in which each comes before what it requires."""
    dependents: dict[str, int] = dict.fromkeys(reversed(list(tasks)), 0)
    for label in tasks:
        for requirement in requires[label]:
            if requirement in dependents:
                dependents[requirement] += 1
    # Those that declare what they create go first where both may, so that their rows go together, in one order.
    ready: dict[bool, deque[str]] = {False: deque(), True: deque()}
    waiting = dict.fromkeys(dependents)

    def add(label: str) -> None:
        ready[is_orm_task(task := tasks[label]) and clears_itself(task)].append(label)

    for label, number in dependents.items():
        if not number:
            add(label)
    while waiting:
        if not ready[False] and not ready[True]:
            add(next(iter(waiting)))  # the code turned a requirement round since the run
        label = (ready[False] or ready[True]).popleft()
        if label not in waiting:
            continue
        del waiting[label]
        yield label
        for requirement in sorted(requires[label]):
            if requirement in dependents:
                dependents[requirement] -= 1
                if not dependents[requirement]:
                    add(requirement)


def _counted(connection: sa.Connection, tasks: Mapping[str, Any]) -> tuple[list[ClearStep], dict[str, int]]:
    """The steps of a plan, and the rows of association tables that go along; as many queries as there are models."""
    there = names_there(connection)
    derived = {label: task for label, task in tasks.items() if not clears_itself(task)}
    key_of = {label: keys_of(task)[0] for label, task in derived.items()}
    sharing: dict[Model, list[str]] = {}  # the keys of the tasks that create rows of each model
    models = {label: [m for m in created_models(task) if _names(m) <= there] for label, task in derived.items()}
    for label in derived:
        for model in models[label]:
            sharing.setdefault(model, []).append(key_of[label])
    owned = {model: counts_by_task(connection, model, keys) for model, keys in sharing.items() if is_owned(model)}
    taken: set[Any] = set()  # rows and values that cannot be told apart count for the first step they belong to
    steps = []
    for label, task in tasks.items():
        deletes: dict[str, int] = {}
        resets: dict[str, int] = {}
        for model in filter(is_owned, models.get(label, ())):
            for table, numbers in owned[model].items():
                deletes[table] = numbers.get(key_of[label], 0)
        if new := [model for model in models.get(label, ()) if model not in owned and model not in taken]:
            for table, number in Rows(new).counts(connection).items():
                deletes[table] = deletes.get(table, 0) + number
            taken.update(new)
        for column in updated_columns(task) if label in derived else ():
            if column not in taken and column.table.name in there:
                resets[f"{column.table.name}.{column.name}"] = values(connection, column)
                taken.add(column)
        steps.append(ClearStep(label, task, deletes, resets, label not in derived))
    return steps, _along(connection, sharing, there)


def _along(connection: sa.Connection, sharing: Mapping[Model, list[str]], there: set[str]) -> dict[str, int]:
    keys = {key for model, those in sharing.items() if is_owned(model) for key in those}
    if not few(keys):  # more than a statement takes
        sharing = {model: those for model, those in sharing.items() if not is_owned(model)}
    rows = Rows(sharing, made_by=sa.select(runs.c.id).where(runs.c.key.in_(keys)))
    found = {
        table.name: count(connection, table, rows.tables[table]) for table in rows.associations if table.name in there
    }
    return {name: number for name, number in found.items() if number}


def _names(model: Model) -> set[str]:
    """The names of the tables that the rows of a model need."""
    names = {table.name for table in ([model] if isinstance(model, sa.Table) else chain(sa.inspect(model)))}
    return names | ({runs.name} if is_owned(model) else set())
