"""How commands print: tables, amounts and JSON.

What comes from a database may hold anything. It is never taken for markup, and what would steer a terminal is shown
as an escape. A terminal gets a table that fits it; a pipe or a file gets plain text of which nothing is cut.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, TypeVar

import typer

from ozelot.errors import ExitCode, NotConfirmed
from ozelot.formatting import task_text

_T = TypeVar("_T")

_MANY = 20  # tasks of one class that are still shown one by one


def say(text: str = "") -> None:
    """Print one line (or several)."""
    typer.echo(text)


def visible(text: str) -> str:
    """``text`` in one line, with escapes for what is no printable character."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in text
    )


def grouped(entries: Sequence[_T], label: Callable[[_T], str], *, each: bool = False) -> list[tuple[str, list[_T]]]:
    """What to show in one line each: a task, or all tasks of a class that has many, in the place of its last.

    Args:
        entries: one for each task.
        label: gives the label of the task of an entry.
        each: show each task, however many there are.

    Returns:
        What to call the task or the tasks, and their entries.
    """
    by_name: dict[str, list[_T]] = {}
    for entry in entries:
        by_name.setdefault(label(entry).partition(" ")[0], []).append(entry)
    found = []
    for entry in entries:
        name = label(entry).partition(" ")[0]
        group = by_name[name]
        if each or len(group) <= _MANY:
            found.append((task_text(label(entry)), [entry]))
        elif entry is group[-1]:
            found.append((f"{name} ({how_many(len(group), 'task')})", group))
    return found


def show_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Collection[str] = (),
    long: str = "",
    cut: bool = False,
) -> None:
    """Print a table; columns of nothing but empty cells are left out.

    Args:
        headings: of the columns.
        rows: their cells.
        right: headings of the columns that are numbers.
        long: heading of the last column, where it holds long texts: at a narrow terminal they go below the rows.
        cut: at a terminal, show one line of such a text.
    """
    kept = [number for number in range(len(headings)) if any(row[number] for row in rows)]
    headings = [headings[number] for number in kept]
    rows = [[visible(row[number]) for number in kept] for row in rows]
    if sys.stdout.isatty():
        from ozelot.cli import table_layout

        table_layout.show(headings, rows, right=right, long=long, cut=cut)
        return
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    for row in [headings, *rows]:
        cells = [
            cell.rjust(width) if heading in right else cell.ljust(width)
            for heading, cell, width in zip(headings, row, widths, strict=True)
        ]
        say("  ".join(cells).rstrip())


def show_json(value: Any) -> None:
    """Print data as JSON."""
    say(json.dumps(value, indent=2))


@contextlib.contextmanager
def prints_to_stderr() -> Iterator[None]:
    """Keep what a pipeline's own code prints out of what a command prints."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def how_many(number: int, what: str) -> str:
    """``1 task``, ``2,000 tasks``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def listed(names: Sequence[str], *, limit: int = 10) -> str:
    """Names in one line, the first of them where there are many."""
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return ", ".join(visible(name) for name in names[:limit]) + more


def moment_for_json(when: datetime.datetime | None) -> str | None:
    """A time in ISO 8601 that says that it is UTC."""
    return f"{when.isoformat()}Z" if when else None


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
