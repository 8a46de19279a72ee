"""``ozelot db``: creating and dropping the tables of all models."""

from __future__ import annotations

import sqlalchemy as sa

from ozelot.cli.asking import confirm
from ozelot.cli.database import connected, name_of, why_not_kept
from ozelot.cli.importing import import_models
from ozelot.cli.output import how_many, listed, say, show_table
from ozelot.client import Client
from ozelot.errors import ClearRefused, ConfigError, ExitCode
from ozelot.etl.unrecorded import unrecorded_rows
from ozelot.orm.base import Base
from ozelot.orm.history import alive
from ozelot.orm.target import OWN_TABLES
from ozelot.words import amounts

_OWN = {table.name for table in OWN_TABLES}


def init(*, drop_first: bool, yes: bool) -> ExitCode:
    """Create all tables that are missing; on request, after dropping those that are there."""
    import_models()
    database = connected(may_create=True)
    if (why := why_not_kept(database)) is not None:
        raise ConfigError(f"Nothing was created: {why}")
    if drop_first:
        _drop(database, yes=yes)
    missing = missing_tables(database)
    Base.create_all(database)
    if missing:
        say(f"Created {_named(missing)} in {name_of(database)}")
    else:
        say(f"All tables are there already in {name_of(database)}")
    with database.engine.connect() as connection:
        if unrecorded := unrecorded_rows(connection):
            say(f"Rows that no run wrote: {amounts(unrecorded)}. They are kept; see the how-to on existing databases")
    return ExitCode.OK


def drop(*, yes: bool) -> ExitCode:
    """Drop all tables of the models, with all rows and all that is known about runs."""
    import_models()
    database = connected()
    if not _drop(database, yes=yes):
        say(f"There is no table to drop in {name_of(database)}")
    return ExitCode.OK


def _named(names: list[str]) -> str:
    """Tables by their names, but for ozelot's own."""
    theirs = [name for name in names if name not in _OWN]
    own = len(names) - len(theirs)
    told = [f"{how_many(len(theirs), 'table')} ({listed(theirs, limit=20)})"] if theirs else []
    return " and ".join([*told, *([f"{own} of ozelot's own"] if own else [])])


def missing_tables(database: Client) -> list[str]:
    """The names of tables of models that are not in the database."""
    return sorted(set(Base.metadata.tables).difference(sa.inspect(database.engine).get_table_names()))


def rows_by_table(database: Client) -> dict[str, int]:
    """How many rows each table of a model has, of those that are there."""
    with database.engine.connect() as connection:
        there = set(sa.inspect(connection).get_table_names())
        return {
            table.name: connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
            for name, table in sorted(Base.metadata.tables.items())
            if name in there
        }


def refuse_while_running(database: Client, outcome: str = "Nothing was dropped") -> None:
    """Return where no run is under way whose runner lives.

    Raises:
        ClearRefused: there is one.
    """
    with database.create_session() as session:
        running = [f"{entry.name} {entry.params} ({entry.host}, process {entry.process})" for entry in alive(session)]
    if running:
        raise ClearRefused(f"{outcome}: {listed(running, limit=3)} is running; wait until it ends")


def _drop(database: Client, *, yes: bool) -> int:
    rows = rows_by_table(database)
    if rows:
        refuse_while_running(database)
        say(f"To be dropped in {name_of(database)}, with all rows:")
        told = [(name, f"{number:,}") for name, number in rows.items() if name not in _OWN]
        own = [number for name, number in rows.items() if name in _OWN]
        told += [(f"ozelot's own ({len(own)})", f"{sum(own):,}")] if own else []
        show_table(("table", "rows"), told, right=("rows",))
        confirm(f"Drop {how_many(len(rows), 'table')}?", yes=yes)
        refuse_while_running(database)  # it may have begun meanwhile
        Base.drop_all(database)
        say(f"Dropped {how_many(len(rows), 'table')}")
    return len(rows)
