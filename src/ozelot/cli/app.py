"""What can be typed: all commands with their options. What they do is imported when it is called for."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, TextIO

import typer

import ozelot
from ozelot.cli.command_groups import cache, db, diagram, history
from ozelot.cli.options import EPILOG as _EPILOG
from ozelot.cli.options import LOOK as _LOOK
from ozelot.cli.options import IncludeUnrecorded, Json, OptionsAnywhere, Yes
from ozelot.cli.options import begin as _begin
from ozelot.cli.output import visible
from ozelot.errors import ExitCode, OzelotError, UsageError

_INTERRUPTED = 130  # what shells report of a program that Ctrl-C ended
_BROKEN_PIPE = 141  # likewise, of one whose output nobody wants any more

app = typer.Typer(cls=OptionsAnywhere, no_args_is_help=True, **{**_LOOK, "add_completion": True})
app.add_typer(db, name="db")
app.add_typer(cache, name="cache")
app.add_typer(diagram, name="diagram")

Task = Annotated[
    str | None,
    typer.Argument(metavar="TASK", help="A task of the pipeline: Class or Class(name=value). Default: all."),
]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ozelot {ozelot.__version__}")
        raise typer.Exit


@app.callback()
def options(
    ctx: typer.Context,
    pipeline: Annotated[
        str | None,
        typer.Option(metavar="MODULE:CLASS", help="The pipeline; default: PIPELINE in project_config.py."),
    ] = None,
    database: Annotated[
        str | None, typer.Option(metavar="URL", help="The database; default: DATABASE_URL in project_config.py.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show all log lines, those of Luigi, too.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Ask nobody on the web; what is not kept fails.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Run a pipeline, see what is complete, and clear what is to be loaded again.

    Options of ozelot itself may stand before or behind the command.
    """
    ctx.obj = (pipeline, database, verbose, offline)


@app.command()
def new(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The folder to make; its package is called so, too.")],
    example: Annotated[
        str | None,
        typer.Option(metavar="EXAMPLE", help="Copy employees, flights, leonardo or superheroes instead."),
    ] = None,
) -> None:
    """Make a project to begin with.

    A small one of models, a pipeline, a check and tests, which runs at once; or a copy of an example.
    """
    _refuse_others(ctx)
    from ozelot.cli import new

    raise typer.Exit(new.new(name, example=example))


@app.command()
def demo(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The folder to make.")] = "ozelot_demo",
) -> None:
    """Make a project, run it, and show its status."""
    _refuse_others(ctx)
    from ozelot.cli import new

    raise typer.Exit(new.demo(name))


def _refuse_others(ctx: typer.Context) -> None:
    """A new project has a pipeline and a database of its own."""
    if any(ctx.obj):
        raise UsageError(
            "A new project has a pipeline and a database of its own: leave out the options of ozelot itself"
        )


@app.command(epilog=_EPILOG)
def run(
    ctx: typer.Context,
    task: Task = None,
    workers: Annotated[int | None, typer.Option(min=1, help="How many tasks run at a time; default: 1.")] = None,
    processes: Annotated[bool, typer.Option("--processes", help="Run tasks in processes, not in threads.")] = False,
    dask: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Run tasks on a Dask cluster: tcp://scheduler:8786.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="End a task that takes longer; with --processes.")
    ] = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Begin nothing more once a task failed.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Clear TASK and what stands on it first, and load it again; asks.")
    ] = False,
    refresh: Annotated[
        bool,
        typer.Option("--refresh", help="Clear what is stale, with what stands on it, and load it again; asks."),
    ] = False,
    atomic: Annotated[
        bool, typer.Option("--atomic", help="With these two: in one transaction, that readers see at its end or never.")
    ] = False,
    include_unrecorded: IncludeUnrecorded = False,
    yes: Yes = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show failures and the result only.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON object for each event, and nothing else.")] = False,
) -> None:
    """Run what is not complete.

    A task, or all of the pipeline, with everything upstream.
    """
    _begin(ctx, tells_little=quiet)
    from ozelot.cli import run

    options = run.Options(
        workers=workers,
        processes=processes,
        dask=dask,
        timeout=timeout,
        keep_going=not fail_fast,
        force=force,
        refresh=refresh,
        atomic=atomic,
        include_unrecorded=include_unrecorded,
        yes=yes,
        quiet=quiet,
        json=json,
    )
    raise typer.Exit(run.run(task, options))


@app.command(epilog=_EPILOG)
def status(
    ctx: typer.Context,
    task: Task = None,
    json: Json = False,
    each: Annotated[bool, typer.Option("--all", help="Show each task of a class that has many.")] = False,
) -> None:
    """Show what is complete and what is not, and why.

    With --database and no pipeline: what the database alone can tell.
    """
    _begin(ctx)
    from ozelot.cli import status as state

    without_pipeline = ctx.obj[1] is not None
    raise typer.Exit(state.show_status(task, as_json=json, each=each, without_pipeline=without_pipeline))


@app.command(epilog=_EPILOG)
def plan(
    ctx: typer.Context,
    task: Task = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Show what 'run --refresh' would clear and run.")] = False,
    json: Json = False,
) -> None:
    """Show what a run would run; changes nothing.

    Also shows what clearing all that is pending would delete.
    """
    _begin(ctx)
    from ozelot.cli import clear as clearing

    show = clearing.show_refresh if refresh else clearing.show_plan
    raise typer.Exit(show(task, as_json=json))


@app.command(epilog=_EPILOG)
def why(
    ctx: typer.Context,
    task: Annotated[str, typer.Argument(metavar="TASK", help="A task: Class or Class(name=value).")],
    json: Json = False,
) -> None:
    """Show why a task is in its state, and what it is made of.

    Its code, its inputs and its tables; what of that has changed since it ran, and what could not be followed.
    """
    _begin(ctx)
    from ozelot.cli import status as staleness

    raise typer.Exit(staleness.show_why(task, as_json=json))


@app.command(epilog=_EPILOG)
def accept(
    ctx: typer.Context,
    tasks: Annotated[
        list[str], typer.Argument(metavar="TASK", help="Tasks: Class (all of that class) or Class(name=value).")
    ],
) -> None:
    """Mark tasks as up to date with today's code and tables, without loading them again.

    For changes that change no result. What is stale by a changed input, or a requirement that ran again, stays stale.
    """
    _begin(ctx)
    from ozelot.cli import status as staleness

    raise typer.Exit(staleness.accept(tasks))


@app.command(epilog=_EPILOG)
def clear(
    ctx: typer.Context,
    tasks: Annotated[
        list[str], typer.Argument(metavar="TASK", help="Tasks: Class (all of that class) or Class(name=value).")
    ],
    only: Annotated[bool, typer.Option("--only", help="Leave what is downstream of them.")] = False,
    include_unrecorded: IncludeUnrecorded = False,
    yes: Yes = False,
) -> None:
    """Delete what tasks loaded, to load it again.

    Everything downstream of them goes, too. Shows what would go, and asks.
    """
    _begin(ctx)
    from ozelot.cli import clear as clearing

    raise typer.Exit(clearing.clear(tasks, only=only, yes=yes, include_unrecorded=include_unrecorded))


@app.command(epilog=_EPILOG)
def verify(ctx: typer.Context, task: Task = None, json: Json = False) -> None:
    """Look for what does not fit together: markers, runs and rows."""
    _begin(ctx)
    from ozelot.cli import status as state

    raise typer.Exit(state.show_findings(task, as_json=json))


@app.command(epilog=_EPILOG)
def ui(
    ctx: typer.Context,
    host: Annotated[str, typer.Option(help="Where to listen; beyond this machine only with --token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0: any that is free.")] = 8421,
    token: Annotated[str | None, typer.Option(help="What has to be known to be answered; new: make one.")] = None,
) -> None:
    """Serve a page that shows the pipeline, its runs and its data; it changes nothing.

    Without a pipeline: what the database alone can tell.
    """
    _begin(ctx)
    from ozelot.cli import ui

    raise typer.Exit(ui.serve(host, port, token))


app.add_typer(history, name="history")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command ``ozelot``.

    Args:
        arguments: what was typed; by default what the shell handed over.

    Raises:
        SystemExit: always, with one of :class:`ozelot.errors.ExitCode`, 130 after Ctrl-C, or 141 where nobody reads
            the output any more.
    """
    gc.set_threshold(50_000, 10, 10)  # to look at all of a large graph again and again takes a quarter of the time
    out = sys.stdout
    given = sys.argv[1:] if arguments is None else list(arguments)
    as_json = "--json" in (given[: given.index("--")] if "--" in given else given)
    try:
        with _errors_in_one_line(as_json=as_json):
            if as_json:
                sys.exit(app(given, prog_name="ozelot", standalone_mode=False) or 0)
            app(given, prog_name="ozelot")
    except SystemExit as exc:
        if exc.code == _INTERRUPTED:
            typer.echo("Interrupted", err=True)
        if sys.stdout is not out or _is_broken(out):  # Typer puts a wrapper around what nobody reads any more
            sys.exit(_BROKEN_PIPE)
        raise


def _is_broken(out: TextIO) -> bool:
    try:
        out.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())  # else Python complains at its very end
        return True
    return False


@contextmanager
def _errors_in_one_line(*, as_json: bool) -> Iterator[None]:
    """What was raised for users, and what a database said, is one line; anything else is a bug, with a traceback.

    With ``--json``, an error is one JSON document on stdout instead of the line; that of a bug is there as well.
    """
    try:
        yield
    except Exception as exc:
        error: Exception | None = exc
        if not isinstance(exc, OzelotError) and "sqlalchemy" in sys.modules:
            from ozelot.cli import database

            error = database.error_from(exc)
        if as_json and hasattr(exc, "format_message"):  # of the command line, which Typer else shows by itself
            code = getattr(exc, "exit_code", ExitCode.USAGE)
            _print_error(UsageError.__name__, exc.format_message(), code)
            sys.exit(code)
        if not isinstance(error, OzelotError):
            if as_json:
                _print_error(type(exc).__name__, str(exc), 1)
            raise
        if as_json:
            _print_error(type(error).__name__, str(error), error.exit_code)
            sys.exit(error.exit_code)
        typer.echo(f"error: {visible(str(error))}", err=True)  # it may quote what is in the database
        sys.exit(error.exit_code)


def _print_error(kind: str, message: str, code: int) -> None:
    """Print an error as one JSON document, in one line, as the events of a run are."""
    typer.echo(json.dumps({"error": {"type": kind, "message": message, "exit_code": int(code)}}))
