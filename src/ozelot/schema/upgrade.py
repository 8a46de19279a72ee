"""Bringing the database to what the models say: the plan, as data to look at, and carrying it out.

On SQLite and PostgreSQL in one transaction. MariaDB commits each step: there the steps are in such an order that an
upgrade that was ended at any of them goes on when it is called again.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ozelot.clear.plan import ClearPlan
from ozelot.client import Client
from ozelot.db import sqlite_file, transaction
from ozelot.db.locks import claimed
from ozelot.errors import ClearRefused, NotClearable, RowsChanged, UpgradeRefused
from ozelot.model.base import Base, drop_tables, parents_first
from ozelot.schema import alter, dependents, sqlite_rebuild
from ozelot.schema.compare import differences
from ozelot.schema.dependents import labels_complete, mark_cleared, rebuilt_with
from ozelot.schema.difference import Difference, Kind
from ozelot.schema.feasibility import alters
from ozelot.schema.sqlite_rebuild import backup
from ozelot.state import markers as marker
from ozelot.state.lineage import alive
from ozelot.state.runs import utc_now


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
        table.fullname: dependents.rows(connection, table)
        for table in rebuilt
        if inspector.has_table(table.name, schema=table.schema)
    }
    for one in applied:
        if one.kind is Kind.TABLE_EXTRA:
            found[one.table] = dependents.rows(connection, one.item)
        elif one.kind is Kind.COLUMN_EXTRA and one.table not in names:
            schema, _, name = one.table.rpartition(".")
            table = sa.Table(name, sa.MetaData(), schema=schema or None)
            values = dependents.rows(connection, table) - dependents.nulls(connection, table, one.item.name)
            found[f"{one.table}.{one.item.name}"] = values
    return found


_CLAIM = "ozelot schema"
_ROUNDS = 3  # MariaDB: foreign keys that stand in the way are dropped, and are missing then


@dataclass(frozen=True)
class Upgraded:
    """What came of an upgrade.

    Attributes:
        left: differences that are there still.
        backup: the copy of an SQLite database as it was before.
        not_cleared: why what was to be cleared along with it was not; empty where it was.
    """

    left: tuple[Difference, ...]
    backup: Path | None = None
    not_cleared: str = ""


def apply(database: Client, planned: UpgradePlan, clearing: ClearPlan | None = None) -> Upgraded:
    """Do what a plan says; of several upgrades at once, one goes first and the others wait.

    Args:
        database: where.
        planned: made by :func:`ozelot.schema.upgrade.plan`.
        clearing: what to clear along with it, in the same transaction: what stands on tasks that are to load again.
            Where that is refused, the upgrade is done all the same.

    Raises:
        UpgradeRefused: tasks are running, the database is not what it was when the plan was made, or it does not accept
            a step. Nothing was changed then, but on MariaDB what came before that step.
    """
    if not planned.applied:
        return Upgraded(planned.left)
    marker.prepare(database.engine)
    try:
        with (
            database.engine.connect() as connection,
            claimed(connection, _CLAIM),
            sqlite_rebuild.unenforced(connection),
            transaction.on_connection(connection, changes_schema=True) as opened,
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore", sa.exc.SAWarning)  # reflection tells of what it does not know
            transaction.begin(opened.connection)
            return _apply(database, opened.connection, planned, clearing)
    except DBAPIError as exc:
        reason = str(exc.orig).strip().splitlines()[0]
        raise UpgradeRefused(f"{_outcome(database)}: the database says: {reason}") from exc


def _outcome(database: Client) -> str:
    if database.engine.dialect.name in alter.MARIADB:
        return "The upgrade stopped half-way; put right what it says, and call it again to go on"
    return "Nothing was changed"


def _apply(database: Client, connection: sa.Connection, planned: UpgradePlan, clearing: ClearPlan | None) -> Upgraded:
    with database.create_session() as session:
        running = [f"{entry.name} {entry.params}" for entry in alive(session)]
    if running:
        raise UpgradeRefused(f"Nothing was changed: {running[0]} is running; wait until it ends")
    if _again(connection, planned) != planned:
        raise UpgradeRefused("Nothing was changed: the database is not what it was a moment ago. Call it again")
    path = sqlite_file.file_of(database.url)
    copy = None if path is None else backup(path, utc_now())
    on_sqlite = connection.dialect.name == "sqlite"
    before = sqlite_rebuild.violations(connection) if on_sqlite else {}
    marker.delete(connection, planned.unmarked)
    mark_cleared(connection, planned.unmarked, planned.rebuilt)
    for _ in range(_ROUNDS):
        fresh = _again(connection, planned)
        if not fresh.applied:
            break
        _apply_once(connection, fresh)
    else:
        fresh = _again(connection, planned)
    if on_sqlite:
        sqlite_rebuild.refuse_new(connection, before)
    not_cleared = ""
    try:
        if clearing is not None:
            with database.transaction():
                clearing.apply()
                if on_sqlite:  # which enforces no keys meanwhile
                    sqlite_rebuild.refuse_new(connection, before)
    except (ClearRefused, NotClearable, RowsChanged, UpgradeRefused) as exc:
        not_cleared = str(exc)
    return Upgraded((*fresh.applied, *fresh.left), copy, not_cleared)


def _again(connection: sa.Connection, planned: UpgradePlan) -> UpgradePlan:
    return plan(connection, rebuild=planned.rebuild, drop=planned.drop, metadata=planned.metadata)


def _apply_once(connection: sa.Connection, planned: UpgradePlan) -> None:
    of_kind = _by_kind(planned)
    rebuilt = {table.fullname for table in planned.rebuilt}
    on_sqlite = connection.dialect.name == "sqlite"
    strangers = [one.item for one in of_kind[Kind.TABLE_EXTRA]]
    tables = {table.fullname: table for table in planned.metadata.tables.values()}
    copied = _copy(connection, planned) if on_sqlite else set()
    done = rebuilt | copied
    for one in of_kind[Kind.FOREIGN_KEY_EXTRA] if not on_sqlite else []:
        alter.drop(connection, one.item)
    for kind in (Kind.UNIQUE_EXTRA, Kind.INDEX_EXTRA):
        for one in of_kind[kind]:
            if one.table not in done:
                alter.drop(connection, one.item)
    for one in of_kind[Kind.COLUMN_EXTRA]:
        if one.table not in done:
            alter.drop_column(connection, tables[one.table], one.item.name)
    alter.drop_keys_of(connection, [*strangers, *_there(connection, planned.rebuilt)])
    if strangers and on_sqlite:
        alter.drop_strangers(connection, strangers)
    if planned.rebuilt:
        drop_tables(connection, planned.rebuilt)
        alter.drop_outdated_enums(connection, planned.rebuilt)
    if strangers and not on_sqlite:
        alter.drop_strangers(connection, strangers)
    for name in dict.fromkeys(one.table for one in planned.applied if one.table not in done):
        changes = [*of_kind[Kind.TYPE], *of_kind[Kind.DEFAULT], *of_kind[Kind.NULLABLE]]
        if name in tables:
            alter.alter_columns(connection, tables[name], [change for change in changes if change.table == name])
    missing = [tables[one.table] for one in of_kind[Kind.TABLE_MISSING]]
    if missing or planned.rebuilt:
        planned.metadata.create_all(connection, tables=list({*missing, *planned.rebuilt}))
    for one in of_kind[Kind.COLUMN_MISSING]:
        if one.table not in done:
            table = tables[one.table]
            column = next(column for column in table.columns if column.name == one.item.name)
            alter.add_column(connection, table, column)
    for kind in (Kind.UNIQUE_MISSING, Kind.INDEX_MISSING, Kind.FOREIGN_KEY_MISSING):
        for one in of_kind[kind]:
            if one.table not in done:
                alter.add(connection, one.item)


def _by_kind(planned: UpgradePlan) -> dict[Kind, list[Difference]]:
    return {kind: [one for one in planned.applied if one.kind is kind] for kind in Kind}


def _there(connection: sa.Connection, tables: Sequence[sa.Table]) -> list[sa.Table]:
    inspector = sa.inspect(connection)
    return [table for table in tables if inspector.has_table(table.name, schema=table.schema)]


def _copy(connection: sa.Connection, planned: UpgradePlan) -> set[str]:
    """Copy the tables of SQLite that cannot be altered; returns their names."""
    tables = {table.fullname: table for table in planned.metadata.tables.values()}
    names = [name for name in planned.copied if not all(alters(one) for one in planned.applied if one.table == name)]
    for name in names:
        of_table = [one for one in planned.applied if one.table == name]
        without = [str(one.item.name) for one in of_table if one.kind is Kind.COLUMN_EXTRA]
        dropped = [str(one.item.name) for one in of_table if one.kind is Kind.INDEX_EXTRA]
        sqlite_rebuild.copy_table(connection, tables[name], without, dropped)
    return set(names)
