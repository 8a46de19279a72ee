"""What tasks need and the database has not: a look at some tables, at what makes SQL fail and nothing else.

All in which models and database differ is told by :func:`ozelot.schema.compare.differences`, which takes longer.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import ReflectedColumn
from sqlalchemy.engine.reflection import ObjectKind
from sqlalchemy.exc import DBAPIError, IntegrityError

from ozelot.db.sqlite_file import is_in_memory
from ozelot.errors import NotClearable, TableMissing
from ozelot.model.base import Base, names_there
from ozelot.pipeline.declarations import created_models, declaration, is_orm_task, updated_columns
from ozelot.rows.selection import tables_of
from ozelot.schema.dependents import is_own

_MOST = 3  # that are named
_LONGEST = 20_000  # characters of a statement in which tables are looked for


@dataclass(frozen=True)
class Lack:
    """Something for which SQL fails.

    Attributes:
        table: the full name of the table.
        column: the column; empty where there is no such table.
        is_left: whether the column is there, of no model, and takes no row without a value.
    """

    table: str
    column: str = ""
    is_left: bool = False

    @property
    def name(self) -> str:
        """``the table unit``, ``the column unit.height``."""
        return f"the column {self.table}.{self.column}" if self.column else f"the table {self.table}"

    def __str__(self) -> str:
        return f"{self.name} is {'of no model, and takes no row without a value' if self.is_left else 'missing'}"


def needed(tasks: Iterable[Any]) -> dict[sa.Table, bool]:
    """The tables that tasks say to fill, and whether they make rows in them; as quick as there are few classes."""
    found: dict[sa.Table, bool] = {}
    seen = set()
    for task in tasks:
        if not is_orm_task(task) or (kind := declaration(task)) in seen:
            continue
        seen.add(kind)
        for table in tables_of(created_models(task)):
            found[table] = True
        with suppress(NotClearable):  # which is said where it is to be cleared
            for column in updated_columns(task):
                found.setdefault(column.table, False)
    return found


def lacks(connection: sa.Connection, tables: dict[sa.Table, bool]) -> list[Lack]:
    """For what SQL on these tables would fail, by their names; asks about all tables of a schema at once.

    Args:
        connection: to the database.
        tables: and whether rows are to be made in them.
    """
    inspector = sa.inspect(connection)
    found: list[Lack] = []
    fold = str if connection.dialect.name == "postgresql" else str.casefold  # the others look for names in any case
    for schema in {table.schema for table in tables}:
        wanted = {fold(table.name): table for table in tables if table.schema == schema}
        names = [*inspector.get_table_names(schema), *inspector.get_view_names(schema)] if wanted else []
        names = [name for name in names if fold(name) in wanted]
        there: dict[str, Collection[ReflectedColumn]] = {}
        if names:
            reflected = inspector.get_multi_columns(schema, filter_names=names, kind=ObjectKind.ANY)
            there = {fold(name): columns for (_, name), columns in reflected.items()}
        for name, table in wanted.items():
            if name in there:
                found += _by_column(table, {fold(column["name"]): column for column in there[name]}, fold, tables)
            elif not inspector.has_table(table.name, schema=schema):  # it may be in another schema of the search path
                found.append(Lack(table.fullname))
    return sorted(found, key=lambda lack: (lack.table, lack.column))


def _by_column(
    table: sa.Table, there: dict[str, ReflectedColumn], fold: Any, makes_rows: dict[sa.Table, bool]
) -> Iterable[Lack]:
    own = {fold(column.name) for column in table.columns}
    for column in table.columns:
        if not column.system and fold(column.name) not in there:
            yield Lack(table.fullname, column.name)
    for name, reflected in there.items():
        if makes_rows[table] and name not in own and _takes_no_row_without(reflected):
            yield Lack(table.fullname, reflected["name"], is_left=True)


def _takes_no_row_without(column: ReflectedColumn) -> bool:
    fills_itself = column.get("autoincrement") is True or column.get("computed") or column.get("identity")
    return not column["nullable"] and column["default"] is None and not fills_itself


def in_words(found: Collection[Lack]) -> str:
    """What is lacking, in one line: the first where there is much."""
    more = f" and {len(found) - _MOST:,} more" if len(found) > _MOST else ""
    return ", ".join(str(lack) for lack in list(found)[:_MOST]) + more


def command(connection: sa.Connection, found: Collection[Lack] = ()) -> str:
    """The command that makes what is lacking: ``ozelot db init`` where there is no table of a model at all."""
    models = {table.name for table in Base.metadata.tables.values() if not is_own(table.name)}
    if models.isdisjoint(names_there(connection)):
        return "ozelot db init"
    return "ozelot db upgrade --drop" if any(lack.is_left for lack in found) else "ozelot db upgrade"


def how_to_upgrade(connection: sa.Connection, tasks: Iterable[Any]) -> str:
    """What these tasks lack, and what to do, in one line; empty where nothing is."""
    found = lacks(connection, needed(tasks))
    return told(connection, found) if found else ""


def told(connection: sa.Connection, found: Collection[Lack]) -> str:
    """What is lacking, and what to do."""
    return f"{in_words(found)}. Bring the database to what the models say: {command(connection, found)}"


def refuse_lacks(connection: sa.Connection, tasks: Iterable[Any]) -> None:
    """Make sure that tasks, once cleared, can be loaded again as far as their tables go.

    Args:
        connection: to the database.
        tasks: those that are to be cleared or run, and all upstream of them, whose tables they may read.

    Raises:
        TableMissing: a table or a column is not there.
    """
    if how := how_to_upgrade(connection, tasks):
        raise TableMissing(f"Nothing was cleared, as a run would fail: {how}")


def behind(connection: sa.Connection, exc: DBAPIError) -> list[Lack]:
    """What is lacking of that which an error of the database names."""
    said = str(exc.orig)
    text = f"{said} {(exc.statement or '')[:_LONGEST]}"
    tables = {table: True for table in Base.metadata.tables.values() if _names(table.name, text)}
    return [lack for lack in lacks(connection, tables) if _names(lack.column or lack.table.split(".")[-1], said)]


def explained(label: str, exc: DBAPIError, engine: sa.Engine) -> TableMissing | None:
    """What a task lacks, where that is what an error of its database is about.

    Args:
        label: of the task.
        exc: the error.
        engine: of the database.
    """
    with engine.connect() as connection:
        found = behind(connection, exc)
        if isinstance(exc, IntegrityError):  # the tables are there; its text has the words of SQL, which may be names
            found = [lack for lack in found if lack.is_left]
        if not found:
            return None
        how = f"'{command(connection, found)}'"
    if found[0].is_left:
        return TableMissing(
            f"{label} makes rows, but {in_words(found)}: bring the database to what the models say with {how}"
        )
    if is_in_memory(engine.url):
        how = "in this process, with Base.create_all(get_client()), as the database is in memory"
    elif how.endswith("init'"):
        how = f"once, with {how} or Base.create_all(get_client())"
    else:
        how = f"with {how}"
    make = "add it" if found[0].column else "create the tables of all models"
    names = ", ".join(lack.name for lack in found[:_MOST])
    return TableMissing(f"{label} needs {names}, which is not in the database: {make} {how}")


def _names(name: str, text: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", text) is not None
