"""What a database is: its schema, brought to one form, and the rows in it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ozelot.schema import column_types
from ozelot.schema.dependents import is_own


def schema_of(engine: sa.Engine) -> dict[str, Any]:
    """All tables but ozelot's own, with what can be reflected of each."""
    found = {}
    with engine.connect() as connection:
        inspector = sa.inspect(connection)
        on_mariadb = connection.dialect.name == "mysql"
        for name in inspector.get_table_names():
            if is_own(name):
                continue
            keys = [
                (tuple(key["constrained_columns"]), key["referred_table"], key["options"].get("ondelete"))
                for key in inspector.get_foreign_keys(name)
            ]
            # MariaDB makes an index of its own where a foreign key has none, and never drops it.
            made = {columns for columns, _, _ in keys} if on_mariadb else set()
            found[name] = {
                "columns": {
                    column["name"]: _column(column, connection.dialect) for column in inspector.get_columns(name)
                },
                "primary key": inspector.get_pk_constraint(name)["constrained_columns"],
                "foreign keys": sorted(keys, key=repr),
                "unique": sorted(tuple(unique["column_names"]) for unique in inspector.get_unique_constraints(name)),
                "indexes": sorted(
                    (index["name"], tuple(index["column_names"]), bool(index["unique"]))
                    for index in inspector.get_indexes(name)
                    if not index.get("duplicates_constraint")
                    and not (on_mariadb and (index["unique"] or tuple(index["column_names"]) in made))
                ),
            }
    return found


def _column(column: Any, dialect: sa.Dialect) -> tuple[str, bool, str]:
    kind = column_types.text_of(column["type"], dialect)
    return kind, column["nullable"], column_types.plain(column["default"])


def rows_of(engine: sa.Engine, metadata: sa.MetaData) -> dict[str, list[dict[str, Any]]]:
    """All rows of some tables, of those that are there, by their names."""
    with engine.connect() as connection:
        inspector = sa.inspect(connection)
        found = {}
        for name, table in metadata.tables.items():
            if not inspector.has_table(name):
                continue
            there = {column["name"] for column in inspector.get_columns(name)}
            known = [column for column in table.columns if column.name in there]
            rows = connection.execute(sa.select(*known).order_by(table.c.id)).mappings()
            found[name] = [dict(row) for row in rows]
        return found


def drop_everything(engine: sa.Engine) -> None:
    """Drop all tables but ozelot's own, and types."""
    with engine.connect() as connection:
        names = [name for name in sa.inspect(connection).get_table_names() if not is_own(name)]
        dialect = connection.dialect
        if dialect.name == "postgresql":
            if names:
                connection.exec_driver_sql(f"DROP TABLE {', '.join(names)} CASCADE")
            for enum in sa.inspect(connection).get_enums():  # type: ignore[attr-defined]
                connection.exec_driver_sql(f"DROP TYPE {enum['name']}")
        elif dialect.name == "mysql":
            connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS = 0")
            if names:
                connection.exec_driver_sql(f"DROP TABLE {', '.join(names)}")
            connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS = 1")
        else:
            driver: Any = connection.connection.driver_connection
            driver.execute("PRAGMA foreign_keys = OFF")
            for name in names:
                connection.exec_driver_sql(f"DROP TABLE {name}")
            connection.commit()
            driver.execute("PRAGMA foreign_keys = ON")
        connection.commit()
