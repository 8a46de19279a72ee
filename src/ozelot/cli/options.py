"""Options, as they are typed, that commands have in common."""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ozelot import config
from ozelot.cli.output import prints_to_stderr

LOOK: dict[str, Any] = {"rich_markup_mode": None, "add_completion": False, "pretty_exceptions_enable": False}
EPILOG = "Here, too: --pipeline, --database, --offline and --verbose; see ozelot --help."

Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")]
IncludeUnrecorded = Annotated[
    bool,
    typer.Option("--include-unrecorded", help="Also delete rows that no run wrote, in tables of the cleared tasks."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]


def begin(ctx: typer.Context, *, tells_little: bool = True) -> None:
    """Apply the options of ``ozelot`` itself; not before a command runs, so that ``--help`` reads no settings."""
    pipeline, database, verbose, offline = ctx.obj
    if "" not in sys.path and os.getcwd() not in sys.path:  # noqa: PTH109 - as Python spells it
        sys.path.insert(0, os.getcwd())  # noqa: PTH109 - as for 'python -m'
    if pipeline is not None:
        config.PIPELINE = pipeline
    if offline:
        os.environ["OZELOT_OFFLINE"] = "1"  # for the processes of a run as well
    with prints_to_stderr():
        is_default = config.LOG_LEVEL == logging.INFO
        misspelled = config.misspelled()
    for name, near in misspelled.items():
        typer.echo(f"warning: {config.project_file()} sets {name}, which nothing uses. Did you mean {near}?", err=True)
    if tells_little and not verbose and is_default:
        logging.getLogger("ozelot").setLevel(logging.WARNING)
    if database is not None:
        from ozelot import client

        client.set_client(client.Client(connection_string=database))


_EVERYWHERE = {
    "--database": True,
    "--pipeline": True,
    "--verbose": False,
    "--offline": False,
}  # and whether a value follows


class OptionsAnywhere(TyperGroup):
    """Lets the options of ``ozelot`` itself stand behind a command, too: ``ozelot status --database URL``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        first: list[str] = []
        rest: list[str] = []
        given = iter(args)
        for arg in given:
            if arg == "--":
                rest += [arg, *given]
            elif (name := arg.partition("=")[0]) not in _EVERYWHERE:
                rest.append(arg)
            else:
                first.append(arg)
                if _EVERYWHERE[name] and "=" not in arg:
                    value = next(given, None)
                    if value is None:
                        return super().parse_args(ctx, [arg])  # which says that its value is missing
                    first.append(value)
        return super().parse_args(ctx, first + rest)


class ShowsByDefault(TyperGroup):
    """A group whose first command, ``show``, need not be typed: ``ozelot history LoadMovies``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in {*self.commands, "--help"}:
            args = ["show", *args]
        return super().parse_args(ctx, args)
