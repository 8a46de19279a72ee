"""Walking requirements: iterative, for any depth, each task once."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import luigi

from ozelot.errors import GraphError
from ozelot.pipeline import user_code
from ozelot.pipeline.definition import check_definition, is_external
from ozelot.pipeline.marker_target import look_again, task_label


@dataclass(frozen=True)
class Graph:
    """A root (or several) and everything upstream.

    Attributes:
        tasks: every task by its label, requirements before those who require them, in the order in which a walk
            from the root leaves them.
        requires: the labels that each label requires, each once, in the order of ``requires()``.
    """

    tasks: dict[str, luigi.Task] = field(default_factory=dict)
    requires: dict[str, list[str]] = field(default_factory=dict)

    @property
    def roots(self) -> list[str]:
        """The labels that no other one requires."""
        required = self.required_by()
        return [label for label in self.tasks if label not in required]

    def downstream(self, labels: Iterable[str]) -> set[str]:
        """Those labels, and all that require one of them, directly or through others."""
        required_by = self.required_by()
        found = set(labels)
        new = list(found)
        while new:
            for label in required_by.get(new.pop(), ()):
                if label not in found:
                    found.add(label)
                    new.append(label)
        return found

    def required_by(self) -> dict[str, list[str]]:
        """The labels that directly require each label; those that none requires are left out."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for label, requirements in self.requires.items():
            for requirement in requirements:
                found[requirement].append(label)
        return found


def walk(
    roots: luigi.Task | Iterable[luigi.Task], broken: dict[str, Exception] | None = None, *, to_run: bool = True
) -> Graph:
    """The graph of a task, or of several; calls each task's ``requires()`` once.

    Args:
        roots: the tasks.
        broken: where it is given, an error of ``requires()`` is put there by label, and the walk goes on.
        to_run: whether the classes of the tasks must be such that they can run.

    Raises:
        TaskInvalid: a class has no usable ``run()``, or does not declare what it writes.
        GraphError: requirements run in a circle, or two classes share a name.
        TaskBroken: a ``requires()`` failed, or gives what is no task.
    """
    look_again()
    graph = Graph()
    labels: dict[int, str] = {}
    classes: dict[str, type[luigi.Task]] = {}
    kept: list[luigi.Task] = []  # what labels are looked up by the identity of must stay alive

    def label_of(task: luigi.Task) -> str:
        label = labels.get(id(task))
        if label is None:
            label = labels[id(task)] = task_label(task)
            kept.append(task)
            if (cls := classes.setdefault(label, type(task))) is not type(task):
                _refuse_namesakes(label, cls, type(task))
        return label

    path: dict[str, Iterator[luigi.Task]] = {}  # the tasks under way, and which requirements are still to visit

    def enter(task: luigi.Task, label: str) -> None:
        if to_run:
            check_definition(task)
        try:
            requirements = {label_of(requirement): requirement for requirement in user_code.get_requirements(task)}
        except Exception as exc:
            if broken is None or isinstance(exc, GraphError):
                raise
            broken[label], requirements = user_code.cause(exc), {}
        entered[label] = task
        graph.requires[label] = list(requirements)
        path[label] = iter(requirements.values())

    entered: dict[str, luigi.Task] = {}
    for root in [roots] if isinstance(roots, luigi.Task) else roots:
        if label_of(root) in entered:
            continue
        enter(root, label_of(root))
        while path:
            label, requirements = next(reversed(path.items()))
            requirement = next(requirements, None)
            if requirement is None:
                graph.tasks[label] = entered[label]
                del path[label]
            elif (found := label_of(requirement)) in path:
                raise GraphError(f"Requirements run in a circle: {_drawn(list(path), found)}")
            elif found not in entered:
                enter(requirement, found)
            elif is_external(entered[found]) and not is_external(requirement):
                entered[found] = requirement  # an externalized task runs where another task requires it as it is
                if found in graph.tasks:
                    graph.tasks[found] = requirement
    return graph


def _refuse_namesakes(label: str, one: type[luigi.Task], other: type[luigi.Task]) -> None:
    """Two classes of one name have one marker: the second one would be taken for complete, and never run."""
    if _place(one) != _place(other):  # the same place: a module that was imported again, or under two names
        raise GraphError(
            f"{label} is two tasks, of {one.__module__}.{one.__qualname__} and of {other.__module__}."
            f"{other.__qualname__}: they would share a marker. Call one otherwise, or give it a task_namespace"
        )


def _place(cls: type[luigi.Task]) -> tuple[str, str]:
    module = sys.modules.get(cls.__module__)
    return getattr(module, "__file__", None) or cls.__module__, cls.__qualname__


def _drawn(path: list[str], again: str) -> str:
    return " -> ".join([*path[path.index(again) :], again])
