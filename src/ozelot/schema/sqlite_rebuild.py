"""Changing a table of SQLite, which alters next to nothing in place: a new one is made, and the rows are copied.

As https://www.sqlite.org/lang_altertable.html says, within a transaction, with foreign keys not enforced meanwhile.
"""

from __future__ import annotations

import contextlib
import datetime
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import sqlalchemy as sa

from ozelot.errors import UpgradeRefused

_OLD = "ozelot_old_{}"


@contextmanager
def unenforced(connection: sa.Connection) -> Iterator[None]:
    """Let SQLite neither enforce foreign keys nor change what refers to a table that gets another name.

    Args:
        connection: not in a transaction yet, where SQLite would not listen.
    """
    driver = connection.connection.driver_connection
    if not isinstance(driver, sqlite3.Connection):
        yield
        return
    driver.execute("PRAGMA foreign_keys = OFF")
    driver.execute("PRAGMA legacy_alter_table = ON")
    try:
        yield
    finally:
        driver.execute("PRAGMA legacy_alter_table = OFF")
        driver.execute("PRAGMA foreign_keys = ON")


def violations(connection: sa.Connection) -> dict[tuple[str, str], int]:
    """How many rows of a table refer to rows of another one that are not there."""
    found: dict[tuple[str, str], int] = {}
    for table, _, target, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        found[table, target] = found.get((table, target), 0) + 1
    return found


def refuse_new(connection: sa.Connection, before: dict[tuple[str, str], int]) -> None:
    """Make sure that no row refers to nothing that did not so before.

    Raises:
        UpgradeRefused: there are such rows; the transaction must be rolled back.
    """
    for (table, target), number in sorted(violations(connection).items()):
        if number > before.get((table, target), 0):
            raise UpgradeRefused(
                f"Nothing was changed: {number:,} rows of {table} would refer to rows of {target} that are not there"
            )


def copy_table(connection: sa.Connection, table: sa.Table, without: Collection[str], dropped: Collection[str]) -> None:
    """Make the table of a model anew, and copy all rows into it.

    Args:
        connection: in a transaction, foreign keys not enforced.
        table: of the model.
        without: columns that go; others that no model has are kept.
        dropped: names of indexes that go; others are kept.
    """
    inspector = sa.inspect(connection)
    there = [column["name"] for column in inspector.get_columns(table.name)]
    generated = {column["name"] for column in inspector.get_columns(table.name) if column.get("computed")}
    own = {column.name for column in table.columns if column.computed is None}
    kept = [name for name in there if name not in {column.name for column in table.columns} and name not in without]
    made = {index.name for index in table.indexes} | {*dropped}
    made |= {i["name"] for i in inspector.get_indexes(table.name) if not set(without).isdisjoint(i["column_names"])}
    query = sa.text("SELECT type, name, sql FROM sqlite_master WHERE tbl_name = :name AND sql IS NOT NULL")
    parts = [part for part in connection.execute(query, {"name": table.name}) if part.type in ("index", "trigger")]
    counted = _counted(connection, table)
    quote = connection.dialect.identifier_preparer.quote
    old = quote(_OLD.format(table.name))
    for kind, name, _ in parts:
        connection.exec_driver_sql(f"DROP {kind} {quote(name)}")
    connection.exec_driver_sql(f"ALTER TABLE {quote(table.name)} RENAME TO {old}")
    if kept:
        _with_columns(connection, table, kept).create(connection)
    else:
        table.create(connection)
    names = ", ".join(quote(name) for name in there if name in own - generated or name in kept)
    connection.exec_driver_sql(f"INSERT INTO {quote(table.name)} ({names}) SELECT {names} FROM {old}")  # noqa: S608
    connection.exec_driver_sql(f"DROP TABLE {old}")
    for kind, name, sql in parts:
        if kind == "trigger" or name not in made:
            connection.exec_driver_sql(sql)
    if counted is not None:
        update = sa.text("UPDATE sqlite_sequence SET seq = max(seq, :number) WHERE name = :name")
        connection.execute(update, {"number": counted, "name": table.name})


def _counted(connection: sa.Connection, table: sa.Table) -> int | None:
    """The highest id that was ever given, where SQLite remembers it."""
    if not sa.inspect(connection).dialect.has_table(connection, "sqlite_sequence"):
        return None
    query = sa.text("SELECT seq FROM sqlite_sequence WHERE name = :name")
    return cast("int | None", connection.scalar(query, {"name": table.name}))


def _with_columns(connection: sa.Connection, table: sa.Table, names: Collection[str]) -> sa.Table:
    """The table of a model with more columns, as they are in the database, and the references that they make."""
    metadata = sa.MetaData()
    for other in table.metadata.tables.values():
        other.to_metadata(metadata)
    found = metadata.tables[table.key]
    there = sa.Table(_OLD.format(table.name), sa.MetaData(), autoload_with=connection, resolve_fks=False)
    for name in names:
        column = there.c[name]
        found.append_column(
            sa.Column(name, column.type, nullable=column.nullable, server_default=column.server_default)
        )
    for key in there.foreign_key_constraints:
        own = [element.parent.name for element in key.elements]
        target = key.elements[0].target_fullname.rpartition(".")[0]
        if not set(own).isdisjoint(names) and set(own) <= {column.name for column in found.columns}:
            others = [element.target_fullname.rpartition(".")[2] for element in key.elements]
            if target not in metadata.tables:
                sa.Table(target, metadata, *(sa.Column(other) for other in others))
            found.append_constraint(
                sa.ForeignKeyConstraint(own, [f"{target}.{other}" for other in others], ondelete=key.ondelete)
            )
    for unique in [found for found in there.constraints if isinstance(found, sa.UniqueConstraint)]:
        columns = [column.name for column in unique.columns]
        if not set(columns).isdisjoint(names):
            found.append_constraint(sa.UniqueConstraint(*columns))
    return found


def backup(path: Path, now: datetime.datetime) -> Path:
    """Copy what is committed in an SQLite database.

    Args:
        path: of the database.
        now: the time that the name of the copy tells.

    Returns:
        The path of the copy, beside the database.

    Raises:
        UpgradeRefused: it cannot be written.
    """
    name = f"{path.stem}-before-{now:%Y%m%d-%H%M%S}"
    number = 1
    copy = path.with_name(f"{name}{path.suffix}")
    while copy.exists():
        number += 1
        copy = path.with_name(f"{name}-{number}{path.suffix}")
    unfinished = copy.with_name(f"{copy.name}.part")
    try:
        with (
            contextlib.closing(sqlite3.connect(path)) as source,
            contextlib.closing(sqlite3.connect(unfinished)) as target,
        ):
            source.backup(target)
        unfinished.replace(copy)
    except (sqlite3.Error, OSError) as exc:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise UpgradeRefused(f"Nothing was changed: no backup could be written to {copy} ({exc})") from exc
    return copy
