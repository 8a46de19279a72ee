"""What is typed for ``cache``, ``db``, ``diagram`` and ``history``; what they do is imported when it is called for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ozelot.cli.options import EPILOG, LOOK, Json, ShowsByDefault, Yes, begin

cache = typer.Typer(no_args_is_help=True, help="Look into the request cache, refresh it, clear it.", **LOOK)

Url = Annotated[str, typer.Argument(metavar="URL", help="The address, as it was asked for.")]
Pattern = Annotated[
    str | None, typer.Argument(metavar="PATTERN", help="An address, or a pattern such as 'https://wiki.example/*'.")
]
Age = Annotated[
    str | None, typer.Option("--older-than", metavar="AGE", help="Only what is older than, say, 30d, 12h or 90m.")
]


@cache.command(epilog=EPILOG)
def info(ctx: typer.Context, json: Json = False) -> None:
    """Show where the cache is, how large, and how many pages of which servers it holds."""
    begin(ctx)
    from ozelot.cli import cache as pages

    raise typer.Exit(pages.show_info(as_json=json))


@cache.command("list", epilog=EPILOG)
def list_pages(ctx: typer.Context, pattern: Pattern = None, older_than: Age = None, json: Json = False) -> None:
    """List the pages that are kept."""
    begin(ctx)
    from ozelot.cli import cache as pages

    raise typer.Exit(pages.show_list(pattern, older_than=older_than, as_json=json))


@cache.command(epilog=EPILOG)
def show(ctx: typer.Context, url: Url) -> None:
    """Show what is known of a page: when it came, from where, with which headers."""
    begin(ctx)
    from ozelot.cli import cache as pages

    raise typer.Exit(pages.show_page(url))


@cache.command(epilog=EPILOG)
def get(
    ctx: typer.Context,
    url: Url,
    xpath: Annotated[str | None, typer.Option(help="Only the first node at this xpath.")] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Ask the web, whatever is kept.")] = False,
) -> None:
    """Print a page; one that is not kept is fetched."""
    begin(ctx)
    from ozelot.cli import cache as pages

    raise typer.Exit(pages.print_page(url, xpath=xpath, refresh=refresh))


@cache.command(epilog=EPILOG)
def refresh(
    ctx: typer.Context,
    pattern: Annotated[str, typer.Argument(metavar="PATTERN", help="An address, or a pattern with * and ?.")],
    rate_limit: Annotated[float, typer.Option(min=0, help="Seconds between two requests to one server.")] = 1.0,
) -> None:
    """Ask servers whether these pages have changed, and keep those that have."""
    begin(ctx)
    from ozelot.cli import cache as pages

    raise typer.Exit(pages.refresh(pattern, rate_limit=rate_limit))


@cache.command(epilog=EPILOG)
def clear(ctx: typer.Context, pattern: Pattern = None, older_than: Age = None, yes: Yes = False) -> None:
    """Forget pages: all, those of a pattern, or those of an age; says how many, and asks."""
    begin(ctx)
    from ozelot.cli import cache as pages

    raise typer.Exit(pages.clear(pattern, older_than=older_than, yes=yes))


@cache.command(epilog=EPILOG)
def verify(ctx: typer.Context) -> None:
    """Look whether the file is whole, and every page in it what it was when it came."""
    begin(ctx)
    from ozelot.cli import cache as pages

    raise typer.Exit(pages.verify())


@cache.command(epilog=EPILOG)
def readers(ctx: typer.Context, url: Url, json: Json = False) -> None:
    """List the tasks whose rows were made from a page, and whether it has changed since."""
    begin(ctx)
    from ozelot.cli import cache as pages

    raise typer.Exit(pages.show_readers(url, as_json=json))


db = typer.Typer(no_args_is_help=True, help="Create, compare, upgrade or drop the tables of all models.", **LOOK)


@db.command(epilog=EPILOG)
def init(
    ctx: typer.Context,
    drop: Annotated[bool, typer.Option("--drop", help="Drop all tables first; shows them, and asks.")] = False,
    yes: Yes = False,
) -> None:
    """Create the tables of all models, where they are missing."""
    begin(ctx)
    from ozelot.cli import db as tables

    raise typer.Exit(tables.init(drop_first=drop, yes=yes))


@db.command("drop", epilog=EPILOG)
def drop_tables(ctx: typer.Context, yes: Yes = False) -> None:
    """Drop the tables of all models, with all rows; shows them, and asks."""
    begin(ctx)
    from ozelot.cli import db as tables

    raise typer.Exit(tables.drop(yes=yes))


@db.command("status", epilog=EPILOG)
def compare_tables(ctx: typer.Context, json: Json = False) -> None:
    """Show in what models and database differ, and what it takes to apply that; changes nothing."""
    begin(ctx)
    from ozelot.cli import db as schema

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
    from ozelot.cli import db as schema

    raise typer.Exit(schema.upgrade(rebuild=rebuild, drop=drop, yes=yes))


diagram = typer.Typer(no_args_is_help=True, help="Draw the pipeline or the data model.", **LOOK)

Out = Annotated[Path | None, typer.Option(metavar="BASE", help="Path of the files, without their endings.")]


Mermaid = Annotated[bool, typer.Option("--mermaid", help="Print it as Mermaid text, as for a README, instead.")]


@diagram.command("pipeline", epilog=EPILOG)
def draw_pipeline(
    ctx: typer.Context,
    out: Out = None,
    mermaid: Mermaid = False,
    by_class: Annotated[bool, typer.Option("--by-class", help="A box for all tasks of a class.")] = False,
    by_depth: Annotated[bool, typer.Option("--by-depth", help="Tasks as far from the sources in one row.")] = False,
    around: Annotated[
        str | None, typer.Option(metavar="TASK", help="This task, what it requires, and what requires it.")
    ] = None,
) -> None:
    """Draw the tasks and what they require, by their state."""
    begin(ctx)
    from ozelot.cli import diagrams

    raise typer.Exit(diagrams.draw_pipeline(out, mermaid, by_class=by_class, by_depth=by_depth, around=around))


@diagram.command("schema", epilog=EPILOG)
def draw_schema(ctx: typer.Context, out: Out = None, mermaid: Mermaid = False) -> None:
    """Draw the tables of all models and what they refer to."""
    begin(ctx)
    from ozelot.cli import diagrams

    raise typer.Exit(diagrams.draw_schema(out, mermaid))


history = typer.Typer(cls=ShowsByDefault, help="Show the runs of the past, or forget old ones.", **LOOK)


@history.command("show", epilog=EPILOG)
def show_runs(
    ctx: typer.Context,
    task: Annotated[
        str | None, typer.Argument(metavar="TASK", help="Class, Class(name=value), or a task as it is printed.")
    ] = None,
    last: Annotated[int | None, typer.Option(min=1, help="So many runs at most.")] = None,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Also where in the code each failure came from.")
    ] = False,
    json: Json = False,
) -> None:
    """Show the runs of the past, newest first; 'show' need not be typed."""
    begin(ctx)
    from ozelot.cli import history as past

    raise typer.Exit(past.show_runs(task, last=last, tracebacks=traceback, as_json=json))


@history.command(epilog=EPILOG)
def prune(
    ctx: typer.Context,
    keep: Annotated[int, typer.Option(min=0, help="How many runs of each task to keep.")],
    yes: Yes = False,
) -> None:
    """Delete the records of old runs; says how many, and asks. What they loaded stays."""
    begin(ctx)
    from ozelot.cli import history as past

    raise typer.Exit(past.prune(keep, yes=yes))
