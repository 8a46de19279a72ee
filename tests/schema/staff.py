"""Two tables with rows, whose models tests change."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ozelot.client import Client
from ozelot.schema.compare import differences
from ozelot.schema.difference import Difference
from ozelot.schema.upgrade import Upgraded, apply, plan


def staff(*more: Any, unit: dict[str, Any] | None = None, employee: dict[str, Any] | None = None) -> sa.MetaData:
    """The tables of a model.

    Args:
        *more: constraints and indexes of ``employee``.
        unit: columns to put in place of those of ``unit``, by name; None: there is none.
        employee: the same of ``employee``.
    """
    metadata = sa.MetaData()
    units: dict[str, Any] = {
        "id": sa.Column("id", sa.Integer, primary_key=True),
        "name": sa.Column("name", sa.String(20), nullable=False),
        "town": sa.Column("town", sa.String(20)),
    }
    employees: dict[str, Any] = {
        "id": sa.Column("id", sa.Integer, primary_key=True),
        "name": sa.Column("name", sa.String(20), nullable=False),
        "wage": sa.Column("wage", sa.Integer),
        "unit_id": sa.Column("unit_id", sa.ForeignKey("unit.id", name="fk_unit"), nullable=False, index=True),
    }
    tables = {"unit": {**units, **(unit or {})}, "employee": {**employees, **(employee or {})}}
    for name, columns in tables.items():
        kept = [column for column in columns.values() if column is not None]
        parts: list[Any] = [*more] if name == "employee" else []
        sa.Table(name, metadata, *kept, *parts)
    return metadata


ROWS: dict[str, list[tuple[Any, ...]]] = {
    "unit": [(1, "Research", "Rome"), (2, "Sales", None)],
    "employee": [(1, "Ada", 10, 1), (2, "Bob", None, 2), (3, "Ada", 30, 2)],
}


def create(database: Client, metadata: sa.MetaData | None = None) -> None:
    """Create the tables as they were, and fill them."""
    metadata = metadata or staff()
    with database.engine.begin() as connection:
        metadata.create_all(connection)
        for name in ("unit", "employee"):
            columns = [column.name for column in metadata.tables[name].columns]
            for row in ROWS[name]:
                connection.execute(sa.insert(metadata.tables[name]).values(dict(zip(columns, row, strict=False))))


def contents(database: Client) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of the tables, in the order of the columns as they were."""
    with database.engine.connect() as connection:
        return {
            name: [tuple(row) for row in connection.execute(sa.text(f"SELECT {columns} FROM {name} ORDER BY id"))]
            for name, columns in (("unit", "id, name, town"), ("employee", "id, name, wage, unit_id"))
        }


def compared(database: Client, metadata: sa.MetaData) -> list[Difference]:
    """In what a model differs from the database."""
    with database.engine.connect() as connection:
        return differences(connection, metadata)


def upgrade(database: Client, metadata: sa.MetaData, **options: bool) -> Upgraded:
    """Bring the database to what a model says."""
    with database.engine.connect() as connection:
        planned = plan(connection, metadata=metadata, **options)
    return apply(database, planned)
