"""What commands have in common, as they are typed: how they look, options, and the options of ``ozelot`` itself."""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated, Any

import typer

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
