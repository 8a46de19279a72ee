"""Complete tasks whose rows are gone: a table in which their runs recorded rows is missing, or empty.

That happens when a table is dropped and created again without clearing the tasks that filled it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import sqlalchemy as sa

from ozelot.orm import history
from ozelot.orm import target as marker
from ozelot.orm.base import Base, names_there

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
    filled = history.tables_with_rows(connection, keys)
    gone = _without_rows(connection, filled) if filled else {}
    if not gone:
        return {}
    found: dict[str, str] = {}
    for key, rows in history.recorded_rows(connection, keys).items():
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
