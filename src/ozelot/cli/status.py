"""``ozelot status`` and ``ozelot verify``: what is complete, what is stale and why, and what does not fit together."""

from __future__ import annotations

import contextlib
import datetime
import enum
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import luigi

from ozelot.cli.database import TO_COUNT, TO_READ, connected, name_of
from ozelot.cli.output import grouped, how_many, moment_for_json, prints_to_stderr, say, show_json, show_table, visible
from ozelot.cli.project import pipeline, pipeline_is_named, task_named, tasks_named
from ozelot.client import Client, get_client
from ozelot.errors import ExitCode
from ozelot.etl import verify as library
from ozelot.etl.status import State, TaskStatus, recorded, status
from ozelot.etl.tasks import InputFileTask
from ozelot.formatting import added, amounts, duration, moment, task_text
from ozelot.pipeline.declarations import is_orm_task, keys_of, task_of
from ozelot.pipeline.marker_target import params_of, task_argument
from ozelot.schema.requirements import how_to_upgrade
from ozelot.staleness import fingerprint
from ozelot.staleness.detector import accept as library_accept
from ozelot.staleness.detector import last_made
from ozelot.staleness.fingerprint import needs_of
from ozelot.state import inputs
from ozelot.state.version import has_runs


def task_as_json(label: str, task: luigi.Task | None = None) -> dict[str, Any]:
    """A task as ``--json`` shows it: ``task`` (its label), ``name`` and ``params``.

    Args:
        label: name and parameter string.
        task: the task; None: it is looked for among the classes that are known. Where there is none, the values of its
            parameters are texts, as in the database.
    """
    name, _, params = label.partition(" ")
    texts = params_of(params) or {}
    if texts and task is None:
        task = task_of(name, params)
    values = {key: value_of_parameter(task, key, text) for key, text in texts.items()}
    return {"task": label, "name": name, "params": values}


def tasks_as_json(labels: Iterable[str], tasks: Mapping[str, luigi.Task] | None = None) -> list[dict[str, Any]]:
    """Tasks as ``--json`` shows them; those that are not among ``tasks`` are looked for."""
    known = tasks or {}
    return [task_as_json(label, known.get(label)) for label in labels]


def value_of_parameter(task: luigi.Task | None, name: str, text: str) -> Any:
    """The value of a parameter in JSON; what JSON has no type for is a text, as Luigi writes it."""
    parameters = {} if task is None else dict(task.get_params())
    if name not in parameters:
        return text
    found = _plain(getattr(task, name))
    with contextlib.suppress(TypeError, ValueError):
        json.dumps(found, allow_nan=False)
        return found
    return text


def _plain(value: Any) -> Any:
    """A value with what JSON has no type for as texts, where these say the same; else as it is."""
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted(map(_plain, value), key=repr)
    return value


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
        show_json([_status_as_data(entry) for entry in found])
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


def _status_as_data(entry: TaskStatus) -> dict[str, Any]:
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
        show_json(_staleness_as_data(entry, made_of))
    else:
        _show(entry, made_of)
    return ExitCode.INCOMPLETE if entry.state != State.COMPLETE else ExitCode.OK


def _made_of(task: Any) -> dict[str, list[str]]:
    """The names of all that counts, by kind; and what could not be followed."""
    if not is_orm_task(task):
        return {}
    needs = needs_of(task.deps())  # type: ignore[attr-defined]
    parts = fingerprint.parts_of(task, needs.columns)
    code = fingerprint.code(type(task))
    return {
        "code": sorted(code.pieces),
        "packages": [f"{name} {version}" for name, version in parts.packages.items()],
        "inputs": [wanted.path for wanted in needs.inputs],
        "pages": _pages_of(task),
        "schema": sorted(set(parts.schema or ()) - fingerprint.of_others(task, needs)),
        "not followed": [*code.not_followed, *(f"{label} is no file on this machine" for label in needs.elsewhere)],
    }


def _pages_of(task: Any) -> list[str]:
    """The URLs of the pages that the last run of a task read."""
    with get_client().engine.connect() as connection:
        if not has_runs(connection):
            return []
        made = last_made(connection, {keys_of(task)[0]})
        read = inputs.pages_of_runs(connection, [one.run_id for one in made.values()])
    return [page.url for found in read.values() for page in found]


def _staleness_as_data(entry: TaskStatus, made_of: dict[str, list[str]]) -> dict[str, Any]:
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
