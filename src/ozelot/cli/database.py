"""The database that a command is about."""

from __future__ import annotations

import contextlib
import datetime
import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ozelot import client
from ozelot.client import Client
from ozelot.db import server_errors, sqlite_file, url
from ozelot.db.time_limit import TakesTooLong, is_over_the_limit, limit_statements
from ozelot.errors import DatabaseUnavailable, OzelotError, TableMissing
from ozelot.schema import requirements
from ozelot.state.inputs import fingerprints
from ozelot.state.markers import OWN_TABLES

_SHOWN = 40  # characters of a value
_EXPECTED = {str: "text", int: "an integer", datetime.datetime: "a date and time", dict: "a JSON object"}


def _state_views(connection: sa.Connection) -> list[str]:
    """The names of ozelot's own tables that are views; asks the catalog only, since a view may never end."""
    return sorted({table.name for table in OWN_TABLES}.intersection(sa.inspect(connection).get_view_names()))


def first_value(connection: sa.Connection) -> str | None:
    """The first value in ozelot's own tables that its column does not allow: where, what is expected, what is found."""
    inspector = sa.inspect(connection)
    there = set(inspector.get_table_names())
    for table in OWN_TABLES:
        if table.name in there:
            names = {column["name"] for column in inspector.get_columns(table.name)}
            if found := _first_in(connection, table, [column for column in table.columns if column.name in names]):
                return found
    return None


def _first_in(connection: sa.Connection, table: sa.Table, columns: list[sa.Column[Any]]) -> str | None:
    raw = [sa.type_coerce(column, sa.types.NullType()).label(f"c{place}") for place, column in enumerate(columns)]
    for row in connection.execute(sa.select(*raw)) if raw else ():
        for column, value in zip(columns, row, strict=True):
            expected = _expected(connection, column, value)
            if expected is not None:
                keys = [f"{c.name} {v!r}"[:_SHOWN] for c, v in zip(columns, row, strict=True) if c.primary_key]
                where = f" in the row with {', '.join(keys)}" if keys and not column.primary_key else ""
                return f"{table.name}.{column.name} expects {expected}; it holds {_shown(value)}{where}"
    return None


def _expected(connection: sa.Connection, column: sa.Column[Any], value: Any) -> str | None:
    """What a column expects where the value is something else; else None."""
    kind = dict if column is fingerprints.c.parts else column.type.python_type
    if value is None:
        return None if column.nullable else f"{_EXPECTED[kind]}, not NULL"
    try:
        if kind is dict:
            value = json.loads(value)
        else:
            process = column.type.dialect_impl(connection.dialect).result_processor(connection.dialect, None)
            value = process(value) if process is not None else value
    except (ValueError, TypeError, OverflowError):
        return _EXPECTED[kind]
    return None if isinstance(value, kind) else _EXPECTED[kind]


def _shown(value: object) -> str:
    text = repr(value[:_SHOWN] if isinstance(value, str | bytes) else value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


#: Seconds that one statement may take: in a command that reads what runs recorded, and in one that counts rows.
TO_READ, TO_COUNT = 60.0, 3600.0


def connected(*, may_create: bool = False, seconds: float | None = None) -> Client:
    """The configured database, after a first look at it.

    Args:
        seconds: the limit for each statement; None: no limit.
        may_create: whether an SQLite file that does not exist is to be made. Opening it would make an empty one, and
            a report on that would only hide that its name was mistyped.

    Raises:
        DatabaseUnavailable: there is no connection, or no such file, or a view takes the place of a table of ozelot.
    """
    found = client.get_client()
    if not may_create and not is_there(found):
        path = sqlite_file.file_of(found.url)
        raise DatabaseUnavailable(
            f"There is no database file {path}: create it with 'ozelot db init', or name another with --database"
        )
    if seconds is not None:
        limit_statements(found.engine, seconds)
    found.check_connection()
    with found.engine.connect() as connection:
        if views := _state_views(connection):
            raise DatabaseUnavailable(
                f"{views[0]} in {name_of(found)} is a view, but ozelot keeps its state in a table of that name: drop "
                "or rename the view, or name another database with --database"
            )
    return found


def why_not_kept(database: Client) -> str | None:
    """Why tables cannot be made here for other commands, and what to do; None where they can."""
    if not sqlite_file.is_in_memory(database.url):
        return None
    name = name_of(database)
    return f"{name} is in memory, and gone when this command ends: name a file, as in --database sqlite:///NAME.db"


def is_there(database: Client) -> bool:
    """Whether the database is not just an SQLite file that does not exist."""
    path = sqlite_file.file_of(database.url)
    return path is None or path.exists()


def name_of(database: Client) -> str:
    """How to name the database to a user: its URL, without what is secret in it."""
    return url.hide_password(database.url)


def error_from(exc: Exception) -> OzelotError | None:
    """What the database said, in one line, where that is what the error is about."""
    if not isinstance(exc, DBAPIError):
        return _damage_behind(exc)
    found = client.get_client()
    said = str(exc.orig).strip().splitlines() or [type(exc).__name__]
    told = url.without_password(found.url, said[0])
    if is_over_the_limit(exc.orig):
        return TakesTooLong(
            f"The database {name_of(found)} takes too long to answer ({told}): another program may hold a lock, or one "
            "of its views does not end. Look at its tables, or name another database with --database"
        )
    told = f"The database {name_of(found)} says: {told}"
    with contextlib.suppress(DBAPIError), found.engine.connect() as connection:
        if not exc.connection_invalidated and (lacks := requirements.behind(connection, exc)):
            return TableMissing(f"{told}: {requirements.told(connection, lacks)}")
    what_to_do = server_errors.advice(exc.orig, sqlite_file.file_of(found.url))
    return DatabaseUnavailable(f"{told}: {what_to_do}" if what_to_do else told)


def _damage_behind(exc: Exception) -> OzelotError | None:
    """What is wrong with a value in ozelot's own tables, where that may be why the error was raised."""
    found = client.current_client()
    if found is None or not isinstance(exc, ValueError | TypeError | AttributeError | LookupError | ArithmeticError):
        return None
    with contextlib.suppress(DBAPIError), found.engine.connect() as connection:
        if told := first_value(connection):
            return DatabaseUnavailable(
                f"{told}, in {name_of(found)}. Correct or delete that row, or name another database with --database"
            )
    return None
