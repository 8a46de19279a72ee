"""Whose turn it is to ask a server: its limits hold for all threads and processes of one user on one machine.

When a request reaches the server lies somewhere between its start and its end here. So that the server never sees more
requests in a second than it should, a request that is one too many starts a full second after the *end* of that which
makes room for it; of slow answers only :data:`_SLACK` seconds count, or they would slow down all.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ozelot.db import locks, sqlite_file
from ozelot.errors import ConfigError

SLICE = 0.25  # seconds after which a thread that waits looks whether it is to stop


class Stopped(Exception):
    """Nobody wants any more what this thread waits for."""


class _Stop(threading.local):
    wanted: Callable[[], bool] | None = None


_stop = _Stop()


@contextmanager
def stopping(wanted: Callable[[], bool]) -> Iterator[None]:
    """Let whatever this thread waits for within the block end with :class:`Stopped` once ``wanted`` says so."""
    _stop.wanted = wanted
    try:
        yield
    finally:
        _stop.wanted = None


def check_stopped() -> None:
    """Raise :class:`Stopped` where this thread is to stop."""
    if _stop.wanted is not None and _stop.wanted():
        raise Stopped


class Timer:
    """The time for waits and limits; :class:`ozelot.testing.FakeWeb` has one that only pretends."""

    def now(self) -> float:
        """Seconds, on a clock that all processes of the machine share and nobody sets."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait.

        Raises:
            Stopped: as :func:`stopping` says.
        """
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            check_stopped()
            time.sleep(min(left, SLICE))
        check_stopped()


_SCHEMA = """
CREATE TABLE IF NOT EXISTS pause (host TEXT PRIMARY KEY, until REAL);
CREATE TABLE IF NOT EXISTS turn (id INTEGER PRIMARY KEY, host TEXT, started REAL, ended REAL);
CREATE INDEX IF NOT EXISTS ix_turn_host ON turn (host, started);
"""
_SLACK = 0.25  # seconds
_POLL = 0.02  # seconds between two looks at what another process holds
_LONGEST_PAUSE = 7 * 24 * 3600.0  # seconds; what is further ahead was written before the machine started anew


class Paused(Exception):
    """A server asked to be left alone for longer than anybody should wait.

    Attributes:
        seconds: for how long from now.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Hosts:
    """The turns at asking servers.

    Args:
        folder: of the file in which turns are noted; None: they are this object's own.
        timer: the time.
    """

    def __init__(self, folder: Path | None, timer: Timer) -> None:
        self._folder = folder
        self._timer = timer
        self.renew()

    def renew(self) -> None:
        """Forget the connection, as a forked child must."""
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()
        self._queues: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._held: set[str] = set()  # slots, where they are this object's own

    def close(self) -> None:
        """Close the file; it is opened again when needed."""
        with self._lock:
            if self._folder is not None and self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def turn(self, host: str, *, every: float | None, at_once: int | None, patience: float) -> Iterator[None]:
        """Wait for a turn to ask a server; the block is the request.

        Args:
            host: the server.
            every: seconds from one request to the next, at least.
            at_once: requests under way, at most.
            patience: seconds to wait where the server asked to be left alone.

        Raises:
            Paused: the server asked for more than that.
            Stopped: nobody wants it any more.
        """
        slot, turn = None, None
        queue = self._queues[host]
        while not queue.acquire(timeout=SLICE):  # so that one thread a process looks, not all that wait
            check_stopped()
        try:
            if at_once is not None:
                slot = self._slot(host, at_once)
            turn = self._turn(host, every, patience)
        except BaseException:
            self._give_back(slot)
            raise
        finally:
            queue.release()
        try:
            yield
        finally:
            self._give_back(slot)
            if turn is not None:
                with self._file() as connection:
                    connection.execute("UPDATE turn SET ended = ? WHERE id = ?", (self._timer.now(), turn))

    def pause(self, host: str, seconds: float) -> None:
        """Leave a server alone for so long."""
        until = self._timer.now() + min(seconds, _LONGEST_PAUSE)
        with self._file() as connection:
            connection.execute(
                "INSERT INTO pause VALUES (?, ?) ON CONFLICT (host) DO UPDATE SET until = max(until, excluded.until)",
                (host, until),
            )

    @contextmanager
    def alone(self, name: str) -> Iterator[bool]:
        """Hold a name for the block, which one process of the machine does at a time; gives whether it had to wait."""
        if self._folder is None:
            yield False
            return
        waited = False
        while not locks.take_in_file(self._claims, name):
            waited = True
            self._timer.sleep(_POLL)
        try:
            yield waited
        finally:
            locks.give_back_in_file(self._claims, name)

    @property
    def _claims(self) -> str:
        folder = self._folder
        assert folder is not None
        return str(_private(folder) / "claims")

    def _slot(self, host: str, at_once: int) -> str:
        while True:
            for number in range(at_once):
                name = f"slot {number} of {host}"
                if self._take(name):
                    return name
            self._timer.sleep(_POLL)

    def _take(self, slot: str) -> bool:
        if self._folder is not None:
            return locks.take_in_file(self._claims, slot)
        if slot in self._held:
            return False
        self._held.add(slot)  # by the one thread that looks
        return True

    def _give_back(self, slot: str | None) -> None:
        if slot is not None and self._folder is not None:
            locks.give_back_in_file(self._claims, slot)
        elif slot is not None:
            self._held.discard(slot)

    def _turn(self, host: str, every: float | None, patience: float) -> int | None:
        while True:
            with self._file() as connection:
                now = self._timer.now()
                ready = paused = self._paused(connection, host, now)
                if every:
                    ready = max(ready, _ready(connection, host, every, now))
                if ready <= now:
                    if not every:
                        return None
                    added = connection.execute("INSERT INTO turn (host, started) VALUES (?, ?)", (host, now))
                    return added.lastrowid
            if paused - now > patience:
                raise Paused(paused - now)
            self._timer.sleep(ready - now)

    def _paused(self, connection: sqlite3.Connection, host: str, now: float) -> float:
        row = connection.execute("SELECT until FROM pause WHERE host = ?", (host,)).fetchone()
        return row[0] if row is not None and row[0] <= now + _LONGEST_PAUSE else now

    @contextmanager
    def _file(self) -> Iterator[sqlite3.Connection]:
        """The connection, in a transaction of its own."""
        with self._lock:
            if self._connection is None:
                self._connection = self._open()
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            finally:
                self._connection.execute("COMMIT")

    def _open(self) -> sqlite3.Connection:
        path = ":memory:" if self._folder is None else _private(self._folder) / "hosts.db"
        for attempt in (1, 2):
            connection = sqlite3.connect(
                path, timeout=60, check_same_thread=False, isolation_level=None, factory=sqlite_file.Connection
            )
            try:
                connection.execute("PRAGMA synchronous = OFF")  # nothing in it outlives the machine
                connection.executescript(_SCHEMA)
            except sqlite3.DatabaseError as exc:
                connection.close()
                if attempt == 2 or isinstance(exc, sqlite3.OperationalError) or not isinstance(path, Path):
                    raise ConfigError(f"Cannot write to {path} ({exc}): set TMPDIR to a folder of your own") from exc
                path.unlink()  # the machine stopped while it was written
            else:
                break
        return connection


def _ready(connection: sqlite3.Connection, host: str, every: float, now: float) -> float:
    """When the next request may start; where that is not known yet, when to look again."""
    span = max(1.0, every)
    number = max(1, int(1.0 / every + 1e-9))  # requests in that span
    earliest = now - span - _SLACK - 1
    past = now - max(3600.0, 2 * span)
    connection.execute("DELETE FROM turn WHERE host = ? AND (started < ? OR started > ?)", (host, past, now))
    rows = connection.execute(
        "SELECT started, ended FROM turn WHERE host = ? AND started >= ? ORDER BY started DESC", (host, earliest)
    ).fetchall()
    ready = rows[0][0] + every if rows else now
    for started, ended in rows[number - 1 :]:
        over = started + _SLACK if ended is None else min(ended, started + _SLACK)
        ready = max(ready, min(over, now) + span)
    return ready


def shared_folder() -> Path:
    """The folder of this user for what concerns the whole machine, and ends with it."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"ozelot-{user}"


def _private(folder: Path) -> Path:
    """The folder, made where it is not there; somebody else's is not used."""
    try:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
    except OSError as exc:
        raise ConfigError(f"Cannot use the folder {folder} ({exc.strerror}): set TMPDIR to another one") from exc
    if not stat.S_ISDIR(found.st_mode) or (hasattr(os, "getuid") and found.st_uid != os.getuid()):
        raise ConfigError(f"{folder} belongs to another user: set TMPDIR to a folder of your own")
    return folder
