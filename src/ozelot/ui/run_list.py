"""Runs as the page shows them: some of very many, newest first."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import orm

from ozelot.formatting import task_text
from ozelot.state import inputs, lineage
from ozelot.state import runs as run
from ozelot.state.markers import marker_key
from ozelot.state.runs import Run, run_edge, runs
from ozelot.state.version import has_runs

PAGE = 50  # runs
_MOST = 100  # pages and files of a run, and runs that it was built on


@dataclass(frozen=True)
class Past:
    """Runs, and where the next ones begin: the id that they are all below; None where there are no more."""

    runs: list[Run]
    next: int | None


@dataclass(frozen=True)
class Source:
    """Something that a run was made from: a page, or a file."""

    kind: str
    name: str


def seconds(entry: Run) -> float | None:
    """How long a run took."""
    return (entry.finished - entry.started).total_seconds() if entry.finished else None


def label(entry: Run) -> str:
    """The task of a run."""
    return task_text(f"{entry.name} {entry.params}")


def key(entry: Run) -> str:
    """What the task of a run is called in addresses."""
    return marker_key(entry.name, entry.params)


def find(session: orm.Session, *, task: str = "", name: str = "", state: str = "", before: int | None = None) -> Past:
    """Runs, newest first, by one query.

    Args:
        session: on the database.
        task: the key of a task: only its runs.
        name: only runs of tasks of that name.
        state: only runs that ended so, or ``running``.
        before: only runs below that id.
    """
    if not has_runs(session.connection()):
        return Past([], None)
    query = sa.select(Run).order_by(Run.id.desc()).limit(PAGE + 1)
    if "\0" in task + name:  # which PostgreSQL does not take
        return Past([], None)
    if task:
        query = query.where(Run.key == task)
    if name:
        query = query.where(Run.name == name)
    if state == run.ABORTED:
        query = query.where(Run.state.in_((run.ABORTED, run.RUNNING)))
    elif state:
        query = query.where(Run.state == state)
    if before is not None:
        query = query.where(Run.id < before)
    found = session.scalars(query).all()
    after = found[PAGE - 1].id if len(found) > PAGE else None
    shown = lineage.told(session, found[:PAGE])
    return Past([entry for entry in shown if state in ("", entry.state)], after)


def one(session: orm.Session, number: int) -> Run | None:
    """The run with that id."""
    if not has_runs(session.connection()):
        return None
    found = session.get(Run, number)
    return None if found is None else next(iter(lineage.told(session, [found])), None)


def sources(session: orm.Session, number: int) -> tuple[list[Source], int]:
    """The first of the files and pages that a run was made from, and how many there are in all."""
    connection = session.connection()
    seen = [Source("file", entry.input.path) for entry in inputs.files_of_runs(connection, [number]).get(number, [])]
    read = [Source("page", page.url) for page in inputs.pages_of_runs(connection, [number]).get(number, [])]
    found = [*seen, *read]
    return found[:_MOST], len(found)


def built_on(session: orm.Session, number: int) -> list[Run]:
    """The first of the runs that a run was built on."""
    ids = sa.select(run_edge.c.built_on_id).where(run_edge.c.run_id == number)
    query = sa.select(Run).where(runs.c.id.in_(ids)).order_by(Run.id).limit(_MOST)
    return lineage.told(session, session.scalars(query).all())
