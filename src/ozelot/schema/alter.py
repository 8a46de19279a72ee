"""Changing a table where it is: one statement a step, as PostgreSQL, MariaDB and, as far as it goes, SQLite do it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import AddConstraint, CreateIndex, DropIndex

from ozelot.schema import column_types
from ozelot.schema.difference import Difference, Kind

MARIADB = ("mysql", "mariadb")


def execute(connection: sa.Connection, statement: str) -> None:
    """Execute SQL that was put together by SQLAlchemy's compilers, which escape for the driver."""
    connection.exec_driver_sql(statement)


def quoted(connection: sa.Connection, table: sa.Table, name: str | None = None) -> str:
    """A table, or another name, as it stands in SQL."""
    preparer = connection.dialect.identifier_preparer
    return preparer.format_table(table) if name is None else preparer.quote(name)


def add_column(connection: sa.Connection, table: sa.Table, column: sa.Column[Any]) -> None:
    """Add a column of a model, without constraints."""
    kind: Any = column.type.dialect_impl(connection.dialect)
    if isinstance(kind, postgresql.ENUM):
        kind.create(connection, checkfirst=True)
    execute(connection, f"ALTER TABLE {quoted(connection, table)} ADD COLUMN {_specification(connection, column)}")


def alter_columns(connection: sa.Connection, table: sa.Table, changes: Iterable[Difference]) -> None:
    """Give columns the type, the nullability and the default that their model says."""
    by_column: dict[str, list[Difference]] = {}
    for change in changes:
        by_column.setdefault(change.item[0].name, []).append(change)
    for name, of_column in by_column.items():
        column: sa.Column[Any] = of_column[0].item[0]
        if connection.dialect.name in MARIADB:
            if any(change.kind is Kind.TYPE for change in of_column):
                free(connection, table, [name])
            execute(connection, f"ALTER TABLE {quoted(connection, table)} MODIFY {_specification(connection, column)}")
            for change in of_column:
                if change.kind is Kind.TYPE:
                    _shorten_floats(connection, table, column, change.item[1]["type"])
            continue
        for change in of_column:
            for action in _actions(connection, table, column, change):
                execute(connection, action)


def _shorten_floats(connection: sa.Connection, table: sa.Table, column: sa.Column[Any], before: Any) -> None:
    """Let floats that were of single precision be what they stood for: 0.1, not 0.10000000149011612.

    Each becomes the number with the fewest digits, but six, that single precision cannot tell from it.
    """
    dialect = connection.dialect
    if not column_types.is_single(before, dialect) or column_types.is_single(column.type, dialect):
        return
    quoted_table, name = quoted(connection, table), quoted(connection, table, column.name)
    places = column_types.places_of(before, dialect)
    exponent = f"FLOOR(LOG10(ABS({name})))"
    half = f"POW(2, FLOOR(LOG2(ABS({name}))) - 24)"  # of the distance to the next float
    numbers = [
        f"CONCAT(ROUND({name} / POW(10, {exponent}), {digits - 1}), 'e', {exponent}) + 0e0" for digits in range(6, 10)
    ]
    cases = " ".join(f"WHEN ABS({number} - {name}) < {half} THEN {number}" for number in numbers)
    value = f"CASE {cases} ELSE {name} END" if places is None else f"ROUND({name}, {places})"
    touched = connection.exec_driver_sql(f"SHOW COLUMNS FROM {quoted_table} WHERE Extra LIKE '%%on update%%'")
    kept = [quoted(connection, table, row[0]) for row in touched]
    others = "".join(f", {other} = {other}" for other in kept)  # else MariaDB sets them to the current time
    execute(connection, f"UPDATE {quoted_table} SET {name} = {value}{others} WHERE {name} <> 0")  # noqa: S608 - quoted


def _actions(connection: sa.Connection, table: sa.Table, column: sa.Column[Any], change: Difference) -> list[str]:
    name = quoted(connection, table, column.name)
    alter = f"ALTER TABLE {quoted(connection, table)} ALTER COLUMN {name}"
    if change.kind is Kind.NULLABLE:
        return [f"{alter} {'DROP' if column.nullable else 'SET'} NOT NULL"]
    if change.kind is Kind.DEFAULT:
        default = column_types.wanted(column, connection.dialect)
        told = "DROP DEFAULT" if default is None else f"SET DEFAULT {default.replace('%', '%%')}"
        return [f"{alter} {told}"]
    there = column_types.enum_values(change.item[1]["type"], connection.dialect)
    values = column_types.enum_values(column.type, connection.dialect)
    if there is not None and values is not None:
        kind: Any = column.type.dialect_impl(connection.dialect)
        type_name = cast(Any, connection.dialect.identifier_preparer).format_type(kind)
        return [_value_added(connection, type_name, values, value) for value in values if value not in there]
    wanted = column.type.compile(connection.dialect)
    actions = [f"{alter} TYPE {wanted}"]
    found = sa.select(sa.func.pg_get_serial_sequence(quoted(connection, table), column.name))
    if wanted == "BIGINT" and (sequence := connection.scalar(found)):
        actions.append(f"ALTER SEQUENCE {sequence} AS BIGINT")
    return actions


def _value_added(connection: sa.Connection, type_name: str, values: list[str], value: str) -> str:
    def literal(text: str) -> str:
        return "'" + text.replace("'", "''").replace("%", "%%") + "'"

    position = values.index(value)
    where = (
        f" AFTER {literal(values[position - 1])}" if position else f" BEFORE {literal(values[1])}" if values[1:] else ""
    )
    return f"ALTER TYPE {type_name} ADD VALUE IF NOT EXISTS {literal(value)}{where}"


def add(connection: sa.Connection, item: Any) -> None:
    """Add an index, a unique constraint or a foreign key."""
    if isinstance(item, sa.Index):
        connection.execute(CreateIndex(item))
    else:
        connection.execute(AddConstraint(item, isolate_from_table=False))


def drop(connection: sa.Connection, item: Any) -> None:
    """Drop an index, a unique constraint or a foreign key."""
    on_mariadb = connection.dialect.name in MARIADB
    table = item.table
    if on_mariadb and not isinstance(item, sa.ForeignKeyConstraint):
        free(connection, table, [column.name for column in item.columns])
    if isinstance(item, sa.Index):
        connection.execute(DropIndex(item))
        return
    kind = "CONSTRAINT"
    if on_mariadb:
        kind = "FOREIGN KEY" if isinstance(item, sa.ForeignKeyConstraint) else "INDEX"
    name = quoted(connection, table, str(item.name))
    execute(connection, f"ALTER TABLE {quoted(connection, table)} DROP {kind} {name}")


def drop_column(connection: sa.Connection, table: sa.Table, name: str) -> None:
    """Drop a column, with all keys and indexes that it is part of."""
    if connection.dialect.name in MARIADB:
        free(connection, table, [name])
        inspector = sa.inspect(connection)
        for index in inspector.get_indexes(table.name, schema=table.schema):
            if name in index["column_names"]:
                told = quoted(connection, table, str(index["name"]))
                execute(connection, f"ALTER TABLE {quoted(connection, table)} DROP INDEX {told}")
    execute(connection, f"ALTER TABLE {quoted(connection, table)} DROP COLUMN {quoted(connection, table, name)}")


def free(connection: sa.Connection, table: sa.Table, columns: Collection[str]) -> None:
    """Drop all foreign keys from and to these columns: MariaDB changes nothing that a key needs."""
    for (schema, holder), keys in sa.inspect(connection).get_multi_foreign_keys().items():
        for key in keys:
            own = holder == table.name and not set(columns).isdisjoint(key["constrained_columns"])
            to_it = key["referred_table"] == table.name and not set(columns).isdisjoint(key["referred_columns"])
            if (own or to_it) and key["name"]:
                other = sa.Table(holder, sa.MetaData(), schema=schema)
                told = quoted(connection, other, key["name"])
                execute(connection, f"ALTER TABLE {quoted(connection, other)} DROP FOREIGN KEY {told}")


def drop_strangers(connection: sa.Connection, tables: Collection[sa.Table]) -> None:
    """Drop tables that are no models, also where they refer to each other."""
    names = ", ".join(quoted(connection, table) for table in tables)
    if connection.dialect.name == "postgresql":
        execute(connection, f"DROP TABLE {names}")
    elif connection.dialect.name in MARIADB:
        execute(connection, "SET FOREIGN_KEY_CHECKS = 0")
        try:
            execute(connection, f"DROP TABLE {names}")
        finally:
            execute(connection, "SET FOREIGN_KEY_CHECKS = 1")
    else:
        for table in tables:
            execute(connection, f"DROP TABLE {quoted(connection, table)}")


def drop_keys_of(connection: sa.Connection, tables: Collection[sa.Table]) -> None:
    """Drop the foreign keys that tables hold, before what they refer to goes."""
    if connection.dialect.name == "sqlite":
        return  # they are not enforced meanwhile
    kind = "FOREIGN KEY" if connection.dialect.name in MARIADB else "CONSTRAINT"
    inspector = sa.inspect(connection)
    for table in tables:
        for key in inspector.get_foreign_keys(table.name, schema=table.schema):
            name = quoted(connection, table, str(key["name"]))
            execute(connection, f"ALTER TABLE {quoted(connection, table)} DROP {kind} {name}")


def drop_outdated_enums(connection: sa.Connection, tables: Collection[sa.Table]) -> None:
    """Drop types of PostgreSQL that have other values than the models say, once nothing uses them."""
    if connection.dialect.name != "postgresql":
        return
    wanted = {
        column_types.enum_name(column.type, connection.dialect): column_types.enum_values(
            column.type, connection.dialect
        )
        for table in tables
        for column in table.columns
    }
    for found in sa.inspect(connection).get_enums():  # type: ignore[attr-defined]
        values = wanted.get(found["name"])
        if values is not None and set(values) != set(found["labels"]):
            execute(connection, f"DROP TYPE {connection.dialect.identifier_preparer.quote(found['name'])}")


def _specification(connection: sa.Connection, column: sa.Column[Any]) -> str:
    compiler = cast(Any, connection.dialect.ddl_compiler)(connection.dialect, None)
    text: str = compiler.get_column_specification(column)
    return text
