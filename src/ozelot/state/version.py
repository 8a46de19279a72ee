"""The version of ozelot's own tables, which the database says."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from ozelot.errors import DatabaseNewer
from ozelot.model.base import Base
from ozelot.state.runs import runs

log = logging.getLogger(__name__)

#: What this ozelot reads and writes. Version 0 is that of databases that have no table for it.
VERSION = 1

_YEARS = 100_000_000  # seconds: the most that MariaDB takes

versions = sa.Table("ozelot_version", Base.metadata, sa.Column("version", sa.Integer, primary_key=True))


def version_of(connection: sa.Connection) -> int:
    """The version that a database says; changes nothing.

    Raises:
        DatabaseNewer: a later ozelot wrote it.
    """
    if not sa.inspect(connection).has_table(versions.name):
        return 0
    found = connection.scalar(sa.select(sa.func.max(versions.c.version))) or 0
    if found > VERSION:
        raise DatabaseNewer(
            f"A later ozelot brought the database to version {found}; this one knows version {VERSION}: install the "
            "later one here, too, with 'pip install --upgrade ozelot'"
        )
    return found


def has_runs(connection: sa.Connection) -> bool:
    """Whether the tables of runs are there, as this ozelot knows them; changes nothing."""
    return version_of(connection) == VERSION


def lock(connection: sa.Connection) -> None:
    """Wait until no other transaction that clears is open, and keep others waiting until this one ends.

    What one deletes, another has in its plan, too: having waited for rows of the first, its statements would find some
    of what that has loaded anew, and not the rest. SQLite has one writer at a time anyway.
    """
    query = sa.select(versions.c.version)
    if _can_skip(connection.dialect):
        if connection.execute(query.with_for_update(skip_locked=True)).first() is not None:
            return
        log.warning("Waiting until another transaction that clears has ended, as of 'ozelot run --refresh --atomic'")
    with _all_the_time(connection):
        connection.execute(query.with_for_update()).close()


def _can_skip(dialect: sa.Dialect) -> bool:
    """Whether the database can pass over what another transaction holds; MariaDB learned it late."""
    return not getattr(dialect, "is_mariadb", False) or (dialect.server_version_info or ()) >= (10, 6)


@contextmanager
def _all_the_time(connection: sa.Connection) -> Iterator[None]:
    """Have MariaDB wait for a lock as PostgreSQL does: for as long as it takes, not 50 seconds."""
    if connection.dialect.name not in ("mysql", "mariadb"):
        yield
        return
    seconds = connection.scalar(sa.text("SELECT @@SESSION.innodb_lock_wait_timeout"))
    connection.execute(sa.text(f"SET SESSION innodb_lock_wait_timeout = {_YEARS}"))
    try:
        yield
    finally:
        with suppress(DBAPIError):  # the connection may be what broke
            connection.execute(sa.text(f"SET SESSION innodb_lock_wait_timeout = {int(seconds)}"))


def stamp(connection: sa.Connection) -> None:
    """Say that the tables are those of this ozelot."""
    versions.create(connection, checkfirst=True)
    if connection.scalar(sa.select(sa.func.max(versions.c.version))) != VERSION:
        _stamp(connection)


def _stamp(connection: sa.Connection) -> None:
    connection.execute(sa.delete(versions))
    connection.execute(sa.insert(versions).values(version=VERSION))


@event.listens_for(versions, "after_create")
def _created(_table: sa.Table, connection: sa.Connection, **_kwargs: Any) -> None:
    inspector = sa.inspect(connection)
    there = {column["name"] for column in inspector.get_columns(runs.name)} if inspector.has_table(runs.name) else None
    if there is None or there.issuperset(runs.columns.keys()):  # else they are still to be brought up to date
        _stamp(connection)
