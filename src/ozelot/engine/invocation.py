"""Running tasks, or running them again: what a caller says about it, and what it gets."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Executor
from typing import Any

import luigi

from ozelot import client
from ozelot.clear.plan import ClearPlan
from ozelot.db import transaction
from ozelot.db.server_errors import refuse_pooler
from ozelot.engine import executors
from ozelot.engine.dispatcher import Loop
from ozelot.engine.events import Progress, RunResult
from ozelot.errors import Interrupted
from ozelot.pipeline.declarations import keys_of, refuse_shared_columns, task_classes
from ozelot.pipeline.graph import walk
from ozelot.pipeline.marker_target import task_label
from ozelot.schema.requirements import refuse_lacks
from ozelot.state import markers as marker
from ozelot.state import runs as runs


def refuse_pooled(database: client.Client) -> None:
    """Check that the connections of a run can hold its locks; inside an open transaction, it takes none.

    Raises:
        ConfigError: there is a pooler that leaves them behind.
    """
    if transaction.current(database.engine) is None:
        with database.engine.connect() as connection:
            refuse_pooler(connection)


def run(
    roots: luigi.Task | Iterable[luigi.Task],
    *,
    workers: int | None = None,
    executor: Executor | str | None = None,
    keep_going: bool = True,
    progress: Progress | None = None,
    timeout: float | None = None,
) -> RunResult:
    """Run a task (or several) and everything upstream that is not complete.

    Tasks run as under Luigi: with its events, hooks, priorities, resources, retries and dynamic requirements.
    Several runs of one database, in whatever processes, help each other: none runs what another one is at.

    Args:
        roots: the tasks.
        workers: how many tasks run at a time; by default 1, or as many as the executor takes.
        executor: ``"thread"`` (the default), ``"process"`` for transforms that keep a processor busy, or an object,
            such as that of ``dask_client.get_executor()``. Tasks travel there by their names and parameters.
        keep_going: after a failure, go on with what does not depend on it.
        progress: is called in this thread with every :class:`~ozelot.engine.events.Event`.
        timeout: seconds that a task may take, where its ``worker_timeout`` does not say so; needs processes.

    Returns:
        What ran, what was complete, what failed and why, and what was not reached.

    Raises:
        ConfigError: the executor does not go with the database, or with the number of workers, or a pooler would leave
            the locks of the run behind.
        GraphError: requirements run in a circle, two task classes share a name, or two tasks fill one column.
        Interrupted: Ctrl-C. The first one lets running tasks end; a second one ends at once.
    """
    tasks = [roots] if isinstance(roots, luigi.Task) else list(roots)
    refuse_pooled(client.get_client())
    chosen, number, is_ours = executors.choose(executor, workers, client.get_client())
    wait = True
    try:
        loop = Loop(tasks, chosen, number, keep_going=keep_going, progress=progress, timeout=timeout)
        result = loop.run()
    except KeyboardInterrupt:
        wait = False
        raise
    finally:
        if is_ours:
            chosen.shutdown(wait=wait, cancel_futures=True)
    if loop.interruption.came:
        raise Interrupted(result)
    return result


class _Undone(Exception):
    def __init__(self, result: RunResult) -> None:
        super().__init__()
        self.result = result


def run_again(
    plan: ClearPlan,
    tasks: Iterable[luigi.Task],
    *,
    atomic: bool = False,
    workers: int | None = None,
    executor: Executor | str | None = None,
    keep_going: bool = True,
    progress: Progress | None = None,
    timeout: float | None = None,
) -> RunResult:
    """Clear what a plan says, and run it again.

    Args:
        plan: what :func:`ozelot.etl.completion.clear_plan` says of the tasks and what is downstream of them.
        tasks: the tasks; what else the plan clears and was complete is run again, too.
        atomic: clear, rows and markers are one transaction: whoever reads meanwhile sees what was there before until
            all is there anew, and if anything fails, all stays as it was. Needs one worker.
        workers: as for :func:`ozelot.run`, as are the others.
        executor: where tasks run.
        keep_going: after a failure, go on with what does not depend on it.
        progress: is called with every event.
        timeout: seconds that a task may take.

    Returns:
        What came of it. Where ``atomic`` and a task failed, those that ran before it are told as ``rolled_back``.

    Raises:
        GraphError: as for :func:`ozelot.run`; nothing was changed.
        ConfigError: ``atomic`` with several workers, or an executor, or as for :func:`ozelot.run`; nothing was changed.
        RowsChanged: the rows are not those of the plan any more; nothing was changed.
        ClearRefused: other rows refer to them; nothing was changed.
        TableMissing: the database has not the tables and columns that it takes to load it again; nothing was changed.
    """
    roots = {task_label(task): task for task in tasks}
    graph = walk([*roots.values()], broken={})
    refuse_shared_columns(graph.tasks)  # before anything is cleared
    refuse_pooled(client.get_client())
    with client.get_client().engine.connect() as connection:
        if plan.steps:
            refuse_lacks(connection, [*(step.task for step in plan.steps), *graph.tasks.values()])
        complete = marker.existing(connection, {key for step in plan.steps for key in keys_of(step.task)})
    for step in reversed(plan.steps):
        if isinstance(step.task, luigi.Task) and not complete.isdisjoint(keys_of(step.task)):
            roots[step.label] = step.task
    how: dict[str, Any] = {"workers": workers, "executor": executor, "progress": progress, "timeout": timeout}
    if not atomic:
        plan.apply()
        return run(roots.values(), keep_going=keep_going, **how)
    return _atomically(plan, list(roots.values()), how)


def _atomically(plan: ClearPlan, roots: list[luigi.Task], how: dict[str, Any]) -> RunResult:
    database = client.get_client()
    marker.prepare(database.engine)
    try:
        with database.transaction():
            plan.apply()
            result = run(roots, keep_going=False, **how)
            if not result.ok:
                raise _Undone(result)
        return result
    except _Undone as exc:
        result = _rolled_back(exc.result)
    except Interrupted as exc:
        raise Interrupted(_rolled_back(exc.result)) from None
    _record_failures(result, roots)
    return result


def _rolled_back(result: RunResult) -> RunResult:
    result.rolled_back = list(result.ran)
    result.ran = {}
    return result


def _record_failures(result: RunResult, roots: list[luigi.Task]) -> None:
    """Record, after the rollback, which runs failed."""
    tasks: dict[str, Any] = {label: task for label, task in walk(roots).tasks.items() if label in result.failed}
    with client.get_client().engine.begin() as connection:
        for label, task in tasks.items():
            if type(task) in task_classes:
                key = keys_of(task)[0]
                started = runs.begin(connection, [runs.Starting(key, task.get_name(), task.get_param_string())])
                runs.fail(connection, started[key].run_id, result.failed[label].traceback)
