"""Comparing models with the database, by Alembic's comparison and what it leaves out.

Alembic does not compare primary keys, values of enumerations and fractions of seconds, and what it says of server
defaults depends on how each database spells them; these are compared here. Nobody compares check constraints, comments
and what generated columns are computed from.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.schema import AddConstraint, CreateIndex

from ozelot.model.base import Base
from ozelot.schema import column_types
from ozelot.schema.dependents import is_own, parts, rows
from ozelot.schema.difference import Difference, Kind
from ozelot.schema.feasibility import judged, levelled

_KINDS = {
    "add_table": Kind.TABLE_MISSING,
    "remove_table": Kind.TABLE_EXTRA,
    "add_column": Kind.COLUMN_MISSING,
    "remove_column": Kind.COLUMN_EXTRA,
    "add_index": Kind.INDEX_MISSING,
    "remove_index": Kind.INDEX_EXTRA,
    "add_constraint": Kind.UNIQUE_MISSING,
    "remove_constraint": Kind.UNIQUE_EXTRA,
    "add_fk": Kind.FOREIGN_KEY_MISSING,
    "remove_fk": Kind.FOREIGN_KEY_EXTRA,
}
_MARIADB = ("mysql", "mariadb")


def differences(connection: sa.Connection, metadata: sa.MetaData = Base.metadata) -> list[Difference]:
    """In what models and database differ, those of one table together, in order of their names; changes nothing.

    Args:
        connection: to the database.
        metadata: the tables of the models; of ozelot's own tables nothing is said.
    """
    changes = _changes(connection, metadata)
    found = [*_compared(connection, metadata, changes), *_by_column(connection, metadata, changes)]
    if connection.dialect.name == "sqlite":
        found += _without_name(connection, metadata)
    tables = {table.fullname: table for table in metadata.tables.values()}
    return levelled(connection, tables, sorted(found, key=lambda difference: (difference.table, difference.kind.name)))


def _compared(connection: sa.Connection, metadata: sa.MetaData, told: list[Any]) -> Iterator[Difference]:
    missing: set[str] = set()
    extra: set[str] = set()
    lost: set[tuple[str, str]] = set()
    changes = []
    for change in told:
        if isinstance(change, list):
            continue  # of a column: see below
        kind, item = _KINDS.get(change[0]), change[-1]
        if kind is None or is_own(_table_of(item).name):
            continue
        if kind is Kind.TABLE_MISSING:
            missing.add(item.fullname)
        elif kind is Kind.TABLE_EXTRA:
            extra.add(item.fullname)
        elif kind is Kind.COLUMN_EXTRA:
            lost.add((_name(change[2], change[1]), item.name))
        name = _name(change[2], change[1]) if kind in (Kind.COLUMN_MISSING, Kind.COLUMN_EXTRA) else None
        changes.append((kind, item, name or _table_of(item).fullname))
    by_expression = _by_expression(changes)
    for kind, item, table in changes:
        if kind not in (Kind.TABLE_MISSING, Kind.TABLE_EXTRA):
            if table in missing | extra or _is_spurious(connection, kind, item):
                continue
            if kind.name.endswith("MISSING") and not _is_meant(connection, metadata.tables[table], item):
                continue
            if isinstance(item, sa.Index) and (table, item.name) in by_expression:
                continue
            goes = kind.name.endswith("EXTRA") and any((table, column) in lost for column in _columns(item))
            if goes and kind is not Kind.COLUMN_EXTRA:
                continue  # with its column
        model = metadata.tables.get(table)
        yield judged(connection, kind, table, model, item, _columns(item), _words(connection, kind, table, item))


def _changes(connection: sa.Connection, metadata: sa.MetaData) -> list[Any]:
    schemas = {table.schema for table in metadata.tables.values()}
    left_out = parts(connection)

    def is_wanted(name: str | None, kind: str, _parents: object) -> bool:
        if kind == "schema":
            return name in schemas or name is None
        return kind != "table" or (name is not None and not is_own(name) and name not in left_out)

    context = MigrationContext.configure(
        connection,
        opts={
            "compare_type": _differs,
            "compare_server_default": False,
            "include_schemas": schemas != {None},
            "include_name": is_wanted,
        },
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sa.exc.SAWarning)  # tables in circles have no order; none is needed here
        return list(compare_metadata(context, metadata))


def _differs(context: MigrationContext, _there: object, _wanted: object, there: Any, wanted: Any) -> bool | None:
    same = column_types.same_type(there, wanted, context.dialect)
    return None if same is None else not same


def _by_expression(changes: list[tuple[Kind, Any, str]]) -> set[tuple[str, str | None]]:
    """Indexes on expressions, which some databases do not tell in full: of these, the name counts."""
    names = {
        kind: {
            (table, item.name)
            for other, item, table in changes
            if other is kind
            and (kind is Kind.INDEX_EXTRA or not all(isinstance(part, sa.Column) for part in item.expressions))
        }
        for kind in (Kind.INDEX_MISSING, Kind.INDEX_EXTRA)
    }
    return names[Kind.INDEX_MISSING] & names[Kind.INDEX_EXTRA]


def _is_meant(connection: sa.Connection, model: sa.Table, item: Any) -> bool:
    """Whether the model says it of this kind of database; see ``ddl_if()`` of SQLAlchemy."""
    if isinstance(item, sa.Column):
        return True
    columns = [column.name for column in item.columns]
    parts: list[Any] = [*model.constraints, *model.indexes]
    for own in parts:
        same = type(own) is type(item) and [column.name for column in own.columns] == columns
        if same and own._ddl_if is not None and own.name in (None, item.name):
            create = CreateIndex(own) if isinstance(own, sa.Index) else AddConstraint(own, isolate_from_table=False)
            return bool(own._ddl_if._should_execute(create, own, connection))
    return True


def _is_spurious(connection: sa.Connection, kind: Kind, item: Any) -> bool:
    """Whether it is an index that MariaDB keeps, since a foreign key needs one and there is no other."""
    if kind is not Kind.INDEX_EXTRA or connection.dialect.name not in _MARIADB or item.unique:
        return False
    inspector = sa.inspect(connection)
    table = item.table
    names = [column.name for column in item.columns]
    needed = [key["constrained_columns"] for key in inspector.get_foreign_keys(table.name, schema=table.schema)]
    others = [
        index["column_names"]
        for index in inspector.get_indexes(table.name, schema=table.schema)
        if index["name"] != item.name
    ]
    others.append([*inspector.get_pk_constraint(table.name, schema=table.schema)["constrained_columns"]])
    return any(
        names[: len(columns)] == columns and not any(other[: len(columns)] == columns for other in others)
        for columns in needed
    )


def _without_name(connection: sa.Connection, metadata: sa.MetaData) -> Iterator[Difference]:
    """Unique constraints of SQLite that no model has and that have no name, of which Alembic says nothing."""
    inspector = sa.inspect(connection)
    for table in metadata.tables.values():
        if is_own(table.name) or not inspector.has_table(table.name, schema=table.schema):
            continue
        own = [part for part in table.constraints if isinstance(part, sa.UniqueConstraint)]
        known = [{column.name for column in unique.columns} for unique in own]
        columns = {column.name for column in table.columns}
        for there in inspector.get_unique_constraints(table.name, schema=table.schema):
            names = there["column_names"]
            if there["name"] is None and set(names) not in known and columns.issuperset(names):
                words = f"the unique constraint on {table.fullname} ({', '.join(names)}) is no model's"
                yield judged(connection, Kind.UNIQUE_EXTRA, table.fullname, table, None, names, words)


def _by_column(connection: sa.Connection, metadata: sa.MetaData, told: list[Any]) -> Iterator[Difference]:
    """Types, nullability, defaults and primary keys of the tables and columns that both have."""
    inspector = sa.inspect(connection)
    changed = {
        (_name(change[2], change[1]), change[3]): change
        for changes in told
        if isinstance(changes, list)
        for change in changes
        if change[0] == "modify_type"
    }
    for table in metadata.tables.values():
        if is_own(table.name) or not inspector.has_table(table.name, schema=table.schema):
            continue
        keys = inspector.get_pk_constraint(table.name, schema=table.schema)["constrained_columns"]
        own = [column.name for column in table.primary_key.columns]
        if keys != own:
            words = f"the primary key of {table.fullname} is ({', '.join(keys)}), the model says ({', '.join(own)})"
            yield judged(connection, Kind.PRIMARY_KEY, table.fullname, table, table.primary_key, own, words)
        for there in inspector.get_columns(table.name, schema=table.schema):
            column = next((column for column in table.columns if column.name == there["name"]), None)
            if column is None:
                continue
            name = f"{table.fullname}.{column.name}"
            if (table.fullname, column.name) in changed:
                old, new = (column_types.text_of(kind, connection.dialect) for kind in (there["type"], column.type))
                words = f"{name} is {old}, the model says {new}"
                yield judged(connection, Kind.TYPE, table.fullname, table, (column, there), [column.name], words)
            if bool(there["nullable"]) != bool(column.nullable) and column.name not in keys and not column.primary_key:
                says = ("may be NULL", "may not be NULL")
                words = f"{name} {says[not there['nullable']]}, by the model it {says[not column.nullable]}"
                yield judged(connection, Kind.NULLABLE, table.fullname, table, (column, there), [column.name], words)
            if _default_differs(connection, column, there):
                wanted = column_types.wanted(column, connection.dialect)
                words = f"{name} has {_default(there['default'])}, the model says {_default(wanted)}"
                yield judged(connection, Kind.DEFAULT, table.fullname, table, (column, there), [column.name], words)


def _default_differs(connection: sa.Connection, column: sa.Column[Any], there: Any) -> bool:
    if column.computed is not None or column.identity is not None or there.get("computed") or there.get("identity"):
        return False
    found = there["default"]
    if found is not None and found.startswith("nextval("):
        return False  # how PostgreSQL counts
    return not column_types.same_default(found, column_types.wanted(column, connection.dialect))


def _default(text: str | None) -> str:
    return "no default" if text is None else f"the default {text}"


def _name(table: str, schema: str | None) -> str:
    return table if schema is None else f"{schema}.{table}"


def _table_of(item: Any) -> sa.Table:
    found: sa.Table = item if isinstance(item, sa.Table) else item.table
    return found


def _columns(item: Any) -> list[str]:
    if isinstance(item, sa.Table):
        return []
    return [item.name] if isinstance(item, sa.Column) else [column.name for column in item.columns]


def _words(connection: sa.Connection, kind: Kind, table: str, item: Any) -> str:
    what, _, side = kind.rpartition(" ")
    told = "is missing" if side == "missing" else "is no model's"
    if isinstance(item, sa.Table):
        number = rows(connection, item) if kind is Kind.TABLE_EXTRA else 0
        return f"the table {table} {told}{f' ({number:,} rows)' if number else ''}"
    columns = ", ".join(_columns(item))
    if isinstance(item, sa.ForeignKeyConstraint):
        others = ", ".join(element.target_fullname.rpartition(".")[2] for element in item.elements)
        target = item.elements[0].target_fullname.rpartition(".")[0]
        rule = "".join(
            f" ON {on} {does}" for on, does in (("DELETE", item.ondelete), ("UPDATE", item.onupdate)) if does
        )
        return f"the foreign key {table} ({columns}) to {target} ({others}){rule} {told}"
    if isinstance(item, sa.Index):
        return f"the {'unique ' if item.unique else ''}index {item.name} on {table} ({columns}) {told}"
    if isinstance(item, sa.Column):
        return f"the column {table}.{item.name} {told}"
    return f"the {what} on {table} ({columns}) {told}"
