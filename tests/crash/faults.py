"""What goes wrong inside a run, on purpose: hooks of tasks and of SQLAlchemy that raise, and a disk that is full.

Everything here is set up within the process that is to meet it, before it begins.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from ozelot.etl import tasks

#: Methods of tasks, of which each may be somebody's own and fail.
HOOKS = [
    "run",
    "done",
    "mark_complete",
    "close_session",
    "complete",
    "output",
    "requires",
    "on_success",
    "on_failure",
]
#: Moments of which SQLAlchemy tells.
EVENTS: dict[str, Any] = {
    "before_flush": orm.Session,
    "after_flush": orm.Session,
    "before_commit": orm.Session,
    "after_commit": orm.Session,
    "after_rollback": orm.Session,
    "after_begin": orm.Session,
    "do_orm_execute": orm.Session,
    "before_cursor_execute": sa.Engine,
    "after_cursor_execute": sa.Engine,
    "begin": sa.Engine,
    "commit": sa.Engine,
    "rollback": sa.Engine,
    "checkout": sa.Engine,
    "checkin": sa.Engine,
}


class BrokenError(Exception):
    """Raised by a hook that was armed."""


def arm(name: str, first: int, times: int) -> None:
    """Let a hook or an event raise.

    Args:
        name: of the hook, or of the event.
        first: the call that raises first, counted from one.
        times: how many calls raise; those after them go well.
    """
    calls = itertools.count(1)

    def breaks(*_: object, **__: object) -> None:
        if first <= next(calls) < first + times:
            raise BrokenError(f"{name} broke")

    if name in EVENTS:
        sa.event.listen(EVENTS[name], name, breaks)
        return
    for cls in [tasks.ORMTask, *_derived(tasks.ORMTask)]:
        if name in vars(cls):
            setattr(cls, name, _after(breaks, vars(cls)[name], name))
    if name not in vars(tasks.ORMTask):  # on_success and on_failure are Luigi's
        setattr(tasks.ORMTask, name, _after(breaks, getattr(tasks.ORMTask, name), name))


def _derived(cls: type[Any]) -> Iterator[type[Any]]:
    for derived in cls.__subclasses__():
        yield derived
        yield from _derived(derived)


def _after(breaks: Callable[[], None], method: Callable[..., Any], name: str) -> Callable[..., Any]:
    def broken(self: Any, *args: Any, **kwargs: Any) -> Any:
        breaks()
        return method(self, *args, **kwargs)

    broken.__name__ = name
    return broken


def limit_pages(pages: int) -> None:
    """Let every SQLite database grow to that many pages, and then be as if the disk were full."""

    @sa.event.listens_for(sa.Engine, "connect")
    def _limit(connection: object, _record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute(f"PRAGMA max_page_count = {pages}")
