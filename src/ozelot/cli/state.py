"""``ozelot status`` and ``ozelot verify``: what is complete, and what does not fit together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import luigi

from ozelot.cli.database import TO_COUNT, TO_READ, connected, name_of
from ozelot.cli.naming import pipeline, pipeline_is_named, task_named
from ozelot.cli.output import grouped, how_many, moment_for_json, prints_to_stderr, say, show_json, show_table, visible
from ozelot.cli.task_json import task_as_json
from ozelot.client import Client
from ozelot.errors import ExitCode
from ozelot.etl import verify as library
from ozelot.etl.declared import is_orm_task
from ozelot.etl.identity import params_of, task_argument
from ozelot.etl.status import State, TaskStatus, recorded, status
from ozelot.etl.tasks import InputFileTask
from ozelot.schema.lacking import how_to_upgrade
from ozelot.words import added, amounts, duration, moment, task_text

_HEADINGS = ("task", "state", "rows", "took", "ended (UTC)", "why")


def show_status(text: str | None, *, as_json: bool, each: bool, without_pipeline: bool) -> ExitCode:
    """Show the state of a task (or the root) and everything upstream.

    Args:
        text: the task.
        as_json: print JSON.
        each: show every task, also where a class has many.
        without_pipeline: where no pipeline is named, show what the database alone can tell.
    """
    with prints_to_stderr():
        if text is None and without_pipeline and not pipeline_is_named():
            database = connected(seconds=TO_READ)
            found, of_what = recorded(), f"recorded in {name_of(database)}"
        else:
            whole = pipeline()
            database = connected(seconds=TO_READ)
            root = task_named(whole, text)
            found = status(root)
            of_what = "of the pipeline" if text is None else f"of {visible(task_text(found[-1].label))} and upstream"
    complete = sum(entry.is_complete for entry in found)
    if as_json:
        show_json([_as_data(entry) for entry in found])
    elif not found:
        say(f"No tasks are {of_what}")
    else:
        groups = grouped(found, lambda entry: entry.label, each=each)
        show_table(_HEADINGS, [_row(name, group) for name, group in groups], long="why")
        verb = "is" if len(found) == 1 else "are"
        stale = [entry for entry in found if entry.state is State.STALE]
        but = f", {len(stale):,} of them stale" if stale else ""
        say(f"{complete:,} of {how_many(len(found), 'task')} {of_what} {verb} complete{but}")
        if stale:
            say(how_to_refresh(stale, found, database))
    return ExitCode.OK if found and complete == len(found) else ExitCode.INCOMPLETE


def how_to_refresh(stale: Sequence[TaskStatus], found: Sequence[TaskStatus], database: Client) -> str:
    """What to do about tasks that are stale.

    Args:
        stale: these.
        found: all that a refresh may run, or read from.
        database: where what they fill has to be there in full first.
    """
    name = task_argument(stale[0].name, stale[0].params)
    with database.engine.connect() as connection:
        lacking = how_to_upgrade(connection, [entry.task for entry in found])
    if lacking:
        return f"See why: ozelot why {name}. First of all: {lacking}"
    return f"See why: ozelot why {name}. Load again what is stale, and what stands on it: ozelot run --refresh"


def how_to_provide(entry: TaskStatus) -> str | None:
    """What to do about a file, or whatever else is no ORM task, that is gone though what stands on it is complete.

    None of an ORM task: clearing that with what stands on it is what to do.
    """
    if entry.task is None or is_orm_task(entry.task):
        return None
    name = f"{visible(task_text(entry.label))}: {visible(entry.why)}"
    if type(entry.task).run in (InputFileTask.run, luigi.ExternalTask.run):
        return f"{name}. Put it there, and run again: ozelot run"
    return f"{name}. Make it again: ozelot run {task_argument(entry.name, entry.params)}"


def _as_data(entry: TaskStatus) -> dict[str, Any]:
    return {
        **task_as_json(entry.label, entry.task),
        "state": str(entry.state),
        "why": entry.why,
        "stale": [str(reason) for reason in entry.verdict.reasons] if entry.verdict else [],
        "unknown": entry.verdict.unknown if entry.verdict else [],
        "when": moment_for_json(entry.when),
        "seconds": entry.seconds,
        "rows": entry.rows,
        "notes": dict(entry.notes),
    }


def _of_task(where: str) -> dict[str, Any]:
    """The task that a finding is about; nothing of a table."""
    return task_as_json(where) if params_of(where.partition(" ")[2]) is not None else {}


def _row(name: str, group: list[TaskStatus]) -> list[str]:
    states = Counter(str(entry.state) for entry in group)
    seconds = [entry.seconds for entry in group if entry.seconds is not None]
    ends = [entry.when for entry in group if entry.when is not None]
    return [
        name,
        ", ".join(f"{number:,} {state}" for state, number in states.items()) if len(states) > 1 else group[0].state,
        amounts(added({**entry.rows, **entry.notes} for entry in group), zeros=True),
        duration(sum(seconds) if seconds else None),
        moment(max(ends, default=None)),
        reason([entry.why for entry in group]),
    ]


def reason(whys: Sequence[str]) -> str:
    """Why tasks are not complete: the most frequent reason of several."""
    counts = Counter(why for why in whys if why)
    if not counts:
        return ""
    ((why, number),) = counts.most_common(1)
    return (why if number == 1 else f"{number:,} times: {why}") + ("; and more" if len(counts) > 1 else "")


def show_findings(text: str | None, *, as_json: bool) -> ExitCode:
    """Show what does not fit together in the database, for a task (or the root) and everything upstream."""
    with prints_to_stderr():
        whole = pipeline()
        connected(seconds=TO_COUNT)
        root = task_named(whole, text)
        found = library.verify(root)
    if as_json:
        show_json(
            [
                {"kind": one.kind, "where": one.where, "what": one.what, "do": one.do, **_of_task(one.where)}
                for one in found
            ]
        )
    elif not found:
        say("Nothing was found: markers, runs and rows fit together")
    else:
        for one in found:  # sentences, which columns would squeeze
            say(f"{visible(one.kind)}: {visible(task_text(one.where))}")
            say(f"  {visible(one.what)}")
            say(f"  What to do: {visible(one.do)}")
        say(how_many(len(found), "finding"))
    return ExitCode.INCOMPLETE if found else ExitCode.OK
