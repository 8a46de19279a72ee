"""Which tasks fill which tables, and which of them are to run again where a table is made anew."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import sqlalchemy as sa

from ozelot.etl.declared import created_models, task_classes, updater_names, writable
from ozelot.orm import history, run
from ozelot.orm import target as marker
from ozelot.orm.base import tables_referring_to
from ozelot.orm.rows import is_owned, tables_of


def creators(table: sa.Table) -> set[str]:
    """The names of all tasks that say that they create rows of a table, those of derived models included."""
    return {cls.get_name() for cls in list(task_classes) if table.fullname in writable(cls).tables}


def fillers(table: sa.Table) -> set[str]:
    """The names of all tasks that say that they create rows of a table, or fill columns of it."""
    return {cls.get_name() for cls in list(task_classes) if table.fullname in _touched(cls)}


def fillers_of(column: sa.Column[Any]) -> set[str]:
    """The names of the tasks that fill a column: those that update it, else those that create its rows."""
    return updater_names(column) or creators(column.table)


def rebuilt_with(tables: Iterable[sa.Table]) -> set[sa.Table]:
    """These tables, all that refer to them, and all others whose rows are made by the tasks that fill any of these.

    A task makes all of its rows or none: where it is to run again, none may be left. Rows that know their run may,
    as they are cleared when it begins.
    """
    found: set[sa.Table] = set()
    new = set(tables)
    known = {table.metadata for table in new}  # tasks may fill tables of that name in another database
    while new:
        found |= new
        names = {table.fullname for table in new}
        more = {other for table in new for other in tables_referring_to(table)}
        for cls in list(task_classes):
            if not _touched(cls).isdisjoint(names):
                filled = tables_of([model for model in created_models(cls) if not is_owned(model)])
                more.update(table for table in filled if table.metadata in known)
        new = more - found
    return found


def _touched(cls: Any) -> set[str]:
    declared = writable(cls)
    return {*declared.tables, *declared.columns}


def labels_complete(connection: sa.Connection, tables: Collection[sa.Table]) -> dict[str, str]:
    """The complete tasks that fill these tables: those that declare it, and those whose runs recorded it.

    Returns:
        Their labels by the keys of their markers.
    """
    if not tables:
        return {}
    names = set().union(*(fillers(table) for table in tables))
    recorded = _recorded(connection, {table.name for table in tables})
    return {
        row.key: f"{row.name} {row.params}"
        for row in marker.every(connection)
        if row.name in names or row.key in recorded
    }


def _recorded(connection: sa.Connection, tables: set[str]) -> set[str]:
    """The keys of tasks whose runs left rows or values in these tables."""
    if not sa.inspect(connection).has_table(run.runs.name):
        return set()
    query = sa.select(run.runs.c.key, run.runs.c.rows).where(run.runs.c.state == run.DONE)
    return {
        key
        for key, rows in connection.execute(query)
        if any(number and what.partition(".")[0] in tables for what, number in run.counts_of(rows).items())
    }


def mark_cleared(connection: sa.Connection, keys: Collection[str], tables: Collection[sa.Table]) -> None:
    """Record that tasks have no rows any more, of those all of whose rows were in these tables.

    The others clear what they have left when they run again.
    """
    names = {table.name for table in tables}
    recorded = history.recorded_rows(connection, keys)
    cleared = [key for key, rows in recorded.items() if names.issuperset(what.partition(".")[0] for what in rows)]
    run.mark_clearing(connection, set(cleared).intersection(keys))
    run.mark_cleared(connection)
