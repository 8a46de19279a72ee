"""What can be typed about the request cache; what it does is imported when it is called for."""

from __future__ import annotations

from typing import Annotated

import typer

from ozelot.cli.typed import EPILOG, LOOK, Json, Yes, begin

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
    from ozelot.cli import pages

    raise typer.Exit(pages.show_info(as_json=json))


@cache.command("list", epilog=EPILOG)
def list_pages(ctx: typer.Context, pattern: Pattern = None, older_than: Age = None, json: Json = False) -> None:
    """List the pages that are kept."""
    begin(ctx)
    from ozelot.cli import pages

    raise typer.Exit(pages.show_list(pattern, older_than=older_than, as_json=json))


@cache.command(epilog=EPILOG)
def show(ctx: typer.Context, url: Url) -> None:
    """Show what is known of a page: when it came, from where, with which headers."""
    begin(ctx)
    from ozelot.cli import pages

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
    from ozelot.cli import pages

    raise typer.Exit(pages.print_page(url, xpath=xpath, refresh=refresh))


@cache.command(epilog=EPILOG)
def refresh(
    ctx: typer.Context,
    pattern: Annotated[str, typer.Argument(metavar="PATTERN", help="An address, or a pattern with * and ?.")],
    rate_limit: Annotated[float, typer.Option(min=0, help="Seconds between two requests to one server.")] = 1.0,
) -> None:
    """Ask servers whether these pages have changed, and keep those that have."""
    begin(ctx)
    from ozelot.cli import pages

    raise typer.Exit(pages.refresh(pattern, rate_limit=rate_limit))


@cache.command(epilog=EPILOG)
def clear(ctx: typer.Context, pattern: Pattern = None, older_than: Age = None, yes: Yes = False) -> None:
    """Forget pages: all, those of a pattern, or those of an age; says how many, and asks."""
    begin(ctx)
    from ozelot.cli import pages

    raise typer.Exit(pages.clear(pattern, older_than=older_than, yes=yes))


@cache.command(epilog=EPILOG)
def verify(ctx: typer.Context) -> None:
    """Look whether the file is whole, and every page in it what it was when it came."""
    begin(ctx)
    from ozelot.cli import pages

    raise typer.Exit(pages.verify())


@cache.command(epilog=EPILOG)
def readers(ctx: typer.Context, url: Url, json: Json = False) -> None:
    """List the tasks whose rows were made from a page, and whether it has changed since."""
    begin(ctx)
    from ozelot.cli import pages

    raise typer.Exit(pages.show_readers(url, as_json=json))
