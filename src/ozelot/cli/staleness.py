"""``ozelot why`` and ``ozelot accept``: what a task is made of, what of that has changed, and letting it pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ozelot.cli.database import TO_READ, connected
from ozelot.cli.naming import pipeline, task_named, tasks_named
from ozelot.cli.output import how_many, prints_to_stderr, say, show_json, visible
from ozelot.cli.task_json import task_as_json
from ozelot.client import get_client
from ozelot.errors import ExitCode
from ozelot.etl import fingerprints
from ozelot.etl.compared import last_made
from ozelot.etl.declared import is_orm_task, keys_of
from ozelot.etl.needs import needs_of
from ozelot.etl.stale import accept as library_accept
from ozelot.etl.status import State, TaskStatus, status
from ozelot.orm import pages
from ozelot.orm.version import has_runs
from ozelot.words import task_text

#: How many pages are shown of a task that may have read thousands.
_MOST = 5


def show_why(text: str, *, as_json: bool) -> ExitCode:
    """Show of a task in which state it is and why, and what it is made of."""
    with prints_to_stderr():
        whole = pipeline()
        connected(seconds=TO_READ)
        root = task_named(whole, text)
        entry = status(root)[-1]
        made_of = _made_of(entry.task)
    if as_json:
        show_json(_as_data(entry, made_of))
    else:
        _show(entry, made_of)
    return ExitCode.INCOMPLETE if entry.state != State.COMPLETE else ExitCode.OK


def _made_of(task: Any) -> dict[str, list[str]]:
    """The names of all that counts, by kind; and what could not be followed."""
    if not is_orm_task(task):
        return {}
    needs = needs_of(task.deps())  # type: ignore[attr-defined]
    parts = fingerprints.parts_of(task, needs.columns)
    code = fingerprints.code(type(task))
    return {
        "code": sorted(code.pieces),
        "packages": [f"{name} {version}" for name, version in parts.packages.items()],
        "inputs": [wanted.path for wanted in needs.inputs],
        "pages": _pages_of(task),
        "schema": sorted(set(parts.schema or ()) - fingerprints.of_others(task, needs)),
        "not followed": [*code.not_followed, *(f"{label} is no file on this machine" for label in needs.elsewhere)],
    }


def _pages_of(task: Any) -> list[str]:
    """The URLs of the pages that the last run of a task read."""
    with get_client().engine.connect() as connection:
        if not has_runs(connection):
            return []
        made = last_made(connection, {keys_of(task)[0]})
        read = pages.of_runs(connection, [one.run_id for one in made.values()])
    return [page.url for found in read.values() for page in found]


def _as_data(entry: TaskStatus, made_of: dict[str, list[str]]) -> dict[str, Any]:
    verdict = entry.verdict
    return {
        **task_as_json(entry.label, entry.task),
        "state": str(entry.state),
        "why": entry.why,
        "reasons": [] if verdict is None else [{"kind": r.kind, "what": r.what} for r in verdict.reasons],
        "unknown": [] if verdict is None else verdict.unknown,
        "made_of": made_of,
    }


def _show(entry: TaskStatus, made_of: dict[str, list[str]]) -> None:
    say(f"{visible(task_text(entry.label))} is {entry.state}")
    verdict = entry.verdict
    if verdict is None or not (verdict.reasons or verdict.stands_on):
        _show_lines("", [entry.why])
    else:
        _show_lines("", [str(reason) for reason in verdict.reasons] or [entry.why])
    if verdict is not None:
        _show_lines("Not known of it:", verdict.unknown)
    for kind, names in made_of.items():
        title = "Could not be followed:" if kind == "not followed" else f"Its {kind}:"
        if kind == "pages" and (more := len(names) - _MOST) > 0:
            names = [*names[:_MOST], f"and {more:,} more: all of them with --json"]
        _show_lines(title, names)


def _show_lines(title: str, lines: Sequence[str]) -> None:
    lines = [line for line in lines if line]
    if lines and title:
        say(title)
    for line in lines:
        say(f"  {visible(line)}")


def accept(texts: Sequence[str]) -> ExitCode:
    """Mark tasks as up to date with today's code and tables."""
    root = pipeline()
    connected()
    tasks = {task: None for text in texts for task in tasks_named(root, text) if is_orm_task(task)}
    accepted = library_accept(tasks)
    for label, reasons in accepted.items():
        say(f"{visible(task_text(label))}: {how_many(len(reasons), 'change')} accepted")
        _show_lines("", [str(reason) for reason in reasons])
    if without := len(tasks) - len(accepted):
        say(f"{how_many(without, 'task')} left: no run is recorded that made what they loaded")
    for entry in status(root):
        if entry.label in accepted and entry.state is State.STALE:
            say(f"{visible(task_text(entry.label))} is stale still: {visible(entry.why)}")
    return ExitCode.OK if accepted else ExitCode.INCOMPLETE
