"""``ozelot run``: run what is not complete, show it, and sum up."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import luigi

from ozelot import engine
from ozelot.clear.plan import ClearPlan
from ozelot.clear.removed_tasks import how_to_clear
from ozelot.cli.clear import check_refusal, refresh_plan, refuse_lost, show_steps, stale_tasks
from ozelot.cli.database import connected, name_of, why_not_kept
from ozelot.cli.db import missing_tables
from ozelot.cli.output import confirm, how_many, listed, prints_to_stderr, say, visible
from ozelot.cli.progress import Display, display, shown
from ozelot.cli.project import pipeline, task_named, tasks_named
from ozelot.cli.status import how_to_provide, how_to_refresh
from ozelot.client import Client
from ozelot.engine import RunResult
from ozelot.engine.invocation import refuse_pooled
from ozelot.errors import ClearRefused, ConfigError, ExitCode, Interrupted, LeftoverRows, RowsChanged, UsageError
from ozelot.etl.completion import clear_plan
from ozelot.etl.status import State, TaskStatus, status
from ozelot.pipeline.graph import walk
from ozelot.schema.requirements import command

#: What shells report of a program that Ctrl-C ended.
INTERRUPTED = 130


@dataclass(frozen=True)
class Options:
    """How to run; each is an option of the command."""

    workers: int | None = None
    processes: bool = False
    dask: str | None = None
    timeout: float | None = None
    keep_going: bool = True
    force: bool = False
    refresh: bool = False
    atomic: bool = False
    include_unrecorded: bool = False
    yes: bool = False
    quiet: bool = False
    json: bool = False


def run(text: str | None, options: Options) -> int:
    """Run a task (or the root) and what it needs; tells how it went, and whether all is complete."""
    shows = display(quiet=options.quiet, as_json=options.json)
    with prints_to_stderr() if options.json else nullcontext():
        return _shown(text, shows, options)


def _shown(text: str | None, shows: Display, options: Options) -> int:
    _refuse_what_does_not_go_together(text, options)
    whole = pipeline()
    database = connected()
    tasks = tasks_named(whole, text) if text is not None and options.force else [task_named(whole, text)]
    refuse_pooled(database)
    shows.tasks = walk(
        tasks
    ).tasks  # what a requires() keeps from being known is told at once, in one line, as what cannot be imported
    plan = _plan(whole, tasks, database, options) if options.force or options.refresh else None
    code: int = ExitCode.OK
    try:
        result = _run_as_planned(whole, tasks, plan, database, shows, options)
    except Interrupted as exc:
        result, code = exc.result, INTERRUPTED
    except KeyboardInterrupt:  # once more: threads that are still at a task would hold up the end of the program
        rest = "what workers elsewhere are at may still come to its end" if options.dask else "the rest is rolled back"
        print(f"Ended at once; {rest}", file=sys.stderr, flush=True)  # noqa: T201
        os._exit(INTERRUPTED)
    shows.sum_up(result)
    if options.json:
        return code or (ExitCode.OK if result.ok else ExitCode.INCOMPLETE)
    return code or _conclude([status(task) for task in tasks], result, database, options)


def _run_as_planned(
    whole: luigi.Task,
    tasks: list[luigi.Task],
    plan: ClearPlan | None,
    database: Client,
    shows: Display,
    options: Options,
) -> RunResult:
    """Run; where another one cleared meanwhile, a refresh that need not ask makes another plan."""
    while True:
        try:
            with shows:
                return _run(tasks, plan, shows, options)
        except (ClearRefused, RowsChanged):
            if plan is None or not (options.refresh and options.yes):
                raise
            old, plan = plan, _plan(whole, tasks, database, options)
            if _amounts(old) == _amounts(plan):
                raise  # it is something else that stands in the way


def _amounts(plan: ClearPlan) -> dict[str, dict[str, int]]:
    return {"along": plan.along, **{step.label: step.deletes | step.resets for step in plan.steps}}


def _refuse_what_does_not_go_together(text: str | None, options: Options) -> None:
    if options.force and options.refresh:
        raise UsageError("--force loads TASK again, --refresh loads again what is stale: choose one")
    if options.atomic and not (options.force or options.refresh):
        raise UsageError("--atomic is about what is loaded again: add --force or --refresh")
    if options.force and text is None:
        raise UsageError("Which task is to be loaded again, with what stands on it? Name it: ozelot run TASK --force")
    if options.include_unrecorded and not (options.force or options.refresh):
        raise UsageError("--include-unrecorded is about what is cleared: add --force or --refresh")
    if options.atomic and ((options.workers or 1) > 1 or options.processes or options.dask):
        raise UsageError("--atomic is one transaction, and so has one worker: leave --workers, --processes, --dask")
    if options.processes and options.dask:
        raise UsageError("--processes are on this machine, --dask is elsewhere: choose one")


def _plan(whole: luigi.Task, tasks: list[luigi.Task], database: Client, options: Options) -> ClearPlan:
    """What --force or --refresh clears first, after showing it."""
    if options.refresh:
        found = [entry for task in tasks for entry in status(task)]
        refuse_lost(whole, tasks, stale_tasks(found), database)
        plan = refresh_plan(whole, tasks, found, include_unrecorded=options.include_unrecorded)
    else:
        refuse_lost(whole, tasks, tasks, database)
        plan = clear_plan([whole, *tasks], tasks, include_unrecorded=options.include_unrecorded)
    if not plan.steps:
        return plan
    if not (options.refresh and options.yes):  # else another runner may be loading it again: see above
        plan.refuse_running()
    if not (options.quiet and options.yes) and not options.json:
        say(f"To be cleared in {name_of(database)}, and loaded again:")
        show_steps(plan.steps, plan)
    check_refusal(plan)
    confirm(f"Clear {how_many(len(plan.steps), 'task')}, and run?", yes=options.yes)
    return plan


def _run(tasks: list[luigi.Task], plan: ClearPlan | None, shows: Display, options: Options) -> RunResult:
    with _dask(options.dask) as executor:
        how: dict[str, Any] = {
            "workers": options.workers,
            "executor": executor or ("process" if options.processes else None),
            "keep_going": options.keep_going,
            "progress": shows,
            "timeout": options.timeout,
        }
        if plan is None:
            return engine.run(tasks, **how)
        return engine.run_again(plan, tasks, atomic=options.atomic, **how)


@contextmanager
def _dask(address: str | None) -> Iterator[Executor | None]:
    """The executor of a Dask cluster."""
    if address is None:
        yield None
        return
    try:
        from distributed import Client as DaskClient
    except ImportError:
        raise ConfigError("--dask needs a package: pip install 'ozelot[dask]'") from None
    try:
        _knock(address)
        cluster = DaskClient(address, timeout=10)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as exc:
        reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        raise ConfigError(f"No Dask scheduler answers at {address} ({reason}): is 'dask scheduler' running?") from None
    with cluster:
        yield cluster.get_executor()  # type: ignore[no-untyped-call]


def _knock(address: str) -> None:
    """Find out quickly whether anybody listens; Dask would try for as long as it takes to start a cluster.

    Raises:
        OSError: nobody does.
    """
    where = urlsplit(address)
    if where.hostname and where.port:
        socket.create_connection((where.hostname, where.port), timeout=3).close()


def _conclude(after: list[list[TaskStatus]], result: RunResult, database: Client, options: Options) -> ExitCode:
    pending = [found for found in after if not all(entry.is_complete for entry in found)]
    if options.atomic and not result.ok:
        say("Nothing was changed: all is as it was before")
        return ExitCode.INCOMPLETE
    if not pending and result.failed and all(failure.is_complete for failure in result.failed.values()):
        say(f"All is complete, but on_success() failed: {listed([shown(label) for label in result.failed])}")
        return ExitCode.INCOMPLETE
    if not pending and not result.ok:
        say("What was to be loaded again is not complete. See: ozelot status")
        return ExitCode.INCOMPLETE
    if not pending:
        if not options.quiet:
            say(f"{shown(after[0][-1].label)} is complete" if len(after) == 1 else f"All {len(after):,} are complete")
        _tell_stale(after, database)
        return ExitCode.OK
    if missing := missing_tables(database):
        none = f"There is no table {listed(missing)}"
        why = why_not_kept(database)
        with database.engine.connect() as connection:
            create = f"{none}. Create all that are missing with: {command(connection)}"
        say(create if why is None else f"{none}: {why}")
    for found in pending:
        say(_what_next(found, result))
    _tell_stale(after, database)
    return ExitCode.INCOMPLETE


def _tell_stale(after: list[list[TaskStatus]], database: Client) -> None:
    if stale := list({e.label: e for found in after for e in found if e.state is State.STALE}.values()):
        say(f"{how_many(len(stale), 'task')} left as {'it is' if len(stale) == 1 else 'they are'}, being stale.")
        say(how_to_refresh(stale, [entry for found in after for entry in found], database))


def _what_next(after: list[TaskStatus], result: RunResult) -> str:
    root = shown(after[-1].label)
    standing = next((entry for entry in after if entry.state == State.ON_INCOMPLETE), None)
    open_tasks = [entry for entry in after if entry.is_incomplete]
    failure = result.failed.get(open_tasks[0].label) if open_tasks else None
    to_clear = failure is None or isinstance(failure.exception, LeftoverRows)  # else its error is what to look at
    if standing is not None and open_tasks and to_clear:
        if (advice := how_to_provide(open_tasks[0])) is not None:
            return f"{root} is not complete: {advice}"
        name = shown(open_tasks[0].label)
        if failure is not None and (gone := getattr(failure.exception, "clear", "")):
            how = f"Clear that, and run again: {visible(how_to_clear(gone))}"
            return f"{root} is not complete: what {visible(gone)} left is in the way of {name}. {how}"
        return (
            f"{root} is not complete: {shown(standing.label)} {standing.why}. Clear it with what stands on it, and run "
            f'again: ozelot clear "{name}"'
        )
    left = f"{how_many(len(open_tasks), 'task')} of {len(after):,} left"
    names = {label.partition(" ")[0] for label, failure in result.failed.items() if failure.traceback}
    and_why = f", or ozelot history {names.pop()} --last 1 --traceback" if len(names) == 1 else ""
    return f"{root} is not complete: {left}. See: ozelot status{and_why}"
