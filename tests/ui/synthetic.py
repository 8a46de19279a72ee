"""A pipeline of 10,000 tasks with 100,000 runs behind it, made by inserting rows: to run it would take minutes."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from typing import Any

import luigi
import sqlalchemy as sa

from ozelot.client import Client
from ozelot.etl import tasks
from ozelot.orm.base import Base
from ozelot.pipeline.marker_target import task_name, task_params
from ozelot.state.markers import OWN_TABLES, marker_key, markers
from ozelot.state.runs import CLEARED, DONE, FAILED, run_edge, runs

STAGES = ("Fetch", "Parse", "Load", "Check")
THINGS = ("Airports", "Airlines", "Flights", "Delays", "Weather")
EACH = 500  # tasks of a class
ROUNDS = 10  # runs of a task
ERROR = "the feed of day {} ends in the middle of a line"
_WIDE = 60  # columns
_ROWS = 1_000  # of a table
_START = datetime.datetime(2026, 1, 1)


class Step(tasks.ORMTask):
    """One day of one thing at one stage; needs that day of the stage before, of its own thing and of the next."""

    creates = ()
    day: int = luigi.IntParameter()
    stage = 0
    thing = 0

    def requires(self) -> Any:
        if not self.stage:
            return []
        there = len(THINGS)
        before = {CLASSES[(self.stage - 1) * there + (self.thing + more) % there] for more in (0, 1)}
        return [one(day=self.day) for one in sorted(before, key=task_name)]


CLASSES: list[Any] = [
    type(f"{verb}{thing}", (Step,), {"stage": stage, "thing": number, "__module__": __name__})
    for stage, verb in enumerate(STAGES)
    for number, thing in enumerate(THINGS)
]


class AllDays(tasks.ORMWrapperTask):
    """All of it."""

    def requires(self) -> Any:
        return [one(day=day) for one in CLASSES[-len(THINGS) :] for day in range(EACH)]


def every() -> list[Step]:
    """All tasks but the root, requirements first."""
    return [one(day=day) for one in CLASSES for day in range(EACH)]


def is_failed(task: Step) -> bool:
    """Whether its last run failed."""
    return task.stage == 2 and task.thing == 2 and task.day % 50 == 7


def is_cleared(task: Step) -> bool:
    """Whether it was cleared, and so what stands on it is complete on something incomplete."""
    return task.stage == 1 and task.thing == 4 and task.day % 25 == 3


def is_new(task: Step) -> bool:
    """Whether it never came to run well."""
    return task.stage == 3 and (task.day > 450 or any(is_failed(other) for other in task.requires()))


def is_stale(task: Step) -> bool:
    """Whether what it was built on ran again since."""
    return task.stage == 1 and task.thing == 0 and task.day % 20 == 1


def fill(database: Client) -> None:
    """Insert all of it into an empty database."""
    with database.engine.begin() as connection:
        Base.metadata.create_all(connection, tables=list(OWN_TABLES))
    found = every()
    keys = [marker_key(task_name(task), task_params(task)) for task in found]
    place = {key: number for number, key in enumerate(keys)}
    upstream = [[place[marker_key(task_name(o), task_params(o))] for o in task.requires()] for task in found]
    there = [
        {"name": task_name(task), "params": task_params(task), "key": key, "created": _START}
        for task, key in zip(found, keys, strict=True)
        if not (is_failed(task) or is_cleared(task) or is_new(task))
    ]
    last = (ROUNDS - 1) * len(found)
    edges = [
        (last + number + 1, other + 1 + last - (len(found) if is_stale(task) else 0))
        for number, task in enumerate(found)
        for other in upstream[number]
        if not is_new(task)
    ]
    with database.engine.begin() as connection:
        _insert(connection, runs, _history(found, keys))
        _insert(connection, markers, there)
        _insert(connection, run_edge, [{"run_id": one, "built_on_id": other} for one, other in edges])
        _tables(connection)


def _insert(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    for start in range(0, len(rows), 20_000):
        connection.execute(sa.insert(table), rows[start : start + 20_000])


def _history(found: list[Step], keys: list[str]) -> list[dict[str, Any]]:
    return [
        _run(task, key, turn, number)
        for turn in range(ROUNDS)
        for number, (task, key) in enumerate(_pairs(found, keys))
    ]


def _pairs(found: list[Step], keys: list[str]) -> Iterator[tuple[Step, str]]:
    return zip(found, keys, strict=True)


def _run(task: Step, key: str, turn: int, number: int) -> dict[str, Any]:
    is_last = turn == ROUNDS - 1
    fails = is_failed(task) if is_last else (task.day + turn) % 97 == 0 or is_new(task)
    state = FAILED if fails else CLEARED if not is_last or is_cleared(task) or is_new(task) else DONE
    started = _START + datetime.timedelta(days=20 * turn, seconds=2 * number)
    rows = {table_name(task): 20 + task.day % 7, "": {"duplicate": task.day % 3}} if not fails else None
    if rows and task.stage == 3:
        rows["?"] = [{"name": "delays are positive", "ok": True, "expected": "no rows", "found": "none"}]
    return {
        "key": key,
        "name": task_name(task),
        "params": task_params(task),
        "state": state,
        "started": started,
        "finished": started + datetime.timedelta(milliseconds=137 * (1 + task.day % 90)),
        "rows": json.dumps(rows) if rows else None,
        "error": _error(task) if fails else None,
        "host": f"worker-{number % 4}",
        "process": 4000 + number % 16,
        "fingerprint": None,
    }


def _error(task: Step) -> str:
    return (
        "Traceback (most recent call last):\n"
        '  File "/srv/flights/pipeline.py", line 214, in run\n'
        "    for row in rows_of(text):\n"
        '  File "/srv/flights/feeds.py", line 88, in rows_of\n'
        "    raise FeedError(f'the feed of day {day} ends in the middle of a line')\n"
        f"flights.feeds.FeedError: {ERROR.format(task.day)}\n"
    )


def table_name(task: Step) -> str:
    """The table that a task fills."""
    return f"{THINGS[task.thing].lower()}_{STAGES[task.stage].lower()}"


def _tables(connection: sa.Connection) -> None:
    """A table for each class: each refers to that of the stage before, and the last one has many columns."""
    made = sa.MetaData()
    for one in CLASSES:
        name, before = f"{THINGS[one.thing].lower()}_{STAGES[one.stage].lower()}", STAGES[one.stage - 1].lower()
        columns: list[sa.Column[Any]] = [
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("name", sa.String(40), nullable=False),
        ]
        if one.stage:
            columns.append(sa.Column("from_id", sa.ForeignKey(f"{THINGS[one.thing].lower()}_{before}.id")))
        is_wide = one is CLASSES[-1]
        columns += [sa.Column(f"measure_{number}", sa.Float) for number in range(_WIDE if is_wide else 4)]
        table = sa.Table(name, made, *columns)
        table.create(connection)
        row = {column.name: number / 3 for number, column in enumerate(columns) if column.name.startswith("measure")}
        _insert(
            connection,
            table,
            [
                {"id": number, "name": f"{name} {number}", **({"from_id": number} if one.stage else {}), **row}
                for number in range(1, _ROWS + 1)
            ],
        )
