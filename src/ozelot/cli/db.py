"""What can be typed about the tables of all models; what it does is imported when it is called for."""

from __future__ import annotations

from typing import Annotated

import typer

from ozelot.cli.typed import EPILOG, LOOK, Json, Yes, begin

db = typer.Typer(no_args_is_help=True, help="Create, compare, upgrade or drop the tables of all models.", **LOOK)


@db.command(epilog=EPILOG)
def init(
    ctx: typer.Context,
    drop: Annotated[bool, typer.Option("--drop", help="Drop all tables first; shows them, and asks.")] = False,
    yes: Yes = False,
) -> None:
    """Create the tables of all models, where they are missing."""
    begin(ctx)
    from ozelot.cli import tables

    raise typer.Exit(tables.init(drop_first=drop, yes=yes))


@db.command("drop", epilog=EPILOG)
def drop_tables(ctx: typer.Context, yes: Yes = False) -> None:
    """Drop the tables of all models, with all rows; shows them, and asks."""
    begin(ctx)
    from ozelot.cli import tables

    raise typer.Exit(tables.drop(yes=yes))


@db.command("status", epilog=EPILOG)
def compare_tables(ctx: typer.Context, json: Json = False) -> None:
    """Show in what models and database differ, and what it takes to apply that; changes nothing."""
    begin(ctx)
    from ozelot.cli import schema

    raise typer.Exit(schema.show_differences(as_json=json))


@db.command(epilog=EPILOG)
def upgrade(
    ctx: typer.Context,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Make tables anew whose rows cannot be kept, to be loaded again.")
    ] = False,
    drop: Annotated[bool, typer.Option("--drop", help="Drop tables and columns that no model has.")] = False,
    yes: Yes = False,
) -> None:
    """Bring the database to what the models say, with the data kept.

    Shows what would be done, and asks. On SQLite a copy of the database is made first.
    """
    begin(ctx)
    from ozelot.cli import schema

    raise typer.Exit(schema.upgrade(rebuild=rebuild, drop=drop, yes=yes))
