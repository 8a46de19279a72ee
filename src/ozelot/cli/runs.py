"""What can be typed about the runs of the past; what it does is imported when it is called for."""

from __future__ import annotations

from typing import Annotated

import typer

from ozelot.cli.groups import ShowsByDefault
from ozelot.cli.typed import EPILOG, LOOK, Json, Yes, begin

history = typer.Typer(cls=ShowsByDefault, help="Show the runs of the past, or forget old ones.", **LOOK)


@history.command(epilog=EPILOG)
def show(
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
