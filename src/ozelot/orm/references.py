"""Foreign keys as they are in the database, and rows that refer to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from ozelot.orm.base import Base


@dataclass(frozen=True)
class Dangling:
    """Rows that refer to rows that are not there.

    Attributes:
        table: where they are.
        columns: by which columns they refer, as text.
        refers_to: the table where the others should be.
        count: how many they are.
    """

    table: str
    columns: str
    refers_to: str
    count: int


def dangling(connection: sa.Connection) -> list[Dangling]:
    """What refers to nothing, by the foreign keys of the database and by those of the models."""
    found = []
    for table, columns, target, others in sorted(_keys(connection)):
        child = sa.table(table, *(sa.column(name) for name in columns)).alias("child")
        parent = sa.table(target, *(sa.column(name) for name in others)).alias("parent")
        same = [child.c[own] == parent.c[other] for own, other in zip(columns, others, strict=True)]
        missing = ~sa.exists().where(*same).select_from(parent).correlate(child)
        query = sa.select(sa.func.count()).select_from(child)
        number = connection.scalar(query.where(*(child.c[name].is_not(None) for name in columns), missing))
        if number:
            found.append(Dangling(table, ", ".join(columns), target, number))
    return found


def _keys(connection: sa.Connection) -> set[tuple[str, tuple[str, ...], str, tuple[str, ...]]]:
    inspector = sa.inspect(connection)
    there = set(inspector.get_table_names())
    found = {
        (table, tuple(key["constrained_columns"]), key["referred_table"], tuple(key["referred_columns"]))
        for (_, table), keys in inspector.get_multi_foreign_keys().items()
        for key in keys
        if key["referred_schema"] is None and key["referred_table"] in there and key["referred_columns"]
    }
    return found | {key for key in _keys_of_models() if key[0] in there and key[2] in there}


def _keys_of_models() -> Iterator[tuple[str, tuple[str, ...], str, tuple[str, ...]]]:
    for table in Base.metadata.tables.values():
        for key in table.foreign_key_constraints:
            own = tuple(element.parent.name for element in key.elements)
            yield table.name, own, key.referred_table.name, tuple(element.column.name for element in key.elements)
