"""Loading again what is complete: clear by a plan, then run, in one command or even in one transaction."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Executor
from typing import Any

import luigi

from ozelot import client
from ozelot.engine.start import refuse_pooled, run
from ozelot.engine.told import Progress, RunResult
from ozelot.errors import Interrupted
from ozelot.etl.declared import keys_of, refuse_shared_columns, task_classes
from ozelot.etl.graph import walk
from ozelot.etl.identity import task_label
from ozelot.etl.plan import ClearPlan
from ozelot.orm import run as runs
from ozelot.orm import target as marker
from ozelot.schema.lacking import refuse_lacks


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
