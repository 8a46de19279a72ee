"""What an upgrade would do, as data to look at; only :func:`ozelot.schema.upgrade.apply` acts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from ozelot.orm.base import Base, parents_first
from ozelot.schema import reading
from ozelot.schema.comparing import differences
from ozelot.schema.differences import Difference, Kind
from ozelot.schema.filling import labels_complete, rebuilt_with


@dataclass(frozen=True)
class UpgradePlan:
    """What an upgrade would do.

    Attributes:
        metadata: the tables of the models.
        rebuild: whether tables may be made anew.
        drop: whether may go what no model has.
        applied: the differences that it would take away.
        left: those that need an option that was not given.
        rebuilt: the tables to be made anew, in order of creation.
        lost: how many rows each of these has, and how many rows and values there are in what is dropped.
        unmarked: the labels of the tasks that fill these tables, by the keys of their markers, which go.
    """

    metadata: sa.MetaData
    rebuild: bool
    drop: bool
    applied: tuple[Difference, ...]
    left: tuple[Difference, ...]
    rebuilt: tuple[sa.Table, ...]
    lost: dict[str, int]
    unmarked: dict[str, str]

    @property
    def copied(self) -> list[str]:
        """The tables that differ in what is applied, and are not made anew."""
        rebuilt = {table.fullname for table in self.rebuilt}
        return list(dict.fromkeys(one.table for one in self.applied if one.table not in rebuilt))


def plan(
    connection: sa.Connection, *, rebuild: bool = False, drop: bool = False, metadata: sa.MetaData = Base.metadata
) -> UpgradePlan:
    """What an upgrade would do now; changes nothing.

    Args:
        connection: to the database.
        rebuild: let it make tables anew where their rows cannot be kept, for their tasks to load again.
        drop: let it drop tables and columns that no model has.
        metadata: the tables of the models.
    """
    found = differences(connection, metadata)
    wanted = [one for one in found if (rebuild or not one.takes.rebuilds) and (drop or not one.takes.drops)]
    by_name = {table.fullname: table for table in metadata.tables.values()}
    roots = [by_name[one.table] for one in wanted if one.takes.rebuilds]
    rebuilt = parents_first(rebuilt_with(roots))[0] if roots else []
    names = {table.fullname for table in rebuilt}
    applied = [one for one in found if one in wanted or one.table in names]
    left = [one for one in found if one not in applied]
    return UpgradePlan(
        metadata=metadata,
        rebuild=rebuild,
        drop=drop,
        applied=tuple(applied),
        left=tuple(left),
        rebuilt=tuple(rebuilt),
        lost=_lost(connection, rebuilt, applied, names),
        unmarked=labels_complete(connection, rebuilt),
    )


def _lost(
    connection: sa.Connection, rebuilt: Sequence[sa.Table], applied: Sequence[Difference], names: set[str]
) -> dict[str, int]:
    inspector = sa.inspect(connection)
    found = {
        table.fullname: reading.rows(connection, table)
        for table in rebuilt
        if inspector.has_table(table.name, schema=table.schema)
    }
    for one in applied:
        if one.kind is Kind.TABLE_EXTRA:
            found[one.table] = reading.rows(connection, one.item)
        elif one.kind is Kind.COLUMN_EXTRA and one.table not in names:
            schema, _, name = one.table.rpartition(".")
            table = sa.Table(name, sa.MetaData(), schema=schema or None)
            values = reading.rows(connection, table) - reading.nulls(connection, table, one.item.name)
            found[f"{one.table}.{one.item.name}"] = values
    return found
