"""The pipeline as it was last read: every task with its state, and what it requires."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

import luigi
import sqlalchemy as sa

from ozelot.client import Client
from ozelot.etl.identity import task_name, task_params
from ozelot.etl.status import State, TaskStatus, of_graph, recorded, with_late
from ozelot.orm import run
from ozelot.orm.run import run_edge, runs
from ozelot.orm.target import marker_key
from ozelot.orm.version import has_runs
from ozelot.ui.shown import discreet
from ozelot.words import task_text


class Look(StrEnum):
    """The state of a task as the page tells it, the worst first."""

    FAILED = "failed"
    RUNNING = "running"
    INCOMPLETE = "incomplete"
    ROWS_MISSING = "rows missing"
    ON_INCOMPLETE = "complete on incomplete"
    STALE = "stale"
    ON_STALE = "complete on stale"
    COMPLETE = "complete"

    @property
    def css(self) -> str:
        """Its name in the style sheet."""
        return self.replace(" ", "-")


@dataclass(frozen=True)
class Node:
    """A task.

    Attributes:
        key: what it is called in addresses.
        name: of the task.
        params: its parameter string.
        look: its state.
        why: the reason in words, where it is not simply complete.
        rows: how many rows of each table it made.
        notes: what its loads left out, in words, and how often.
        ended: when its last run ended, in UTC.
        seconds: how long that took.
        requires: the keys of what it requires.
        status: all that is known of its state.
    """

    key: str
    name: str
    params: str
    look: Look
    why: str
    rows: Mapping[str, int | None]
    ended: datetime.datetime | None
    seconds: float | None
    requires: tuple[str, ...]
    status: TaskStatus | None = None
    notes: Mapping[str, int] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The task as one would type it."""
        return task_text(f"{self.name} {self.params}")


@dataclass(frozen=True)
class Pipeline:
    """Tasks, requirements before those who require them.

    Attributes:
        nodes: by key.
        root: the label of the root; empty where only the database was asked.
        read: when it was read, in UTC.
    """

    nodes: dict[str, Node] = field(default_factory=dict)
    root: str = ""
    read: datetime.datetime = field(default_factory=run.utc_now)

    def counts(self, keys: Iterable[str] | None = None) -> dict[Look, int]:
        """How many tasks are in which state, the worst first."""
        found = Counter(self.nodes[key].look for key in (self.nodes if keys is None else keys))
        return {look: found[look] for look in Look if found[look]}

    def classes(self) -> dict[str, list[str]]:
        """The keys of the tasks of each class, classes in the order of their first task."""
        found: dict[str, list[str]] = {}
        for key, node in self.nodes.items():
            found.setdefault(node.name, []).append(key)
        return found

    def required_by(self, key: str) -> list[str]:
        """The keys of the tasks that directly require one."""
        return [other for other, node in self.nodes.items() if key in node.requires]

    def with_looks(self, looks: Mapping[str, tuple[Look, str]]) -> Pipeline:
        """The same, with other states and reasons for some tasks."""
        nodes = {
            key: replace(node, look=looks[key][0], why=looks[key][1]) if key in looks else node
            for key, node in self.nodes.items()
        }
        return replace(self, nodes=nodes)


def key_of(task: luigi.Task) -> str:
    """What a task is called in addresses."""
    return marker_key(task_name(task), task_params(task))


def read(root: luigi.Task | None, database: Client) -> Pipeline:
    """Read all of it.

    Args:
        root: the root of the pipeline; None: what the database alone tells.
        database: where its state is.
    """
    if root is None:
        return _from_database(database)
    graph = with_late(root)
    keys = {label: key_of(task) for label, task in graph.tasks.items()}
    found = of_graph(graph)
    return Pipeline(
        {
            keys[entry.label]: _node(keys[entry.label], entry, [keys[one] for one in graph.requires[entry.label]])
            for entry in found
        },
        root=task_text(found[-1].label),
    )


def _from_database(database: Client) -> Pipeline:
    found = recorded()
    keys = [marker_key(entry.name, entry.params) for entry in found]
    built_on = _built_on(database, set(keys))
    there = set(keys)
    nodes = {
        key: _node(key, entry, [one for one in built_on.get(key, ()) if one in there])
        for key, entry in zip(keys, found, strict=True)
    }
    return Pipeline(nodes)


def _built_on(database: Client, keys: Collection[str]) -> dict[str, list[str]]:
    """What the last run of each task was built on, by key."""
    base = runs.alias("base")
    with database.engine.connect() as connection:
        if not has_runs(connection):
            return {}
        last = sa.select(sa.func.max(runs.c.id)).where(runs.c.state == run.DONE).group_by(runs.c.key)
        query = (
            sa.select(runs.c.key, base.c.key)
            .select_from(run_edge.join(runs, run_edge.c.run_id == runs.c.id))
            .join(base, run_edge.c.built_on_id == base.c.id)
            .where(runs.c.id.in_(last))
        )
        found: dict[str, list[str]] = {}
        for key, other in connection.execute(query):
            if key in keys:
                found.setdefault(key, []).append(other)
    return found


def _node(key: str, entry: TaskStatus, requires: list[str]) -> Node:
    return Node(
        key=key,
        name=entry.name,
        params=entry.params,
        look=_look(entry),
        why=discreet(entry.why),
        rows=entry.rows,
        ended=entry.when,
        seconds=entry.seconds,
        requires=tuple(requires),
        status=entry,
        notes=entry.notes,
    )


def _look(entry: TaskStatus) -> Look:
    if entry.state is State.INCOMPLETE and entry.last in (run.FAILED, run.RUNNING):
        return Look(entry.last)
    return Look(entry.state)
