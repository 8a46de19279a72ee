"""What the recorded runs tell: what was built on what, which rows are missing, and forgetting what is long past."""

from __future__ import annotations

import functools
import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy import orm

from ozelot.db.locks import is_held, why_unseen
from ozelot.model.base import Base, names_there
from ozelot.state import markers as marker
from ozelot.state import runs as run
from ozelot.state.inputs import run_file, run_page
from ozelot.state.runs import Counts, Run, chunks, counts_of, few, run_edge
from ozelot.state.runs import runs as _runs
from ozelot.state.version import has_runs

log = logging.getLogger(__name__)

_ROUNDS = 10  # steps downstream that are asked one by one; beyond them, reading all is quicker

_base = _runs.alias("base")
_EDGES = run_edge.join(_runs, run_edge.c.run_id == _runs.c.id).join(_base, run_edge.c.built_on_id == _base.c.id)
#: What was built on what, where the former is done and was not cleared.
_BUILT = (
    sa.select(_base.c.key, _runs.c.key, _runs.c.name, _runs.c.params)
    .select_from(_EDGES)
    .where(_runs.c.state == run.DONE)
)


@dataclass(frozen=True)
class BuiltOn:
    """What was built on some tasks.

    Attributes:
        identities: name and parameter string of each of these, by key.
        built_on: the keys of what each of these was built on, as far as it is one of those asked about, or of these.
    """

    identities: dict[str, tuple[str, str]] = field(default_factory=dict)
    built_on: dict[str, set[str]] = field(default_factory=dict)


def downstream(connection: sa.Connection, keys: Collection[str]) -> BuiltOn:
    """Which tasks were built on runs of these tasks, directly or through others, and have rows of that still.

    Knows of requirements that turned up while a task ran, of other roots, and of tasks that are no more.
    """
    found = BuiltOn()
    if not keys or not marker.is_ready(connection):
        return found
    new = set(keys)
    for _ in range(_ROUNDS):
        if not few(new):
            break
        rows = connection.execute(_BUILT.where(_base.c.key.in_(new))).all()
        new = {key for _, key, _, _ in rows} - found.identities.keys()
        for below, key, name, params in rows:
            found.identities[key] = name, params
            found.built_on.setdefault(key, set()).add(below)
        if not new:
            return found
    above: dict[str, list[tuple[str, str, str]]] = {}
    for below, *identity in connection.execute(_BUILT):
        above.setdefault(below, []).append(tuple(identity))
    todo = {*keys, *found.identities}
    seen = set(todo)
    while todo:
        below = todo.pop()
        for key, name, params in above.get(below, ()):
            found.identities[key] = name, params
            found.built_on.setdefault(key, set()).add(below)
            if key not in seen:
                seen.add(key)
                todo.add(key)
    return found


def upstream(connection: sa.Connection, keys: Collection[str]) -> list[tuple[str, str]]:
    """Name and parameter string of what runs of these tasks were built on, but for these tasks themselves."""
    if not keys or not marker.is_ready(connection):
        return []
    query = sa.select(_runs.c.key, _base.c.key, _base.c.name, _base.c.params).select_from(_EDGES)
    query = query.where(_runs.c.state == run.DONE)
    if few(keys):
        query = query.where(_runs.c.key.in_(keys))
    wanted = set(keys)
    rows = connection.execute(query)
    return list({(name, params): None for key, base, name, params in rows if key in wanted and base not in wanted})


def alive(session: orm.Session) -> list[Run]:
    """The runs that are under way, whose runners live."""
    if not marker.is_ready(session.connection()):
        return []
    running = session.scalars(sa.select(Run).where(Run.state == run.RUNNING)).all()
    return [entry for entry in told(session, running) if entry.state == run.RUNNING]


def counts_in(connection: sa.Connection, tables: Collection[str]) -> list[tuple[str, Counts]]:
    """Key and row counts of the runs that recorded rows in one of these tables, and were not cleared before."""
    if not tables or not marker.is_ready(connection):
        return []
    query = sa.select(_runs.c.key, _runs.c.rows).where(_runs.c.state.in_((run.DONE, run.CLEARING)))
    query = query.where(sa.or_(*(run.wrote(table) for table in sorted(tables)))).order_by(_runs.c.id)
    return [(key, counts_of(rows)) for key, rows in connection.execute(query)]


def tables_with_rows(connection: sa.Connection, keys: Collection[str] | None = None) -> set[str]:
    """The tables in which runs of these tasks (and perhaps of others) recorded rows, and were not cleared since."""
    if (keys is not None and not keys) or not marker.is_ready(connection):
        return set()
    query = sa.select(_runs.c.rows).where(_runs.c.state == run.DONE, _runs.c.rows != "{}").distinct()
    if keys is not None and few(keys):
        query = query.where(_runs.c.key.in_(keys))
    found = (counts_of(rows) for rows in connection.scalars(query))
    return {name.partition(".")[0] for rows in found for name, number in rows.items() if number}


def recorded_rows(connection: sa.Connection, keys: Collection[str] | None = None) -> dict[str, Counts]:
    """How many rows and values the last run of each task recorded, if it is done and was not cleared, by key.

    Of these tasks, and perhaps of others.
    """
    if not marker.is_ready(connection):
        return {}
    query = sa.select(_runs.c.key, _runs.c.rows).where(_runs.c.state == run.DONE).order_by(_runs.c.id)
    if keys is not None and few(keys):
        query = query.where(_runs.c.key.in_(keys))
    return {key: counts_of(rows) for key, rows in connection.execute(query)}


def other_with_rows(
    connection: sa.Connection, table: str, keys: Collection[str], *, marked: bool = False
) -> str | None:
    """The label of a task with none of these keys whose run recorded rows in a table, and was not cleared.

    Args:
        connection: the database.
        table: the name of the table, or ``table.column`` for values.
        keys: of the markers of tasks that are not meant.
        marked: only tasks whose marker is there.
    """
    named = run.wrote(table)
    if marked:
        named &= sa.exists().where(marker.markers.c.key == _runs.c.key)
    query = sa.select(_runs.c.key, _runs.c.name, _runs.c.params, _runs.c.rows).where(_runs.c.state == run.DONE, named)
    for key, name, params, rows in connection.execute(query):
        if key not in keys and counts_of(rows).get(table, 0) != 0:
            return f"{name} {params}"
    return None


def on_incomplete(connection: sa.Connection, without_rows: Collection[str] = ()) -> dict[str, str]:
    """The complete tasks that were built on something incomplete, directly or through others.

    Args:
        connection: the database; may be read-only.
        without_rows: the keys of tasks that have a marker, and are incomplete all the same.

    Returns:
        The reason in words, by key.
    """
    if not marker.is_ready(connection):
        return {}
    query = _BUILT.add_columns(_base.c.name, _base.c.params)
    there = sa.exists().where(marker.markers.c.key == _base.c.key)
    rows = connection.execute(query.where(~there)).all()
    # A colleague's 0.2 may have completed it since.
    legacy = marker.existing(connection, {marker.legacy_key(*row[-2:]) for row in rows})
    rows = [row for row in rows if marker.legacy_key(*row[-2:]) not in legacy]
    for keys in chunks(sorted(without_rows)):
        rows += connection.execute(query.where(_base.c.key.in_(keys))).all()
    found = {key: f"was built on {name} {params}, which is not complete" for _, key, _, _, name, params in rows}
    labels = {key: f"{name} {params}" for _, key, name, params, _, _ in rows}
    above = downstream(connection, found.keys())
    for key, (name, params) in above.identities.items():
        labels[key] = f"{name} {params}"
    for key in above.identities:
        if key not in found:
            found[key] = f"was built on {labels[min(above.built_on[key])]}, which stands on something incomplete"
    return found


def runs(
    session: orm.Session, *, name: str | None = None, params: str | None = None, last: int | None = None
) -> list[Run]:
    """Recorded runs, newest first; those whose runner died are told as aborted, which the database is not.

    Args:
        session: on the database; may be read-only.
        name: only runs of tasks of that name.
        params: only runs of tasks with that parameter string.
        last: at most so many.
    """
    if not has_runs(session.connection()):
        return []
    query = sa.select(Run).order_by(Run.id.desc()).limit(last)
    if name is not None:
        query = query.where(Run.name == name)
    if params is not None:
        query = query.where(Run.params == params)
    return told(session, session.scalars(query).all())


def told(session: orm.Session, found: Collection[Run]) -> list[Run]:
    """Runs as they are to be shown, apart from the session: those whose runner died as aborted.

    A run that is deleted meanwhile is left out. Where nobody can tell whether a run is alive, it stays running, and
    its ``unseen`` says why.
    """
    session.expunge_all()
    connection = session.connection()
    silent = [entry.id for entry in found if entry.state == run.RUNNING and not is_held(connection, entry.key)]
    if not silent:
        return list(found)
    # Once more: a run records how it ended before it gives its claim back.
    again = {
        entry.id: entry for ids in chunks(silent) for entry in session.scalars(sa.select(Run).where(Run.id.in_(ids)))
    }
    session.expunge_all()
    open_runs = [entry for entry in again.values() if entry.state == run.RUNNING]
    why = why_unseen(connection) if open_runs else ""
    if why:
        _warn(why)
    for entry in open_runs:
        entry.unseen = why
        entry.state = run.RUNNING if why else run.ABORTED
    missing = set(silent).difference(again)
    return [again.get(entry.id, entry) for entry in found if entry.id not in missing]


@functools.cache
def _warn(why: str) -> None:
    log.warning("Whether a run that is recorded as running is still alive cannot be seen here: %s", why)


def prunable(connection: sa.Connection, keep: int) -> dict[str, int]:
    """How many runs :func:`prune` would forget, by state."""
    if not marker.is_ready(connection):
        return {}
    past = _past(connection, keep)
    query = sa.select(_runs.c.state, sa.func.count()).where(_runs.c.id.in_(past)).group_by(_runs.c.state)
    return {state: number for state, number in connection.execute(query.order_by(_runs.c.state))}  # noqa: C416


def prune(connection: sa.Connection, keep: int) -> int:
    """Forget runs that failed, were aborted or cleared, but for the last ones of each task.

    Runs of complete tasks, and those that they were built on, are kept whatever their age: rows refer to them.

    Args:
        connection: the caller commits.
        keep: how many runs of each task to keep.

    Returns:
        How many were forgotten.
    """
    if not marker.is_ready(connection):
        return 0
    ids = list(connection.scalars(_past(connection, keep)))
    return sum(
        connection.execute(sa.delete(_runs).where(_runs.c.id.in_(list(map(int, some))))).rowcount
        for some in chunks(ids)
    )


def _past(connection: sa.Connection, keep: int) -> sa.Select[int]:
    there = names_there(connection)
    rank = sa.func.row_number().over(partition_by=_runs.c.key, order_by=_runs.c.id.desc())
    ranked = sa.select(_runs.c.id, _runs.c.state, rank.label("rank")).subquery()
    child = _runs.alias("child")
    built = run_edge.join(child, run_edge.c.run_id == child.c.id)
    needed = sa.exists().where(run_edge.c.built_on_id == ranked.c.id, child.c.state == run.DONE).select_from(built)
    holders = [
        column
        for table in Base.metadata.tables.values()
        for column in table.columns
        if table not in (run_edge, run_page, run_file) and table.name in there and column.references(_runs.c.id)
    ]
    held = [sa.exists().where(column == ranked.c.id) for column in holders]
    return sa.select(ranked.c.id).where(
        ranked.c.rank > keep,
        ranked.c.state.in_((run.FAILED, run.ABORTED, run.CLEARED)),
        ~needed,
        *(~exists for exists in held),
    )


_MOST = 400  # tables in one statement; SQLite takes 500 parts


def find_missing_rows(connection: sa.Connection, keys: Collection[str] | None = None) -> dict[str, str]:
    """Those complete tasks that recorded rows in a table that is missing or empty now.

    The number of queries does not depend on the number of tasks.

    Args:
        connection: the database; may be read-only.
        keys: of the markers of complete tasks; None: all that the database knows of.

    Returns:
        The reason, such as ``table unit is empty``, by the key of the marker.
    """
    filled = tables_with_rows(connection, keys)
    gone = _without_rows(connection, filled) if filled else {}
    if not gone:
        return {}
    found: dict[str, str] = {}
    for key, rows in recorded_rows(connection, keys).items():
        tables = (what.partition(".")[0] for what, number in rows.items() if number)
        reason = next((gone[table] for table in tables if table in gone), None)
        if reason is not None and (keys is None or key in keys):
            found[key] = reason
    return found


def remove_markers_without_rows(connection: sa.Connection) -> None:
    """Remove the markers of all tasks whose rows are gone, before the first of them fills an empty table again.

    What is left of them elsewhere is cleared, or found, when they run.

    Args:
        connection: in the transaction of a task that runs again for this reason.
    """
    markers = {row.key: row for row in marker.every(connection)}
    rows = [markers[key] for key in sorted(markers.keys() & find_missing_rows(connection).keys())]
    marker.delete(connection, {key for row in rows for key in (row.key, marker.legacy_key(row.name, row.params))})


def _without_rows(connection: sa.Connection, names: Iterable[str]) -> dict[str, str]:
    """Those of the tables that are missing or empty, and which of the two it is; none that no model has any more."""
    tables = {table.name: table for table in Base.metadata.tables.values()}
    existing = names_there(connection)
    known = [tables.get(name, sa.table(name)) for name in sorted(names) if name in tables or name in existing]
    filled: set[str] = set()
    asked = [table for table in known if table.name in existing]
    for start in range(0, len(asked), _MOST):
        parts = (
            sa.select(sa.literal(table.name)).where(sa.exists(sa.select(sa.literal(1)).select_from(table)))
            for table in asked[start : start + _MOST]
        )
        filled.update(connection.scalars(sa.union_all(*parts)))
    return {
        table.name: f"table {table.name} {'is empty' if table.name in existing else 'does not exist'}"
        for table in known
        if table.name not in filled
    }
