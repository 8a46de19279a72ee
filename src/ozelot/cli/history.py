"""``ozelot history``: the runs of the past, and forgetting old ones."""

from __future__ import annotations

import contextlib
from typing import Any

from ozelot.cli.database import TO_READ, connected, name_of
from ozelot.cli.output import confirm, how_many, moment_for_json, prints_to_stderr, say, show_json, show_table, visible
from ozelot.cli.project import identity, nearest, pipeline, pipeline_is_named
from ozelot.cli.status import task_as_json
from ozelot.errors import ExitCode, TaskNotFound
from ozelot.formatting import amounts, duration, moment, task_text
from ozelot.state import lineage
from ozelot.state.runs import Run

_HEADINGS = ("started (UTC)", "task", "state", "rows", "checks", "took", "where", "error")


def show_runs(text: str | None, *, last: int | None, tracebacks: bool, as_json: bool) -> ExitCode:
    """Show runs, newest first: of all tasks, of one, or of all of one class; on request the tracebacks of failures."""
    with prints_to_stderr():
        database = connected(seconds=TO_READ)
        if as_json and pipeline_is_named():
            with contextlib.suppress(Exception):  # runs are shown whatever the pipeline looks like by now
                pipeline()  # whose classes know of which type parameters are
        name, params = identity(text) if text is not None else (None, None)
        with database.create_session() as session:
            found = lineage.runs(session, name=name, params=params, last=last)
            if text is not None and name is not None and not found:
                known = {run.name for run in lineage.runs(session)}
                raise TaskNotFound(f"No run of '{text}' is recorded.{nearest(name, known)}")
    if as_json:
        show_json([_as_data(run) for run in found])
    elif found:
        show_table(_HEADINGS, [_row(run) for run in found], long="error", cut=True)
        for run in found if tracebacks else ():
            if run.error:
                say(f"\n{task_text(f'{run.name} {run.params}')}, started {moment(run.started)}:")
                for line in run.error.strip().splitlines():
                    say(visible(line))
    else:
        say(f"No runs are recorded in {name_of(database)}")
    return ExitCode.OK


def _seconds(run: Run) -> float | None:
    return (run.finished - run.started).total_seconds() if run.finished else None


def _row(run: Run) -> list[str]:
    return [
        moment(run.started),
        task_text(f"{run.name} {run.params}"),
        run.state,
        amounts({**run.row_counts, **run.notes}, zeros=True),
        _checks(run),
        duration(_seconds(run)),
        f"{run.host}, process {run.process}",
        run.reason,
    ]


def _checks(run: Run) -> str:
    """How many hold, and those that do not."""
    failed = [check for check in run.checks if not check.get("ok")]
    told = [f"{len(run.checks) - len(failed):,} ok"] if run.checks else []
    return "; ".join([*told, *(f"{check.get('name')}: {check.get('found')}" for check in failed)])


def _as_data(run: Run) -> dict[str, Any]:
    return {
        **task_as_json(f"{run.name} {run.params}"),
        "state": run.state,
        "started": moment_for_json(run.started),
        "finished": moment_for_json(run.finished),
        "seconds": _seconds(run),
        "rows": run.row_counts,
        "notes": run.notes,
        "checks": run.checks,
        "host": run.host,
        "process": run.process,
        "error": run.error,
    }


def prune(keep: int, *, yes: bool) -> ExitCode:
    """Delete the records of old runs, but for the last ``keep`` of each task."""
    database = connected()
    with database.engine.connect() as connection:
        counts = lineage.prunable(connection, keep)
    total = sum(counts.values())
    if not total:
        say(f"There are no records to delete in {name_of(database)}")
        return ExitCode.OK
    say(f"To be deleted in {name_of(database)}: records of {amounts(counts)} runs. What they loaded stays")
    confirm(f"Delete {how_many(total, 'record')}?", yes=yes)
    with database.transaction() as session:
        deleted = lineage.prune(session.connection(), keep)
    say(f"Deleted {how_many(deleted, 'record')}")
    return ExitCode.OK
