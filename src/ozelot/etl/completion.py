"""The state of a graph: what is complete, and what is to be done about the rest."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from contextlib import nullcontext
from typing import Any, Literal, overload

import luigi

from ozelot import client, config
from ozelot.clear.apply import remove_markers
from ozelot.clear.plan import ClearPlan, make_plan
from ozelot.errors import ClearRefused, GraphError
from ozelot.model.base import Base, drop_tables, table_of
from ozelot.pipeline import user_code
from ozelot.pipeline.declarations import is_orm_task, keys_of, rows_of
from ozelot.pipeline.definition import is_external
from ozelot.pipeline.graph import Graph, walk
from ozelot.pipeline.marker_target import ORMTarget, judged_by_marker, task_label
from ozelot.schema.dependents import mark_cleared, rebuilt_with
from ozelot.state import lineage
from ozelot.state import markers as marker
from ozelot.state.lineage import find_missing_rows

log = logging.getLogger(__name__)


def complete(
    graph: Graph,
    broken: dict[str, Exception] | None = None,
    missing: dict[str, str] | None = None,
    gone: Mapping[str, str] | None = None,
) -> set[str]:
    """The labels of tasks whose own marker (or target) exists, whatever they require.

    The markers of all ORM tasks are read by one query; ``complete()`` is called where a class overrides it. A task with
    a marker whose rows are gone is not complete (:mod:`ozelot.state.lineage`).

    Args:
        graph: the graph.
        broken: where it is given, an error of ``complete()`` is put there by label, and the others are looked at.
        missing: where it is given, why rows are missing is put there by label.
        gone: why rows are missing, by key of the marker, where that is known already.

    Raises:
        TaskBroken: a ``complete()`` failed.
    """
    keys: dict[str, tuple[str, ...]] = {}
    found = set()
    for label, task in graph.tasks.items():
        if judged_by_marker(task):
            keys[label] = ORMTarget.from_task(task).keys
            continue
        try:
            is_complete = user_code.is_complete(task)
        except Exception as exc:
            if broken is None:
                raise
            broken[label], is_complete = user_code.cause(exc), False
        if is_complete:
            found.add(label)
    if keys:
        with client.get_client().engine.connect() as connection:
            there = marker.existing(connection, {key for pair in keys.values() for key in pair})
            marked = {pair[0]: label for label, pair in keys.items() if not there.isdisjoint(pair)}
            gone = find_missing_rows(connection, marked.keys()) if gone is None else gone
        found |= {label for key, label in marked.items() if key not in gone}
        if missing is not None:
            missing |= {label: gone[key] for key, label in marked.items() if key in gone}
    return found


def has_rows(task: luigi.Task) -> bool:
    """Whether no table in which the run of a complete task recorded rows is missing or empty."""
    if not (getattr(task, "creates", None) or getattr(task, "object_classes", None) or getattr(task, "updates", None)):
        return True
    with client.get_client().engine.connect() as connection:
        return not find_missing_rows(connection, [keys_of(task)[0]])


def to_run(graph: Graph, roots: Collection[str], done: set[str]) -> list[str]:
    """The labels of tasks that a run would run, requirements first: what the roots need and is not there.

    A run does not look behind a task that is there, unless it only bundles others, nor behind an external task.

    Args:
        graph: the graph of the roots.
        roots: their labels.
        done: the labels of tasks whose own marker (or target) is there.
    """
    there: set[str] = set()
    for label, task in graph.tasks.items():
        if label in done and (not getattr(task, "only_bundles", False) or there.issuperset(graph.requires[label])):
            there.add(label)
    needed = set(roots)
    for label in reversed(graph.tasks):
        if label in needed and label not in there and not is_external(graph.tasks[label]):
            needed.update(graph.requires[label])
    return [label for label in graph.tasks if label in needed and label not in there]


def complete_tasks(tasks: Collection[luigi.Task]) -> set[str]:
    """The labels of those of the tasks that are complete; of wrappers, with all that they require."""
    bundles = any(getattr(task, "only_bundles", False) for task in tasks)
    graph = walk(tasks) if bundles else Graph({task_label(task): task for task in tasks})
    labels = {task_label(task) for task in tasks}
    done = complete(graph)
    return labels.difference(to_run(graph, labels, done)) if bundles else done


def all_complete(wrapper: luigi.Task) -> bool:
    """Whether all that a wrapper requires is complete, looking through wrappers that it requires, each once."""
    seen: dict[str, luigi.Task] = {}
    inner = [wrapper]
    while inner:
        for requirement in user_code.get_requirements(inner.pop()):
            label = task_label(requirement)
            if label not in seen:
                seen[label] = requirement
                if type(requirement).complete is type(wrapper).complete:
                    inner.append(requirement)
    return len(complete(Graph(seen))) == len(seen)


def pending(graph: Graph, done: set[str], gone: Collection[str] | None = None) -> dict[str, str]:
    """What is incomplete itself, or has something incomplete upstream; requirements come first.

    Upstream is what ``requires()`` says, and what the last run of a task was built on, such as a requirement that
    turned up while it ran.

    Args:
        graph: the graph.
        done: the labels of tasks that are complete themselves.
        gone: the keys of all tasks of the database whose rows are missing, where that is known already.

    Returns:
        By label why a task that is complete itself is pending all the same; of others the empty text.
    """
    keys = {keys_of(task)[0]: label for label, task in graph.tasks.items() if is_orm_task(task)}
    with client.get_client().engine.connect() as connection:
        gone = find_missing_rows(connection) if gone is None else gone
        built_on = lineage.on_incomplete(connection, gone) if keys else {}
    recorded = {keys[key]: reason for key, reason in built_on.items() if key in keys}
    found: dict[str, str] = {}
    for label in graph.tasks:
        if label not in done:
            found[label] = ""
        elif (first := next((other for other in graph.requires[label] if other in found), None)) is not None:
            found[label] = f"requires {first}, which is not complete"
        elif label in recorded:
            found[label] = recorded[label]
    return found


def clear_plan(
    root: luigi.Task | Iterable[luigi.Task],
    tasks: Iterable[luigi.Task] | None = None,
    *,
    downstream: bool = True,
    gone: Collection[tuple[str, str]] = (),
    include_unrecorded: bool = False,
) -> ClearPlan:
    """What clearing would do, in order: data to look at; only its ``apply()`` acts.

    Args:
        root: the task (or tasks) whose graph is looked at.
        tasks: tasks in that graph, to be cleared with everything downstream of them; by default all that is pending.
        downstream: False: the tasks only, not what is downstream of them.
        gone: names and parameter strings of tasks to be cleared with them that only the database knows, as their
            class is no more.
        include_unrecorded: also delete rows that no run wrote, where they cannot be told from those of the tasks;
            otherwise the plan lists them, and its ``apply()`` refuses.

    Raises:
        GraphError: a task is not in the graph.
        NotClearable: a task does not say how to clear it.
        ClearRefused: a task outside the graph was built on these, but it is not known any more what its rows are.
    """
    graph = walk(root)
    how: dict[str, Any] = {"downstream": downstream, "gone": gone, "include_unrecorded": include_unrecorded}
    if tasks is None:
        return make_plan(graph, pending(graph, complete(graph)), **how)
    labels = [task_label(task) for task in tasks]
    for label in labels:
        if label not in graph.tasks:
            raise GraphError(f"{label} is not in the graph of {', '.join(graph.roots)}")
    return make_plan(graph, graph.downstream(labels) if downstream else labels, **how)


@overload
def check_completion(
    task: luigi.Task,
    mark_incomplete: bool = ...,
    clear: bool = ...,
    return_stats: Literal[False] = ...,
    *,
    include_unrecorded: bool = ...,
) -> bool: ...
@overload
def check_completion(
    task: luigi.Task,
    mark_incomplete: bool = ...,
    clear: bool = ...,
    *,
    return_stats: Literal[True],
    include_unrecorded: bool = ...,
) -> tuple[bool, dict[str, int]]: ...
def check_completion(
    task: luigi.Task,
    mark_incomplete: bool = False,
    clear: bool = False,
    return_stats: bool = False,
    *,
    include_unrecorded: bool = False,
) -> bool | tuple[bool, dict[str, int]]:
    """Whether a task and everything upstream is complete; logs what is not, and can mark or clear it.

    Args:
        task: the root.
        mark_incomplete: remove the marker of every pending ORM task; what it loaded stays.
        clear: clear every pending ORM task, downstream first: markers and data, in one transaction.
        return_stats: also return how many tasks were found in which state.
        include_unrecorded: with ``clear``, also delete rows that no run wrote, in tables of these tasks.

    Returns:
        Whether nothing is pending; with ``return_stats`` a pair of that and the counts.

    Raises:
        ClearRefused: rows that are not to be cleared refer to rows that are; nothing was changed.
        NotClearable: a task does not say how to clear it; nothing was changed.
    """
    config.show_logs()
    graph = walk(task)
    done = complete(graph)
    open_tasks = pending(graph, done)
    for label in graph.tasks:
        if label not in open_tasks:
            log.debug("Task complete: %s", label)
        elif label in done:
            log.info("Task complete but requirements incomplete: %s", label)
        else:
            log.info("Task incomplete: %s", label)
    counts = {"Complete tasks": len(graph.tasks) - len(open_tasks), "Incomplete tasks": len(open_tasks)}
    if mark_incomplete:
        marked = [label for label in graph.tasks if label in open_tasks]
        counts["Marked incomplete"] = _mark_incomplete(graph, marked)
    if clear:
        counts["Cleared"] = _clear(graph, open_tasks, include_unrecorded=include_unrecorded)
    stats = {name: count for name, count in counts.items() if count}
    log.info("Task completion checking, summary:\n%s", stats)
    return (not open_tasks, stats) if return_stats else not open_tasks


def _mark_incomplete(graph: Graph, labels: Iterable[str]) -> int:
    tasks = {label: graph.tasks[label] for label in labels}
    marked = [label for label, task in tasks.items() if is_orm_task(task)]
    if marked:
        database = client.get_client()
        marker.prepare(database.engine)
        with database.transaction():
            remove_markers([tasks[label] for label in marked])
    for label in tasks:
        if label in marked:
            log.info("Marked task incomplete: %s", label)
        else:
            log.info("Cannot mark task incomplete, not an ORMTask: %s", label)
    return len(marked)


def _clear(graph: Graph, labels: Collection[str], *, include_unrecorded: bool) -> int:
    plan = make_plan(graph, labels, include_unrecorded=include_unrecorded)
    try:
        plan.apply()
    except ClearRefused as exc:
        raise ClearRefused(f"Nothing was cleared: {exc}. Clear from a task that requires those, too") from exc
    for step in plan.steps:
        log.info("Cleared task: %s", step.label)
    for label in plan.left_out:
        log.info("Cannot clear task, not an ORMTask: %s", label)
    return len(plan.steps)


def rebuild(root: luigi.Task, model: type[Base]) -> list[str]:
    """Drop the table of a model and all tables that refer to it, create them anew, and mark incomplete who fills them.

    For a model that was changed; ``ozelot db upgrade --rebuild`` finds out which. All rows of these tables are lost,
    and those of other tables that the same tasks fill; a run of the root loads them again.

    Args:
        root: the task whose graph is looked through for tasks that create or update rows of these tables.
        model: the model.

    Returns:
        The labels of the tasks that were marked incomplete.
    """
    rebuilt = rebuilt_with([table_of(model)])
    graph = walk(root)
    touched = []
    for label, task in graph.tasks.items():
        if is_orm_task(task):
            rows = rows_of([task])
            if not rebuilt.isdisjoint([*rows.tables, *(column.table for column in rows.columns)]):
                touched.append(label)
    database = client.get_client()
    # MariaDB commits with every CREATE and DROP: there the markers go first, so that at no time do they claim too much.
    atomic = database.engine.dialect.name not in ("mysql", "mariadb")
    with database.transaction() if atomic else nullcontext():
        _mark_incomplete(graph, touched)
        with database.engine.begin() as connection:
            mark_cleared(connection, {keys_of(graph.tasks[label])[0] for label in touched}, rebuilt)
            drop_tables(connection, rebuilt)
            model.metadata.create_all(connection, tables=list(rebuilt))
    return touched
