"""What the page shows of the pipeline: read once, and kept up to date at a small price.

While a run goes on, the page must not cost it anything to speak of. So once a second, and only while somebody looks,
one query asks for the runs that began or ended since; all else (what is stale, who stands on what) is read anew when
that has been quiet, or takes a small part of the time.
"""

from __future__ import annotations

import datetime
import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

import luigi
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ozelot.client import Client
from ozelot.db.url import without_password
from ozelot.errors import OzelotError
from ozelot.etl.status import State, TaskStatus, of_graph, recorded, with_late
from ozelot.formatting import task_text
from ozelot.pipeline.marker_target import task_name, task_params
from ozelot.state import lineage
from ozelot.state import runs as run
from ozelot.state.markers import marker_key, markers
from ozelot.state.runs import Run, run_edge, runs
from ozelot.state.version import has_runs
from ozelot.ui.cells import discreet
from ozelot.ui.read_only_client import within_the_limit


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


log = logging.getLogger(__name__)

_SECOND = 0.95  # between two looks
_SHARE, _SHARE_IN_PEACE = 50, 5  # a whole reading takes at most one part in so many of the time, while a run goes on
_AGAIN = 10  # seconds after a reading that failed
_MOST = 2_000  # runs that are looked at one by one
_CHANGES = 100  # that are remembered


@dataclass(frozen=True)
class Change:
    """What is new since another one.

    Attributes:
        version: of what is known.
        looks: the state, and the reason, of each task whose state is another one, by key.
        all_new: there are other tasks, too.
    """

    version: int
    looks: dict[str, tuple[Look, str]] = field(default_factory=dict)
    all_new: bool = False


class Keeper:
    """The pipeline as it is known now.

    Args:
        database: a client that only reads.
        root: the root of the pipeline, where its code is at hand.
        clock: seconds that only grow.
    """

    def __init__(self, database: Client, root: luigi.Task | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.database = database
        self.root = root
        self._clock = clock
        self._lock = threading.Lock()  # of what is known; held for an instant
        self._looking = threading.Lock()  # of the one who asks the database
        self._changes: list[Change] = []
        self._running: dict[int, str] = {}
        self._looked = self._next_reading = -math.inf
        self._reader: threading.Thread | None = None
        self._wanted = False
        self._trouble: Exception | None = None  # of the last look
        self._seen, self._markers = self._newest()
        self._pipeline = read(root, database)

    @property
    def pipeline(self) -> Pipeline:
        """All tasks, with what was new at the last look."""
        self._look()
        return self._pipeline

    @property
    def known(self) -> Pipeline:
        """All tasks, as they were at the last look."""
        return self._pipeline

    @property
    def version(self) -> int:
        """Counts up with every change."""
        return self._changes[-1].version if self._changes else 0

    def since(self, version: int) -> Change:
        """All that is new since a version, after a look."""
        self._look()
        with self._lock:
            new = [change for change in self._changes if change.version > version]
            is_forgotten = bool(new) and new[0].version > version + 1
            if is_forgotten or version > self.version:  # the latter is of a server that is gone
                return Change(self.version, all_new=True)
            looks: dict[str, tuple[Look, str]] = {}
            for change in new:
                looks |= change.looks
            return Change(self.version, looks, any(change.all_new for change in new))

    def _look(self) -> None:
        """Look what is new, unless somebody else does: a database that is slow keeps one waiting, not all."""
        if self._clock() - self._looked < _SECOND or not self._looking.acquire(blocking=False):
            if self._trouble is not None:
                raise self._trouble.with_traceback(None)
            return
        try:
            with within_the_limit():
                self._look_at_runs()
            self._trouble = None
            due = self._wanted and self._clock() >= self._next_reading
            if due and (self._reader is None or not self._reader.is_alive()):
                self._wanted = False
                self._reader = threading.Thread(target=self._read, daemon=True)
                self._reader.start()
        except (OzelotError, DBAPIError) as exc:
            self._trouble = exc
            raise
        finally:
            self._looked = self._clock()
            self._looking.release()

    def _newest(self) -> tuple[int, int]:
        """The id of the newest run, and how many markers there are."""
        with self.database.engine.connect() as connection:
            number = 0
            if sa.inspect(connection).has_table(markers.name):
                number = connection.scalar(sa.select(sa.func.count()).select_from(markers)) or 0
            newest = connection.scalar(sa.select(sa.func.max(runs.c.id))) if has_runs(connection) else 0
            return newest or 0, number

    def _look_at_runs(self) -> None:
        newest, number = self._newest()
        with self._lock:
            # Runs that are gone: they were forgotten, or this is another database.
            self._wanted |= number != self._markers or newest < self._seen
            self._markers, self._seen = number, min(newest, self._seen)
            seen = self._seen
        if not newest:
            return
        new = (runs.c.id > seen) | (runs.c.state == run.RUNNING)
        if self._running:
            new |= runs.c.id.in_(list(self._running)[:_MOST])
        looks, running = {}, {}
        with self.database.create_session() as session:
            query = sa.select(Run).where(new).order_by(runs.c.id.desc()).limit(_MOST)
            for one in reversed(lineage.told(session, session.scalars(query).all())):
                looks[marker_key(one.name, one.params)] = _told(one)
                if one.state == run.RUNNING:
                    running[one.id] = one.key
        with self._lock:
            self._running = running
            self._seen = max(newest, self._seen)
            self._wanted |= self._tell(self._pipeline.with_looks(looks))

    def _read(self) -> None:
        """Read all of it; what was read last stays where that fails, as it does while tables are changed."""
        start = self._clock()
        try:
            seen, number = self._newest()
            found = read(self.root, self.database)
        except Exception as exc:  # noqa: BLE001 - the project's own requires() may raise anything
            log.warning("The pipeline could not be read: %s", discreet(without_password(self.database.url, str(exc))))
            with self._lock:
                self._next_reading, self._wanted = self._clock() + _AGAIN, True
            return
        took = self._clock() - start
        with self._lock:
            self._next_reading = self._clock() + max(1, took * (_SHARE if self._running else _SHARE_IN_PEACE))
            self._seen, self._markers = seen, number  # what began or ended meanwhile is looked at again
            self._tell(found)

    def _tell(self, found: Pipeline) -> bool:
        """Keep what was found, note in what it differs, and say whether it does."""
        before = self._pipeline.nodes
        changed = {
            key: (node.look, node.why)
            for key, node in found.nodes.items()
            if key in before and (before[key].look, before[key].why) != (node.look, node.why)
        }
        all_new = found.nodes.keys() != before.keys()
        self._pipeline = found
        if changed or all_new:
            self._changes = [*self._changes[1 - _CHANGES :], Change(self.version + 1, changed, all_new)]
        return bool(changed)


def _told(entry: Run) -> tuple[Look, str]:
    """The state of a task by that of its last run."""
    if entry.state == run.DONE:
        return Look.COMPLETE, ""
    if entry.state == run.FAILED:
        return Look.FAILED, f"failed: {discreet(entry.reason) or 'no reason is known'}"
    if entry.state == run.RUNNING:
        doubt = f", as recorded; whether it still is cannot be seen here: {entry.unseen}" if entry.unseen else " now"
        return Look.RUNNING, f"running{doubt}"
    is_cleared = entry.state in (run.CLEARED, run.CLEARING)
    return Look.INCOMPLETE, "it was cleared" if is_cleared else "it was interrupted, or its runner died"
