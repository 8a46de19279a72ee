"""Running a graph: what would run, and having it run. The one place of the commands that knows who runs tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import luigi

from ozelot.etl.graph import Graph


class Watcher(Protocol):
    """Hears of a run while it goes on, in the process and the thread that runs it."""

    def started(self, task: luigi.Task) -> None:
        """A task begins; one that asks for requirements while it runs begins several times."""

    def ended(self, task: luigi.Task, error: object = None) -> None:
        """A task ended well, or with an error."""


def to_run(graph: Graph, root: str, done: set[str]) -> list[str]:
    """The labels of tasks that a run would run, requirements first: what the root needs and is not there.

    A run does not look behind a task that is there, unless it only bundles others.

    Args:
        graph: the graph of the root.
        root: its label.
        done: the labels of tasks whose own marker (or target) is there.
    """
    there: set[str] = set()
    for label, task in graph.tasks.items():
        if label in done and (not getattr(task, "only_bundles", False) or there.issuperset(graph.requires[label])):
            there.add(label)
    needed = {root}
    for label in reversed(graph.tasks):
        if label in needed and label not in there:
            needed.update(graph.requires[label])
    return [label for label in graph.tasks if label in needed and label not in there]


def run(root: luigi.Task, watcher: Watcher, *, verbose: bool = False) -> None:
    """Run a task and what it needs, one task after another in this process.

    Args:
        root: the task.
        watcher: is told of each task.
        verbose: show the log of Luigi, on stderr.
    """
    handlers: dict[str, Callable[..., Any]] = {
        luigi.Event.START: watcher.started,
        luigi.Event.SUCCESS: watcher.ended,
        luigi.Event.FAILURE: watcher.ended,
        luigi.Event.BROKEN_TASK: watcher.ended,
        luigi.Event.PROCESS_FAILURE: watcher.ended,
    }
    for event, handler in handlers.items():
        luigi.Task.event_handler(event)(handler)
    try:
        luigi.build([root], local_scheduler=True, workers=1, log_level="INFO" if verbose else "CRITICAL")
    finally:
        for event, handler in handlers.items():
            luigi.Task.remove_event_handler(event, handler)
