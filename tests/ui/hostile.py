"""A pipeline whose every name and value is meant to do harm to a page that shows it."""

from __future__ import annotations

import datetime
import json
from typing import Any

import luigi
import sqlalchemy as sa

from ozelot.client import Client
from ozelot.etl import tasks
from ozelot.orm.base import Base
from ozelot.pipeline.marker_target import task_name, task_params
from ozelot.state.inputs import run_file, run_page
from ozelot.state.markers import OWN_TABLES, marker_key, markers
from ozelot.state.runs import DONE, FAILED, runs

NAMES = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "' onmouseover='alert(3)",
    "</title></textarea></style><svg onload=alert(4)>",
    "'; DROP TABLE ozelot_run; --",
    "\u202emoc.elpmaxe\u2066",
    "long" * 2_499,  # SQLAlchemy makes no table of a longer name
    "\N{OWL}\N{FAMILY} Zürich 東京",
    "two\nlines\tand more",
    "javascript:alert(5)",
    "{{ 7 * 7 }}{% raw %}${7*7}",
    "../a/b?c=d&e#f%00;g+h%2e",
    "  ",
    "<!--",
]
NUL = "be\0fore"  # in a value: databases that take it, take it there
_START = datetime.datetime(2026, 1, 1)


class Nasty(tasks.ORMTask):
    """A task with such a name, and such a parameter."""

    creates = ()
    text: str = luigi.Parameter()

    def run(self) -> None:
        pass


CLASSES = [type(name, (Nasty,), {"__module__": __name__}) for name in NAMES]


class AllOfIt(tasks.ORMWrapperTask):
    """The root."""

    def requires(self) -> Any:
        return [one(text=text) for one, text in zip(CLASSES, reversed(NAMES), strict=True)]


def fill(database: Client) -> None:
    """Insert all of it into an empty database: every other task failed."""
    with database.engine.begin() as connection:
        Base.metadata.create_all(connection, tables=list(OWN_TABLES))
        for number, task in enumerate(AllOfIt().requires()):
            _task(connection, number, task, NAMES[number])
        _tables(connection)


def _task(connection: sa.Connection, number: int, task: luigi.Task, nasty: str) -> None:
    name, params = task_name(task), task_params(task)
    key = marker_key(name, params)
    has_failed = bool(number % 2)
    check = {"name": nasty, "ok": False, "expected": nasty, "found": nasty}
    row = {
        "id": number + 1,
        "key": key,
        "name": name,
        "params": params,
        "state": FAILED if has_failed else DONE,
        "started": _START,
        "finished": _START + datetime.timedelta(seconds=1),
        "rows": json.dumps({nasty: 3, "": {nasty: 2}, "?": [check]}),
        "error": f'Traceback (most recent call last):\n  File "{nasty}", line 1\nValueError: {nasty}'
        if has_failed
        else None,
        "host": nasty[:255],
        "process": 1,
        "fingerprint": None,
    }
    connection.execute(sa.insert(runs), [row])
    page = {"run_id": number + 1, "key": "0" * 64, "address": "0" * 64, "content": "0" * 64, "url": nasty}
    file = {
        "run_id": number + 1,
        "number": 1,
        "task": nasty,
        "path": nasty,
        "size": 1,
        "changed": 1,
        "content": "0" * 64,
    }
    connection.execute(sa.insert(run_page), [page])
    connection.execute(sa.insert(run_file), [file])
    if not has_failed:
        marker = {"name": name, "params": params, "key": key, "created": _START}
        connection.execute(sa.insert(markers), [marker])


def _tables(connection: sa.Connection) -> None:
    """A table by each name, with columns by all names, and such values."""
    made = sa.MetaData()
    for name in NAMES:
        columns = [sa.Column(other, sa.Text) for other in NAMES]
        table = sa.Table(name, made, *columns)
        table.create(connection)
        keys = [column.key for column in table.columns]
        connection.execute(sa.insert(table), [dict.fromkeys(keys, text) for text in [*NAMES, NUL]])
