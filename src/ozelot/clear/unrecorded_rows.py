"""Rows that no run wrote: typed in by hand, or left by another application in a table that a task creates.

A row that knows its run belongs to that run. In other tables the recorded runs say how many rows tasks wrote. Markers
without a run, as ozelot 0.2 wrote them, say that a task wrote rows, but not how many: such a table holds nothing that
is known to be unrecorded.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import sqlalchemy as sa

from ozelot.errors import NotClearable
from ozelot.model.base import Base, names_there
from ozelot.pipeline.declarations import argument_of, created_models, only_as_in_0_2, task_classes, updated_columns
from ozelot.rows.selection import association_tables, count, owners, tables_of, told
from ozelot.state import lineage
from ozelot.state import markers as marker


class Unrecorded(NamedTuple):
    """A table (or column) that holds more rows (or values) than recorded runs wrote.

    Attributes:
        name: the table, or ``table.column``.
        found: how many rows or values there are.
        recorded: how many the runs wrote.
        task: as named on a command line, a task that creates or updates them.
        is_legacy: whether all tasks that do are of the kind that ozelot 0.2 knew, which are only warned about.
    """

    name: str
    found: int
    recorded: int
    task: str
    is_legacy: bool

    def __str__(self) -> str:
        if "." in self.name:
            values = "1 value" if self.found == 1 else f"{self.found} values"
            return f"{self.name} holds {values}, of which runs recorded {self.recorded}"
        return f"{self.name} holds {told(self.found)}, of which runs recorded {self.recorded}"


def find_unrecorded(
    connection: sa.Connection, tasks: Collection[Any], found: Mapping[str, int], keys: Collection[str]
) -> list[Unrecorded]:
    """Where more rows or values would be deleted than recorded runs and markers of ozelot 0.2 account for.

    Args:
        connection: the database.
        tasks: the tasks whose rows are to be deleted.
        found: how many rows by table, and how many values by ``table.column``; not those that know their run.
        keys: of the markers of the tasks.
    """
    found = {name: number for name, number in found.items() if number}
    if not found:
        return []
    recorded = _recorded(connection, found.keys(), keys)
    result = []
    for name, number in found.items():
        using = [task for task in tasks if _fills(task, name)]
        known = recorded[name]
        if known is not None and known < number and using and not _has_unknown_runs(connection, name):
            is_legacy = all(only_as_in_0_2(task) for task in using)
            result.append(Unrecorded(name, number, known, argument_of(using[0]), is_legacy))
    return result


def _recorded(connection: sa.Connection, names: Collection[str], keys: Collection[str]) -> dict[str, int | None]:
    """How much runs recorded under each name, without those of complete tasks with other keys; None: unknown."""
    marked = {row.key for row in marker.every(connection)}
    total: dict[str, int | None] = dict.fromkeys(names, 0)
    for key, rows in lineage.counts_in(connection, names):
        if key not in keys and key in marked:
            continue
        for name in names:
            number, before = rows.get(name, 0), total[name]
            total[name] = None if number is None or before is None else before + number
    return total


def _has_unknown_runs(connection: sa.Connection, name: str) -> bool:
    """Whether a task that fills a table or column ran, but nobody recorded how many rows it wrote."""
    classes = [cls for cls in list(task_classes) if _fills(cls, name)]
    names = {each for cls in classes for each in (cls.get_name(), cls.__name__)}
    return marker.has_unrecorded(connection, names)


def _fills(task: Any, name: str) -> bool:
    if "." in name:
        with suppress(NotClearable):  # which is said of that task by itself
            return any(f"{column.table.name}.{column.name}" == name for column in updated_columns(task))
        return False
    return any(table.name == name for table in tables_of(created_models(task)))


def unrecorded_rows(connection: sa.Connection) -> dict[str, int]:
    """How many rows of each table of a model no run wrote, and no marker of ozelot 0.2 accounts for."""
    existing = names_there(connection)
    mappers = list(Base.registry.mappers)
    uncounted = {*owners(mapper.class_ for mapper in mappers), *(table for table, _ in association_tables(mappers))}
    tables = [t for t in Base.metadata.tables.values() if t.name in existing and t not in uncounted]
    rows = {table.name: count(connection, table, None) for table in tables if table not in marker.OWN_TABLES}
    rows = {name: number for name, number in rows.items() if number}
    recorded = _recorded(connection, rows.keys(), {row.key for row in marker.every(connection)})
    found = {name: number - known for name, number in rows.items() if (known := recorded[name]) is not None}
    return {name: more for name, more in found.items() if more > 0 and not _has_unknown_runs(connection, name)}


def how_to_delete(found: Collection[Unrecorded]) -> str:
    """What to do about unrecorded rows."""
    tasks = " ".join(dict.fromkeys(each.task for each in found))
    return f"move them to a table that no task creates, or delete them, too: ozelot clear {tasks} --include-unrecorded"
