"""The plan of what to clear: data to look at, to print and to test; only its ``apply()`` acts."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from ozelot import client, formatting
from ozelot.clear.apply import check_shared, clear_all, describe_blocked, refuse_running, refuse_unrecorded
from ozelot.clear.inherited_rows import base_rows
from ozelot.clear.removed_tasks import gone as as_recorded
from ozelot.clear.removed_tasks import gone_by_name, with_former
from ozelot.clear.unrecorded_rows import Unrecorded, find_unrecorded, how_to_delete
from ozelot.errors import ClearRefused, RowsChanged
from ozelot.formatting import amounts, task_text
from ozelot.model.base import names_there
from ozelot.pipeline.declarations import (
    check_clearable,
    clears_itself,
    created_models,
    is_orm_task,
    keys_of,
    task_of,
    task_of_marker,
    updated_columns,
)
from ozelot.pipeline.graph import Graph, walk
from ozelot.rows.deletion import blocked_by
from ozelot.rows.selection import (
    BaseRows,
    Model,
    Rows,
    chain,
    count,
    counts_by_task,
    is_owned,
    owner_of,
    tables_of,
    values,
)
from ozelot.state import lineage, version
from ozelot.state import markers as marker
from ozelot.state.runs import few, latest, runs


@dataclass(frozen=True)
class ClearStep:
    """What clearing one task will do.

    Attributes:
        label: name and parameters of the task.
        task: the task; one that only the database knows is a :class:`~ozelot.pipeline.declarations.GoneTask`.
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
        unrecorded: tables and columns that hold more rows or values than recorded runs wrote.
        blocked: what else stands in the way, such as rows that stay, but refer to rows to be deleted, and what to do.
        include_unrecorded: whether rows that no run wrote are to be deleted with the others.
    """

    steps: list[ClearStep]
    along: dict[str, int]
    left_out: list[str]
    unrecorded: list[Unrecorded] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    include_unrecorded: bool = False

    @property
    def refused(self) -> str:
        """Why :meth:`apply` would refuse; empty where it would not."""
        found = list(self.blocked)
        strict = [each for each in self.unrecorded if not each.is_legacy]
        if strict and not self.include_unrecorded:
            found.append(f"{'; '.join(map(str, strict))}: {how_to_delete(strict)}")
        return "; ".join(found)

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
            return _plan(session.connection(), tasks, self.left_out, include_unrecorded=self.include_unrecorded)

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
        return formatting.table(("task", "rows to delete", "values to reset"), rows, below)

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
            now = _plan(session.connection(), tasks, self.left_out, include_unrecorded=self.include_unrecorded)
            for planned, found in zip(self.steps, now.steps, strict=True):
                _check_same(planned.label, planned.deletes | planned.resets, found.deletes | found.resets)
            _check_same("the plan", self.along, now.along)
            if not self.include_unrecorded:
                refuse_unrecorded(now.unrecorded)
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
    graph: Graph,
    labels: Collection[str],
    *,
    downstream: bool = True,
    gone: Collection[tuple[str, str]] = (),
    include_unrecorded: bool = False,
) -> ClearPlan:
    """The plan to clear those tasks of a graph; changes nothing.

    Args:
        graph: the graph.
        labels: of the tasks.
        gone: names and parameter strings of tasks that only the database knows, to be cleared, too.
        downstream: also clear what the records tell to be built on them, in the graph or not.
        include_unrecorded: also delete rows that no run wrote, where they cannot be told from those of the tasks.

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
        left_out = [label for label, task in ordered.items() if not is_orm_task(task)]
        orm_tasks = {label: task for label, task in ordered.items() if is_orm_task(task)}
        return _plan(connection, orm_tasks, left_out, include_unrecorded=include_unrecorded)


def _add_recorded(
    connection: sa.Connection, graph: Graph, tasks: dict[str, Any], requires: dict[str, set[str]]
) -> None:
    """Add the tasks that were built on these, as the recorded runs tell."""
    label_of_key = {
        keys_of(task)[0]: label for label, task in [*graph.tasks.items(), *tasks.items()] if is_orm_task(task)
    }
    legacy = legacy_graph(connection)
    size = -1
    while len(tasks) > size:
        size = len(tasks)
        for label in legacy.downstream(tasks.keys() & legacy.tasks.keys()) - tasks.keys():
            _add(label, graph if label in graph.tasks else legacy, tasks, requires)
        for label in graph.downstream(tasks.keys() & graph.tasks.keys()) - tasks.keys() if legacy.tasks else ():
            _add(label, graph, tasks, requires)
        label_of_key |= {keys_of(task)[0]: label for label, task in tasks.items() if is_orm_task(task)}
        keys = {keys_of(task)[0]: label for label, task in tasks.items() if is_orm_task(task)}
        recorded = lineage.downstream(connection, keys.keys())
        inside = {label_of_key[key] for key in recorded.identities if key in label_of_key}
        for label in graph.downstream(inside & graph.tasks.keys()) - tasks.keys():
            _add(label, graph, tasks, requires)
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


def _add(label: str, graph: Graph, tasks: dict[str, Any], requires: dict[str, set[str]]) -> None:
    tasks[label] = graph.tasks[label]
    requires[label] = set(graph.requires[label])


def legacy_graph(connection: sa.Connection) -> Graph:
    """The tasks of markers without a run, as ozelot 0.2 wrote them, and everything upstream: whatever their root is.

    Nothing was recorded of what they were built on, so their ``requires()`` is asked.
    """
    found = (task_of_marker(row) for row in marker.without_run(connection))
    return walk([task for task in found if task is not None], broken={}, to_run=False)


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


def _plan(
    connection: sa.Connection, tasks: Mapping[str, Any], left_out: list[str], *, include_unrecorded: bool
) -> ClearPlan:
    """The plan to clear these tasks in this order; as many queries as there are models."""
    there = names_there(connection)
    derived = {label: task for label, task in tasks.items() if not clears_itself(task)}
    key_of = {label: keys_of(task)[0] for label, task in derived.items()}
    sharing: dict[Model, list[str]] = {}  # the keys of the tasks that create rows of each model
    models = {label: [m for m in created_models(task) if _names(m) <= there] for label, task in derived.items()}
    for label in derived:
        for model in models[label]:
            sharing.setdefault(model, []).append(key_of[label])
    keys = {key for task in tasks.values() for key in keys_of(task)}
    bases = base_rows(connection, sharing, keys)
    owned = {model: counts_by_task(connection, model, keys) for model, keys in sharing.items() if is_owned(model)}
    taken: set[Any] = set()  # rows and values that cannot be told apart count for the first step they belong to
    unowned: set[str] = set()
    steps = []
    for label, task in tasks.items():
        deletes: dict[str, int] = {}
        resets: dict[str, int] = {}
        by_run: set[tuple[str, sa.Table | None]] = set()  # models with one 'run_id' may share tables
        for model in filter(is_owned, models.get(label, ())):
            mapper = sa.inspect(model)
            for table, numbers in owned[model].items():
                if (table, owner_of(mapper)) not in by_run:
                    by_run.add((table, owner_of(mapper)))
                    deletes[table] = deletes.get(table, 0) + numbers.get(key_of[label], 0)
            if (own := chain(mapper)[0]) in bases.extending and model not in taken:
                more = Rows([model], made_by=(), base_rows=bases).tables[own]
                deletes[own.name] += count(connection, own, more)
                taken.add(model)
        if new := [model for model in models.get(label, ()) if model not in owned and model not in taken]:
            for table, number in Rows(new, base_rows=bases).counts(connection).items():
                deletes[table] = deletes.get(table, 0) + number
                unowned.add(table)
            taken.update(new)
        for column in updated_columns(task) if label in derived else ():
            if column not in taken and column.table.name in there:
                resets[f"{column.table.name}.{column.name}"] = values(connection, column)
                taken.add(column)
        unowned.update(resets)
        steps.append(ClearStep(label, task, deletes, resets, label not in derived))
    rows = _rows_to_delete(connection, sharing, [column for column in taken if isinstance(column, sa.Column)], bases)
    along = {
        table.name: count(connection, table, rows.tables[table]) for table in rows.associations if table.name in there
    }
    shared = _shared(connection, list(tasks.values()))
    unowned -= {table for model in owned for table in owned[model]}
    totals = {name: sum(step.deletes.get(name, 0) + step.resets.get(name, 0) for step in steps) for name in unowned}
    return ClearPlan(
        steps,
        {name: number for name, number in along.items() if number},
        left_out,
        unrecorded=[] if shared else find_unrecorded(connection, list(derived.values()), totals, keys),
        blocked=shared or _blocked(connection, rows, [task for label, task in tasks.items() if label not in derived]),
        include_unrecorded=include_unrecorded,
    )


def _shared(connection: sa.Connection, tasks: Collection[Any]) -> list[str]:
    """Why tasks cannot be cleared without others whose rows cannot be told from theirs."""
    try:
        if marker.is_ready(connection):
            check_shared(connection, tasks)
    except ClearRefused as exc:
        return [str(exc)]
    return []


def _blocked(connection: sa.Connection, rows: Rows, clearing_themselves: Collection[Any]) -> list[str]:
    """What would stand in the way; what tasks with a ``clear()`` of their own delete before is not known."""
    if any(not created_models(task) for task in clearing_themselves):
        return []
    theirs = tables_of(model for task in clearing_themselves for model in created_models(task))
    found = blocked_by(rows, connection, lock=False)
    told = (describe_blocked(connection, each) for each in found if each.table not in theirs)
    return list(dict.fromkeys(told))  # a column may have two foreign keys


def _rows_to_delete(
    connection: sa.Connection,
    sharing: Mapping[Model, Collection[str]],
    columns: Collection[sa.Column[Any]],
    bases: BaseRows,
) -> Rows:
    """What is to be deleted, as far as it can be told before runs are marked as being cleared."""
    keys = {key for model, those in sharing.items() if is_owned(model) for key in those}
    made_by = sa.select(runs.c.id)
    if few(keys):
        made_by = made_by.where(runs.c.key.in_(keys))
    else:
        others = set(latest(connection, {row.key for row in marker.every(connection)})) - keys
        if few(others):
            made_by = made_by.where(runs.c.key.not_in(others))
        else:  # more than a statement takes
            sharing = {model: those for model, those in sharing.items() if not is_owned(model)}
    return Rows(sharing, columns, made_by=made_by, base_rows=bases)


def _names(model: Model) -> set[str]:
    """The names of the tables that the rows of a model need."""
    names = {table.name for table in ([model] if isinstance(model, sa.Table) else chain(sa.inspect(model)))}
    return names | ({runs.name} if is_owned(model) else set())
