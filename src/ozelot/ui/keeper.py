"""Keeps what was read of the pipeline, and looks what is new: often, at a small price; all of it, seldom.

While a run goes on, the page must not cost it anything to speak of. So once a second, and only while somebody looks,
one query asks for the runs that began or ended since; all else (what is stale, who stands on what) is read anew when
that has been quiet, or takes a small part of the time.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import luigi
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ozelot.client import Client
from ozelot.errors import OzelotError
from ozelot.orm import history, run
from ozelot.orm.run import Run, runs
from ozelot.orm.target import marker_key, markers
from ozelot.orm.version import has_runs
from ozelot.ui.pipeline import Look, Pipeline, read
from ozelot.ui.reading import within_the_limit
from ozelot.ui.shown import discreet
from ozelot.url import without_password

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
            for one in reversed(history.told(session, session.scalars(query).all())):
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
