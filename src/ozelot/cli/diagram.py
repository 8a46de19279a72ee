"""What can be typed about diagrams; what it does is imported when it is called for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ozelot.cli.typed import EPILOG, LOOK, begin

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
