"""What a pipeline made of a database, in a form that two databases can be compared in.

Numbers that the database hands out, times and processes differ from run to run; they are left out, and a reference is
replaced by what it refers to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from ozelot.orm.base import Base
from ozelot.orm.run import Run
from ozelot.orm.target import ORMTargetMarker
from ozelot.state.runs import run_edge

Contents = dict[str, Counter[tuple[Any, ...]]]


class _Reader:
    """Reads the tables of one database, each once."""

    def __init__(self, connection: sa.Connection, without: Collection[str]) -> None:
        self._connection = connection
        self._without = {"id", *without}
        self._known: dict[str, dict[Any, tuple[Any, ...]]] = {}

    def rows(self, table: sa.Table) -> dict[Any, tuple[Any, ...]]:
        """The rows by their id, as they can be compared."""
        if table.name not in self._known:
            found = self._connection.execute(sa.select(table)).mappings().all()
            self._known[table.name] = {row["id"]: self._told(table, row) for row in found}
        return self._known[table.name]

    def _told(self, table: sa.Table, row: sa.RowMapping) -> tuple[Any, ...]:
        if table.name == Run.__tablename__:
            return row["name"], row["params"]
        told: list[Any] = []
        for column in table.columns:
            if column.name not in self._without:
                value = row[column.name]
                for key in column.foreign_keys if value is not None else ():
                    value = self.rows(key.column.table)[value]
                told.append((column.name, value))
        return tuple(told)


def contents(engine: sa.Engine, models: Collection[type[Base]], *, without: Collection[str] = ()) -> Contents:
    """All rows of some models, all markers, all runs that are done, and what these were built on.

    Args:
        engine: of the database.
        models: whose tables.
        without: columns to leave out, besides each ``id``.
    """
    with engine.connect() as connection:
        reader = _Reader(connection, without)
        found = {model.__tablename__: Counter(reader.rows(model.__table__).values()) for model in models}  # type: ignore[arg-type]
        markers = sa.select(ORMTargetMarker.name, ORMTargetMarker.params, ORMTargetMarker.key)
        runs = sa.select(Run.name, Run.params, Run.rows).where(Run.state == "done")
        upper, lower = sa.orm.aliased(Run), sa.orm.aliased(Run)
        edges = (
            sa.select(upper.name, upper.params, lower.name, lower.params)
            .select_from(run_edge)
            .join(upper, upper.id == run_edge.c.run_id)
            .join(lower, lower.id == run_edge.c.built_on_id)
            .where(upper.state == "done", lower.state == "done")
        )
        for name, query in {"markers": markers, "runs": runs, "built on": edges}.items():
            found[name] = Counter(tuple(row) for row in connection.execute(query))
        return found
