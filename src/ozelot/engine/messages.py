"""Tasks on their way to a worker, and what comes back.

A task travels as the names of its module and class and the values of its parameters, with the URL of the database:
never with sessions or other state.
"""

from __future__ import annotations

import functools
import importlib
import pickle
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

import luigi
import sqlalchemy as sa
from luigi.task import externalize

from ozelot.errors import WorkerError
from ozelot.pipeline.declarations import keys_of, task_classes
from ozelot.pipeline.definition import is_external
from ozelot.pipeline.graph import Graph
from ozelot.pipeline.marker_target import judged_by_marker, task_label
from ozelot.pipeline.user_code import LateRequirements
from ozelot.staleness.fingerprint import Needs, needs_of
from ozelot.state.runs import Counts


class Job:
    """A task that is to be run.

    Args:
        task: the task.
        requires: the labels of what it requires.
        required: the keys of those of them that are ORM tasks.
        needs: what else they give it.
        again: whether it is complete, but only bundles others that are not.
        lost_rows: whether it has a marker, but its rows were found missing.

    Attributes:
        late: what its earlier starts requested; None: nothing.
    """

    def __init__(
        self,
        task: luigi.Task,
        requires: list[str],
        required: list[str],
        needs: Needs,
        *,
        again: bool = False,
        lost_rows: bool = False,
    ) -> None:
        self.label = task_label(task)
        self.requires = requires
        self.required = required
        self.needs = needs
        self.again = again
        self.lost_rows = lost_rows
        self.late: LateRequirements | None = None
        self.task = task

    def __reduce__(self) -> tuple[Any, ...]:
        cls = type(self.task)
        values = pickle.dumps((self.task.param_kwargs, is_external(self.task)))
        arrived = cls.__module__, cls.__qualname__, values, self.label, self.requires, self.required, self.needs
        return _Arrived, (*arrived, self.again, self.lost_rows, self.late)


class _Arrived(Job):
    """A task in the process that is to run it; it is made at first use, where an error can be told."""

    def __init__(
        self,
        module: str,
        name: str,
        values: bytes,
        label: str,
        requires: list[str],
        required: list[str],
        needs: Needs,
        again: bool,
        lost_rows: bool,
        late: LateRequirements | None,
    ) -> None:
        self._class = module, name
        self._values = values
        self.label = label
        self.requires = requires
        self.required = required
        self.needs = needs
        self.again = again
        self.lost_rows = lost_rows
        self.late = late

    def __reduce__(self) -> tuple[Any, ...]:  # by Dask's scheduler, which has no pipeline to make the task of
        parts = self._values, self.label, self.requires, self.required, self.needs, self.again, self.lost_rows
        return _Arrived, (*self._class, *parts, self.late)

    @functools.cached_property
    def task(self) -> luigi.Task:  # type: ignore[override]
        """The task.

        Raises:
            WorkerError: its module is not to be found here.
        """
        module, name = self._class
        try:
            found: Any = importlib.import_module(module)
        except ImportError as exc:
            raise WorkerError(
                f"The worker cannot import {module} ({exc}): install the pipeline where the worker runs, or put its "
                "folder on the PYTHONPATH there"
            ) from exc
        for part in name.split("."):
            found = getattr(found, part)
        values, external = pickle.loads(self._values)  # noqa: S301 - from the process that handed it out
        made: luigi.Task = found(**values)
        return externalize(made) if external else made


def job_of(graph: Graph, label: str, done: Collection[str], missing: Collection[str] = ()) -> Job:
    """The job to run one task of a graph, of which some are complete by themselves, and some have lost their rows."""
    requires = graph.requires[label]
    needs = needs_of([graph.tasks[other] for other in requires])
    required = [keys_of(task)[0] for other in requires if type(task := graph.tasks[other]) in task_classes]
    return Job(graph.tasks[label], requires, required, needs, again=label in done, lost_rows=label in missing)


def is_plain(task: luigi.Task) -> bool:
    """Whether the marker alone says if a task is complete, so that many can be looked up, claimed and begun at once."""
    return type(task) in task_classes and judged_by_marker(task) and not is_external(task)


def announce(graph: Graph, roots: Iterable[str], labels: Iterable[str]) -> None:
    """Tell the handlers of Luigi's events what a graph was found to hold, as far as it is to be run.

    Args:
        graph: the graph.
        roots: the labels that were asked for.
        labels: the labels of tasks that are to be run.
    """
    new = set(labels)
    seen = dict.fromkeys(roots)
    for label in new:
        for other in graph.requires[label]:
            seen[other] = None
            graph.tasks[label].trigger_event(luigi.Event.DEPENDENCY_DISCOVERED, graph.tasks[label], graph.tasks[other])
    for label in seen:
        task = graph.tasks[label]
        if label not in new:
            task.trigger_event(luigi.Event.DEPENDENCY_PRESENT, task)
        elif is_external(task):
            task.trigger_event(luigi.Event.DEPENDENCY_MISSING, task)


@dataclass(frozen=True)
class Batch:
    """Jobs for one worker, in an order in which they can run one after another.

    Attributes:
        jobs: the jobs.
        url: the database; never shown, as it may hold a password.
        keep_going: whether those behind one that failed are still begun.
    """

    jobs: list[Job]
    url: sa.URL = field(repr=False)
    keep_going: bool = True


@dataclass(frozen=True)
class Note:
    """What a task says while it runs.

    Attributes:
        label: of the task.
        text: a message.
        gives_back: how much of each resource it needs no more.
    """

    label: str
    text: str = ""
    gives_back: dict[str, int] = field(default_factory=dict)


class Became(Enum):
    """What became of a job."""

    DONE = auto()
    COMPLETE = auto()  # another runner did it
    BUSY = auto()  # another runner is at it
    WAITS = auto()  # for requirements that turned up while it ran
    LEFT = auto()  # it was not begun
    LOST = auto()  # by no fault of its own: the connection broke, or there was a deadlock
    REFUSED = auto()  # no connection was to be had
    FAILED = auto()


@dataclass
class Outcome:
    """What became of a job, for whoever handed it out.

    Attributes:
        label: of the task.
        became: what.
        seconds: how long it took.
        rows: what it made.
        notes: what its loads left out, in words, and how often.
        reason: the error in one line; of a task that is done, that of its ``on_success()``.
        traceback: all of it.
        exception: the error itself; None where it cannot travel.
        wanted: the requirements that it waits for.
        late: where it waits, what it has requested so far.
    """

    label: str
    became: Became
    seconds: float = 0.0
    rows: Counts = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    reason: str = ""
    traceback: str = ""
    exception: BaseException | None = None
    wanted: list[Job] = field(default_factory=list)
    late: LateRequirements | None = None

    def __getstate__(self) -> dict[str, Any]:
        state = dict(vars(self))
        try:
            pickle.loads(pickle.dumps(self.exception))  # noqa: S301 - our own
        except Exception:  # noqa: BLE001 - whatever the class of an exception makes of it
            state["exception"] = None
        return state
