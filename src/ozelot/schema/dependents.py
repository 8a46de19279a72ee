"""Which tasks fill a table, what its rows allow, and which tasks are to run again where it is made anew."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from ozelot.model.base import tables_referring_to
from ozelot.pipeline.declarations import created_models, task_classes, updater_names, writable
from ozelot.rows.selection import is_owned, tables_of
from ozelot.state import lineage, runs
from ozelot.state import markers as marker
from ozelot.state.markers import markers


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
    if not sa.inspect(connection).has_table(runs.runs.name):
        return set()
    query = sa.select(runs.runs.c.key, runs.runs.c.rows).where(runs.runs.c.state == runs.DONE)
    return {
        key
        for key, rows in connection.execute(query)
        if any(number and what.partition(".")[0] in tables for what, number in runs.counts_of(rows).items())
    }


def mark_cleared(connection: sa.Connection, keys: Collection[str], tables: Collection[sa.Table]) -> None:
    """Record that tasks have no rows any more, of those all of whose rows were in these tables.

    The others clear what they have left when they run again.
    """
    names = {table.name for table in tables}
    recorded = lineage.recorded_rows(connection, keys)
    cleared = [key for key, rows in recorded.items() if names.issuperset(what.partition(".")[0] for what in rows)]
    runs.mark_clearing(connection, set(cleared).intersection(keys))
    runs.mark_cleared(connection)


_OWN_PREFIX = "ozelot_"
_OF_ALEMBIC = "alembic_version"

#: Tables of PostgreSQL that belong to another table, or to an extension.
_PARTS = sa.text(
    "SELECT relname FROM pg_class JOIN pg_inherits ON inhrelid = pg_class.oid UNION "
    "SELECT relname FROM pg_class JOIN pg_depend ON objid = pg_class.oid AND classid = 'pg_class'::regclass "
    "WHERE deptype = 'e'"
)
#: Tables of SQLite that extensions make, such as that for full text.
_NO_TABLES = sa.text("SELECT name FROM pragma_table_list WHERE type IN ('virtual', 'shadow')")


def is_own(name: str) -> bool:
    """Whether a table is one of ozelot's own, or Alembic's, which are nobody's model."""
    return name == markers.name or name.startswith(_OWN_PREFIX) or name == _OF_ALEMBIC


def parts(connection: sa.Connection) -> set[str]:
    """The names of tables that come and go with others."""
    queries = {"postgresql": _PARTS, "sqlite": _NO_TABLES}
    query = queries.get(connection.dialect.name)
    return set() if query is None else set(connection.scalars(query))


def light(table: sa.Table, columns: Collection[str] = ()) -> Any:
    """A table to query, by the names in the database: those of the model may not be there yet."""
    return sa.table(table.name, *(sa.column(name) for name in columns), schema=table.schema)


def rows(connection: sa.Connection, table: sa.Table) -> int:
    """How many rows a table has."""
    return connection.scalar(sa.select(sa.func.count()).select_from(light(table))) or 0


def has_rows(connection: sa.Connection, table: sa.Table) -> bool:
    """Whether a table has any."""
    return connection.execute(sa.select(sa.literal(1)).select_from(light(table)).limit(1)).first() is not None


def nulls(connection: sa.Connection, table: sa.Table, column: str) -> int:
    """How many rows hold NULL in a column."""
    found = light(table, [column])
    query = sa.select(sa.func.count()).select_from(found).where(found.c[column].is_(None))
    return connection.scalar(query) or 0


def longer(connection: sa.Connection, table: sa.Table, column: str, length: int) -> int:
    """How many texts in a column have more characters."""
    found = light(table, [column])
    query = sa.select(sa.func.count()).select_from(found).where(sa.func.char_length(found.c[column]) > length)
    if connection.dialect.name == "sqlite":
        query = sa.select(sa.func.count()).select_from(found).where(sa.func.length(found.c[column]) > length)
    return connection.scalar(query) or 0


def repeated(connection: sa.Connection, table: sa.Table, columns: Sequence[str]) -> int:
    """How many values (or tuples of values) are there more than once."""
    found = light(table, columns)
    kinds = _kinds(connection, table)
    own = [
        sa.cast(found.c[name], sa.Text)
        if kinds.get(name) is sa.JSON
        else found.c[name]  # which PostgreSQL cannot compare
        for name in columns
    ]
    groups = sa.select(*(one.label(None) for one in own)).where(*(one.is_not(None) for one in own)).group_by(*own)
    twice = groups.having(sa.func.count() > 1).subquery()
    return connection.scalar(sa.select(sa.func.count()).select_from(twice)) or 0


def dangling(connection: sa.Connection, key: sa.ForeignKeyConstraint) -> int:
    """How many rows would refer to nothing."""
    own = [element.parent.name for element in key.elements]
    others = [element.column.name for element in key.elements]
    child, parent = light(key.table, own).alias("child"), light(key.referred_table, others).alias("parent")
    kinds, other_kinds = _kinds(connection, key.table), _kinds(connection, key.referred_table)
    pairs = [
        child.c[one] == parent.c[other]
        if kinds.get(one) is other_kinds.get(other)
        else sa.cast(child.c[one], sa.String(255)) == sa.cast(parent.c[other], sa.String(255))
        for one, other in zip(own, others, strict=True)
    ]
    there = sa.exists().where(*pairs).select_from(parent).correlate(child)
    query = sa.select(sa.func.count()).select_from(child).where(*(child.c[name].is_not(None) for name in own), ~there)
    return connection.scalar(query) or 0


def _kinds(connection: sa.Connection, table: sa.Table) -> dict[str, Any]:
    """What sort of type each column has in the database."""
    columns = sa.inspect(connection).get_columns(table.name, schema=table.schema)
    return {column["name"]: column["type"]._type_affinity for column in columns}


def foreign_keys(connection: sa.Connection) -> list[tuple[str, str | None, dict[str, Any]]]:
    """All foreign keys of the database: the table, its schema, and the key as it was reflected."""
    found = sa.inspect(connection).get_multi_foreign_keys()
    return [(table, schema, dict(key)) for (schema, table), keys in found.items() for key in keys]
