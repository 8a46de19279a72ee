"""Statements: those that a client executes are recorded, others are executed past the models."""

from __future__ import annotations

import sqlalchemy as sa

from ozelot.client import Client


def recorded_statements(database: Client) -> list[str]:
    """A list to which each statement is appended that a client executes from now on."""
    found: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        found.append(statement)

    sa.event.listen(database.engine, "before_cursor_execute", note)
    return found


def execute(database: Client, *statements: str) -> None:
    """Execute statements in one transaction, as whoever knows no models does it."""
    with database.engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def drop_columns(database: Client, *columns: str) -> None:
    """Leave a database as it was before its models got some columns, each given as ``table.column``."""
    execute(database, *(f"ALTER TABLE {column.replace('.', ' DROP COLUMN ')}" for column in columns))
