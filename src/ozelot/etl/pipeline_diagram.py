"""The pipeline as a picture: by task or by class, by state, by depth, and around one task."""

from __future__ import annotations

from collections import Counter

import luigi

from ozelot.diagram import Box, Picture
from ozelot.errors import TaskNotFound
from ozelot.etl.status import State, status
from ozelot.pipeline.graph import Graph, walk
from ozelot.pipeline.marker_target import task_label, task_name

#: The better of two states stands before the other.
_COLORS = {
    State.COMPLETE: "#2e7d32",
    State.ON_STALE: "#f9a825",
    State.STALE: "#ef6c00",
    State.ON_INCOMPLETE: "#ad1457",
    State.ROWS_MISSING: "#c62828",
    State.INCOMPLETE: "#c62828",
}


def pipeline_picture(
    root: luigi.Task,
    *,
    max_param_len: int = 20,
    horizontal: bool = False,
    colored: bool = False,
    by_class: bool = False,
    by_depth: bool = False,
    around: luigi.Task | None = None,
) -> Picture:
    """A task and everything upstream; arrows go from a requirement to the task that requires it.

    Args:
        root: the task.
        max_param_len: cut parameter values to so many characters.
        horizontal: from left to right instead of from top to bottom.
        colored: the state of each task as a word and a color, which asks the database.
        by_class: a box for all tasks of a class, with their number.
        by_depth: tasks that are as far from the sources in one row.
        around: only this task, what it requires, and what requires it, directly.

    Raises:
        TaskNotFound: ``around`` is not among what the root requires before anything runs.
    """
    graph = walk(root)
    if around is not None and task_label(around) not in graph.tasks:
        raise TaskNotFound(
            f"{task_label(around)} is not in the graph of {task_label(root)}, and so not to be drawn in it"
        )
    states = {entry.label: entry.state for entry in status(root)} if colored else {}
    kept = set(graph.tasks) if around is None else _around(graph, task_label(around))
    levels = _levels(graph)
    names = {label: task_name(graph.tasks[label]) if by_class else label for label in graph.tasks if label in kept}
    groups: dict[str, list[str]] = {}
    for label, name in names.items():
        groups.setdefault(name, []).append(label)
    boxes: dict[str, Box] = {}
    for name, labels in groups.items():
        task, many = graph.tasks[labels[0]], len(labels) > 1
        found = Counter(states[label] for label in labels if label in states)
        rows: list[tuple[str, ...]] = [(f"{len(labels):,} tasks",)] if many else _params(task, max_param_len)
        rows += [(f"{found[state]:,} {state}" if many else str(state),) for state in _COLORS if found[state]]
        color = next((_COLORS[state] for state in reversed(_COLORS) if found[state]), None)
        style = tuple(getattr(task, "diagram_style", ()))
        boxes[name] = Box(task_name(task), tuple(rows), style, color, max(levels[label] for label in labels))
    arrows = {
        (names[requirement], names[label], ""): None
        for label, requirements in graph.requires.items()
        for requirement in requirements
        if label in kept and requirement in kept
    }
    if around is not None:
        center = names[task_label(around)]
        arrows = {arrow: None for arrow in arrows if center in arrow}
    return Picture("pipeline", boxes, list(arrows), horizontal=horizontal, keeps_levels=by_depth)


def _params(task: luigi.Task, length: int) -> list[tuple[str, ...]]:
    params = task.to_str_params(only_significant=True, only_public=True)
    return [(name, _cut(value, length)) for name, value in sorted(params.items())]


def _cut(value: str, length: int) -> str:
    return value if len(value) <= length else f"{value[:length]}..."


def _around(graph: Graph, label: str) -> set[str]:
    return {label, *graph.requires[label], *graph.required_by().get(label, ())}


def _levels(graph: Graph) -> dict[str, int]:
    """How many steps each task is from its farthest source."""
    found: dict[str, int] = {}
    for label in graph.tasks:  # requirements come first
        found[label] = max((found[other] + 1 for other in graph.requires[label]), default=0)
    return found
