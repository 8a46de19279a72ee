"""The database that a command is about."""

from __future__ import annotations

import contextlib

from sqlalchemy.exc import DBAPIError

from ozelot import client, server_settings, sqlite, url
from ozelot.client import Client
from ozelot.errors import DatabaseUnavailable, OzelotError, TableMissing
from ozelot.limits import TakesTooLong, is_over_the_limit, limit_statements
from ozelot.orm import damage
from ozelot.schema import lacking

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
        path = sqlite.file_of(found.url)
        raise DatabaseUnavailable(
            f"There is no database file {path}: create it with 'ozelot db init', or name another with --database"
        )
    if seconds is not None:
        limit_statements(found.engine, seconds)
    found.check_connection()
    with found.engine.connect() as connection:
        if views := damage.views(connection):
            raise DatabaseUnavailable(
                f"{views[0]} in {name_of(found)} is a view, but ozelot keeps its state in a table of that name: drop "
                "or rename the view, or name another database with --database"
            )
    return found


def why_not_kept(database: Client) -> str | None:
    """Why tables cannot be made here for other commands, and what to do; None where they can."""
    if not sqlite.is_in_memory(database.url):
        return None
    name = name_of(database)
    return f"{name} is in memory, and gone when this command ends: name a file, as in --database sqlite:///NAME.db"


def is_there(database: Client) -> bool:
    """Whether the database is not just an SQLite file that does not exist."""
    path = sqlite.file_of(database.url)
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
        if not exc.connection_invalidated and (lacks := lacking.behind(connection, exc)):
            return TableMissing(f"{told}: {lacking.told(connection, lacks)}")
    what_to_do = server_settings.advice(exc.orig, sqlite.file_of(found.url))
    return DatabaseUnavailable(f"{told}: {what_to_do}" if what_to_do else told)


def _damage_behind(exc: Exception) -> OzelotError | None:
    """What is wrong with a value in ozelot's own tables, where that may be why the error was raised."""
    found = client.current_client()
    if found is None or not isinstance(exc, ValueError | TypeError | AttributeError | LookupError | ArithmeticError):
        return None
    with contextlib.suppress(DBAPIError), found.engine.connect() as connection:
        if told := damage.first_value(connection):
            return DatabaseUnavailable(
                f"{told}, in {name_of(found)}. Correct or delete that row, or name another database with --database"
            )
    return None
