"""The tables of the models that a test is about.

A model counts as soon as it is imported, and one process of pytest imports those of all tests: to create the tables of
all of them, for each test anew, takes MariaDB longer than all else that the tests ask of it.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ozelot.client import Client
from ozelot.model.base import table_of
from ozelot.orm.base import Base
from ozelot.state import markers
from ozelot.state.markers import OWN_TABLES

_OWN = set(OWN_TABLES)


def create_tables(database: Client, *models: Any) -> None:
    """Create the package's own tables and those of some models.

    Args:
        database: where.
        *models: models or tables; those that they refer to, or that refer to them, come along.
    """
    wanted = {getattr(model, "__table__", model) for model in models}
    size = 0
    while len(wanted) > size:
        size = len(wanted)
        for table in Base.metadata.tables.values():
            for key in table.foreign_key_constraints:
                pair = {table, key.referred_table}
                if pair & wanted and not pair & _OWN:
                    wanted |= pair
    with database.engine.begin() as connection:
        Base.metadata.create_all(connection, tables=[*_OWN, *wanted])


def create_only(database: Client, *models: type[Base]) -> None:
    """Create the table of markers and those of some models, and no others."""
    markers.prepare(database.engine)
    with database.engine.begin() as connection:
        Base.metadata.create_all(connection, [table_of(model) for model in models])


def count_rows(database: Client, table: Any) -> int:
    """The number of rows of a table, given as a model, as a table or by its name."""
    found = sa.table(table) if isinstance(table, str) else getattr(table, "__table__", table)
    with database.engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(found)) or 0


def count_rows_each(database: Client, *tables: Any) -> list[int]:
    """The number of rows of each of some tables."""
    return [count_rows(database, table) for table in tables]
