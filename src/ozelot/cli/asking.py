"""Asking before something is deleted."""

from __future__ import annotations

import sys

import typer

from ozelot.errors import ExitCode, NotConfirmed


def confirm(question: str, *, yes: bool) -> None:
    """Return if somebody at a terminal says yes, or said ``--yes`` before.

    Raises:
        NotConfirmed: there is nobody to ask.
        Exit: somebody said no, which is no error.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise NotConfirmed("Nothing was changed: there is no terminal to ask at. To go ahead without, add --yes")
    typer.echo(f"{question} [y/N] ", nl=False, err=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        typer.echo("Nothing was changed", err=True)
        raise typer.Exit(ExitCode.INCOMPLETE)
