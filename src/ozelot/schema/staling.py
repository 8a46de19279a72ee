"""Which tasks differences between models and database make stale."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ozelot.etl.status import TaskStatus
from ozelot.schema.differences import Difference, Kind


def made_stale(difference: Difference, entries: Iterable[TaskStatus]) -> tuple[str, ...]:
    """The names of the tasks that are stale since what they fill, or stand on, is what a difference is about.

    Args:
        difference: in which models and database differ.
        entries: the state of the tasks, by today's models.
    """
    found = {
        entry.name
        for entry in entries
        if entry.verdict is not None and _is_about(difference, {reason.column for reason in entry.verdict.reasons})
    }
    return tuple(sorted(found))


def _is_about(difference: Difference, columns: Collection[str]) -> bool:
    if difference.kind in (Kind.TABLE_MISSING, Kind.TABLE_EXTRA):
        return any(name.startswith((f"{difference.table}.", f"{difference.table} (")) for name in columns)
    if difference.kind in (Kind.INDEX_MISSING, Kind.INDEX_EXTRA) and not difference.item.unique:
        return False  # it is nothing that a task would write differently for
    return not {f"{difference.table}.{difference.column}", f"{difference.table} ({difference.column})"}.isdisjoint(
        columns
    )
