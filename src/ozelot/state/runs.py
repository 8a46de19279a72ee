"""Runs: one row for each execution of a task, what it was built on, and rows that know the run that made them.

::

    class Flight(TaskOwned, Base):
        year: Mapped[int]

    select(Flight, Run.name, Run.params, Run.finished).join(Run, Flight.run_id == Run.id)

Tasks that create rows of one model (or one task with several parameter values) share its table so: each row carries
its ``run_id``, set by the package, and clearing a task deletes exactly its own rows.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import socket
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import Mapped, mapped_column

from ozelot.db import transaction
from ozelot.errors import NoRun
from ozelot.model.base import Base, table_of
from ozelot.state.compiled_statement import Prepared

_T = TypeVar("_T")

#: How many rows of each table a run made, and ``table.column``: how many values it set; None: unknown.
Counts = dict[str, int | None]

#: Text of any length, on every database.
LONG_TEXT = sa.String().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")

#: A time to the microsecond, on every database.
MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")

RUNNING, DONE, FAILED, ABORTED, CLEARING, CLEARED = "running", "done", "failed", "aborted", "clearing", "cleared"

_NOTES, _CHECKS = "", "?"  # no table is called so
_MANY = 500  # keys or ids in one statement
_LONGEST_ERROR = 10_000  # characters that are kept
_MARGIN = re.compile(r"^ +[|+] ")  # of an exception group
_MODULE = re.compile(r"^(?:\w+\.)+(?=\w+(?::|$))")  # where the class of an exception is


def utc_now() -> datetime.datetime:
    """The time in UTC, without a time zone, as all times that ozelot stores."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)


class Run(Base):
    """One execution of a task.

    Attributes:
        key: the key of the task's marker.
        state: ``running``, ``done``, ``failed``, ``aborted`` (its runner died) or ``cleared``.
        rows: JSON: the number of rows that it wrote by table, and of values that it set by ``table.column``; null:
            unknown. Also the notes of loads under the empty name, and the results of checks under ``?``. None: no
            numbers are known, as for tasks that ozelot 0.2 ran.
        host: where it ran, with the process number in ``process``.
        fingerprint: the digest of what the task was made of; see :mod:`ozelot.state.inputs`.
    """

    __tablename__ = "ozelot_run"

    key: Mapped[str] = mapped_column(sa.String(64))
    name: Mapped[str] = mapped_column(LONG_TEXT)
    params: Mapped[str] = mapped_column(LONG_TEXT)
    state: Mapped[str] = mapped_column(sa.String(16), index=True)
    started: Mapped[datetime.datetime] = mapped_column(MOMENT)
    finished: Mapped[datetime.datetime | None] = mapped_column(MOMENT)
    rows: Mapped[str | None] = mapped_column(LONG_TEXT)
    error: Mapped[str | None] = mapped_column(LONG_TEXT)
    host: Mapped[str] = mapped_column(sa.String(255))
    process: Mapped[int] = mapped_column()
    fingerprint: Mapped[str | None] = mapped_column(sa.String(64))

    #: Why it cannot be seen whether its runner is alive; set by :func:`ozelot.state.lineage.told`, not stored.
    unseen = ""

    # Of two indexes of one column each, SQLite might take that on the state, which most runs share.
    __table_args__ = (sa.Index("ix_ozelot_run_key_state", "key", "state"), {"mysql_charset": "utf8mb4"})

    @property
    def reason(self) -> str:
        """What ``error`` comes down to, in one line; empty where there is none."""
        return reason_of(self.error or "")

    @property
    def row_counts(self) -> Counts:
        """``rows``, read."""
        return counts_of(self.rows)

    @property
    def notes(self) -> dict[str, int]:
        """What loads left out, in words, and how often."""
        return {what: number or 0 for what, number in _numbers(_read(self.rows).get(_NOTES)).items()}

    @property
    def checks(self) -> list[dict[str, Any]]:
        """What came of checks: ``name``, ``ok``, ``expected`` and ``found`` of each."""
        found = _read(self.rows).get(_CHECKS)
        return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def reason_of(error: str) -> str:
    """The line of a traceback that names the exception; below it, messages and notes may have more lines.

    Of an ``assert`` without a message, with its line of the code. Of a text that is no traceback the last line.
    """
    lines = [_MARGIN.sub("", line) for line in error.strip().splitlines()]
    last_frame = max((number for number, line in enumerate(lines) if line.startswith('  File "')), default=-1)
    rest = lines[last_frame + 1 :] if last_frame >= 0 else lines[-1:]
    named = (line for line in rest if line and not line.startswith(" "))
    found = _MODULE.sub("", next(named, lines[-1] if lines else ""))
    if found == "AssertionError" and rest[0].startswith(" "):
        return f"{found}: {rest[0].strip()}"
    return found


def counts_of(rows: str | None) -> Counts:
    """The numbers that ``Run.rows`` holds as JSON; none where somebody wrote something else there."""
    return _numbers({name: number for name, number in _read(rows).items() if name not in (_NOTES, _CHECKS)})


def _read(rows: str | None) -> dict[str, Any]:
    try:
        found = json.loads(rows or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _numbers(found: Any) -> Counts:
    try:
        return {str(name): None if number is None else int(number) for name, number in (found or {}).items()}
    except (ValueError, TypeError, AttributeError):
        return {}


#: Which runs a run was built on: its requirements as they were then.
run_edge = sa.Table(
    "ozelot_run_edge",
    Base.metadata,
    sa.Column("run_id", sa.ForeignKey("ozelot_run.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("built_on_id", sa.ForeignKey("ozelot_run.id", ondelete="CASCADE"), primary_key=True),
)

runs = table_of(Run)


def current_run_id() -> int:
    """The run under way in this context.

    Raises:
        NoRun: there is none.
    """
    run_id = transaction.current_run_id()
    if run_id is None:
        raise NoRun("Rows of a model with TaskOwned belong to a task: add them inside its run()")
    return run_id


class TaskOwned:
    """Mixin for a model that several tasks fill: each row knows the run that made it.

    Attributes:
        run_id: the run, set for ORM adds, bulk inserts and ``INSERT ... SELECT`` alike. Raw SQL and ``to_sql`` must
            set it themselves, to :func:`current_run_id`; the database refuses rows without.
    """

    @orm.declared_attr
    def run_id(cls) -> Mapped[int]:  # noqa: N805 - SQLAlchemy hands in the class
        """The run that made the row."""
        return mapped_column(sa.ForeignKey("ozelot_run.id"), default=current_run_id, index=True)


_STARTED = ("key", "name", "params", "state", "started", "host", "process", "fingerprint")
_BEGIN = Prepared(sa.insert(runs).values({name: sa.bindparam(name, type_=runs.c[name].type) for name in _STARTED}))
_FINISH = Prepared(
    sa.update(runs)
    .where(runs.c.id == sa.bindparam("run_id"))
    .values(
        state=sa.bindparam("done"),
        started=sa.bindparam("began"),
        finished=sa.bindparam("now"),
        rows=sa.bindparam("counts"),
    )
)
_EDGE = Prepared(sa.insert(run_edge).values(run_id=sa.bindparam("one"), built_on_id=sa.bindparam("other")))
_HOST = socket.gethostname()


class Starting(NamedTuple):
    """A task that starts: its key, name and parameter string, and the digest of what it is made of."""

    key: str
    name: str
    params: str
    fingerprint: str | None = None


class Started(NamedTuple):
    """A run that begins: its id, and whether the task has another one that ended well and was not cleared."""

    run_id: int
    ran_before: bool


def begin(connection: sa.Connection, tasks: Collection[Starting]) -> dict[str, Started]:
    """Record that tasks start; runs of theirs that never ended are aborted, as whoever holds their claims can tell.

    Args:
        connection: to the database; nothing is committed.
        tasks: the tasks, at most as many as fit one statement (:func:`chunks`).

    Returns:
        The run of each, by key.
    """
    keys = [task.key for task in tasks]
    now = utc_now()
    of_these = runs.c.key.in_(keys)
    earlier = connection.execute(sa.select(runs.c.key, runs.c.state).where(of_these, runs.c.state.in_((RUNNING, DONE))))
    states = {(key, state) for key, state in earlier}
    if any(state == RUNNING for _, state in states):
        aborted = {"state": ABORTED, "finished": now}
        connection.execute(sa.update(runs).where(of_these, runs.c.state == RUNNING).values(aborted))
    here = {"state": RUNNING, "started": now, "host": _HOST, "process": os.getpid()}
    _BEGIN.execute(connection, *({**task._asdict(), **here} for task in tasks))
    begun = connection.execute(sa.select(runs.c.key, runs.c.id).where(of_these, runs.c.state == RUNNING))
    return {key: Started(run_id, (key, DONE) in states) for key, run_id in begun}


def finish(
    connection: sa.Connection,
    run_id: int,
    began: datetime.datetime,
    rows: Mapping[str, int | None],
    built_on: Collection[int],
    notes: Mapping[str, int],
    checks: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Record that a task ended well, in the transaction of its rows and its marker.

    Args:
        connection: of that transaction.
        run_id: the record of the run.
        began: when the task itself began; several runs may have been recorded together before.
        rows: what it made.
        built_on: the runs that it was built on.
        notes: what loads left out, in words, and how often.
        checks: what came of checks.
    """
    told: dict[str, Any] = {**rows, _NOTES: dict(notes)} if notes else dict(rows)
    if checks:
        told[_CHECKS] = list(checks)
    counts = json.dumps(told, sort_keys=True) if told else "{}"
    values = {"run_id": run_id, "done": DONE, "began": began, "now": utc_now(), "counts": counts}
    _FINISH.execute(connection, values)
    if built_on:
        _EDGE.execute(connection, *({"one": run_id, "other": other} for other in built_on))


def fail(connection: sa.Connection, run_id: int, error: str) -> None:
    """Record that a task failed, after all that it did was rolled back; not where its commit got through after all."""
    values = {"state": FAILED, "finished": utc_now(), "error": storable(error)}
    connection.execute(sa.update(runs).where(runs.c.id == run_id, runs.c.state == RUNNING).values(values))


def storable(error: str) -> str:
    """What every database can store of a text; of a long text the begin and the end, where the reason is."""
    if len(error) > _LONGEST_ERROR:
        error = f"{error[: _LONGEST_ERROR // 2]}\n[...]\n{error[-_LONGEST_ERROR // 2 :]}"
    return error.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


def wrote(table: str) -> sa.ColumnElement[bool]:
    """Whether a run recorded rows in a table (or values, of ``table.column``), or that their number is unknown."""
    name = json.dumps(table)
    some = (runs.c.rows.contains(f"{name}: {rest}", autoescape=True) for rest in ("", "0,", "0}"))
    recorded, none, none_at_end = some
    return sa.and_(recorded, ~none, ~none_at_end)


def forget(connection: sa.Connection, run_ids: Collection[int]) -> None:
    """Delete runs that came to nothing: they wait for a requirement, or another runner was faster."""
    connection.execute(sa.delete(runs).where(runs.c.id.in_(run_ids)))


def latest(connection: sa.Connection, keys: Iterable[str]) -> dict[str, int]:
    """The last run of each task that is complete, by its key."""
    found: dict[str, int] = {}
    for some in chunks(list(keys)):
        query = sa.select(runs.c.key, sa.func.max(runs.c.id)).where(runs.c.key.in_(some), runs.c.state == DONE)
        found.update({key: run_id for key, run_id in connection.execute(query.group_by(runs.c.key))})  # noqa: C416
    return found


def last_runs(keys: Collection[str] | None) -> sa.Select[Run]:
    """The query for the last run of each task, whatever became of it, and its last one that is done, oldest first.

    Args:
        keys: of the tasks; None: all. Of many, the query tells of more than were asked for.
    """
    ids = sa.select(sa.func.max(runs.c.id).label("id")).group_by(runs.c.key)
    if keys is not None and few(keys):
        ids = ids.where(runs.c.key.in_(keys))
    found = ids.union(ids.where(runs.c.state == DONE)).subquery()
    return sa.select(Run).join(found, Run.id == found.c.id).order_by(Run.id)


def mark_clearing(connection: sa.Connection, keys: Iterable[str], tables: Iterable[sa.Table] = ()) -> int:
    """Single out the runs whose rows are to be deleted (:data:`being_cleared`); returns how many there are.

    Args:
        connection: in an open transaction.
        keys: of the tasks.
        tables: tables with a ``run_id``. Runs that ended otherwise are singled out, too, where somebody put rows there
            in their name.
    """
    having = [sa.exists().where(table.c.run_id == runs.c.id) for table in tables]
    over = sa.and_(runs.c.state != DONE, sa.or_(*having)) if having else sa.false()
    number = 0
    for some in chunks(list(keys)):
        those = sa.and_(runs.c.key.in_(some), sa.or_(runs.c.state == DONE, over))
        # Asking first costs little, and on SQLite an update would lock the database even where it changes nothing.
        if connection.execute(sa.select(runs.c.id).where(those).limit(1)).first() is not None:
            number += connection.execute(sa.update(runs).where(those).values(state=CLEARING)).rowcount
    return number


def mark_cleared(connection: sa.Connection) -> None:
    """Their rows are deleted."""
    connection.execute(sa.update(runs).where(runs.c.state == CLEARING).values(state=CLEARED))


#: The runs singled out by :func:`mark_clearing`. A state of the table, so that their number does not matter.
being_cleared = sa.select(runs.c.id).where(runs.c.state == CLEARING)


def few(keys: Collection[str] | Collection[int]) -> bool:
    """Whether to ask for these keys or ids by name; of more, reading all is quicker."""
    return len(keys) <= _MANY


def chunks(values: list[_T]) -> Iterable[list[_T]]:
    """Lists short enough for one statement."""
    return (values[start : start + _MANY] for start in range(0, len(values), _MANY))
