"""``ozelot plan`` and ``ozelot clear``: what would run and what would go, and having it go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import luigi

from ozelot.clear.plan import ClearPlan, ClearStep
from ozelot.cli.database import TO_COUNT, connected, name_of
from ozelot.cli.output import confirm, grouped, how_many, listed, prints_to_stderr, say, show_json, show_table, visible
from ozelot.cli.project import gone_named, pipeline, task_named, tasks_named
from ozelot.cli.status import how_to_provide, reason, task_as_json, tasks_as_json
from ozelot.client import Client
from ozelot.errors import ClearRefused, ExitCode, NotClearable, TaskBroken, TaskNotFound
from ozelot.etl.completion import clear_plan, to_run
from ozelot.etl.status import State, TaskStatus, status
from ozelot.formatting import amounts, task_text
from ozelot.pipeline.graph import walk
from ozelot.pipeline.marker_target import task_argument, task_label, task_name, task_params
from ozelot.schema.requirements import how_to_upgrade, refuse_lacks


def show_plan(text: str | None, *, as_json: bool) -> ExitCode:
    """Show what a run of a task (or the root) would run, and what clearing all that is pending would delete."""
    with prints_to_stderr():
        whole = pipeline()
        connected(seconds=TO_COUNT)
        root = task_named(whole, text)
        found = {entry.label: entry for entry in status(root)}
        done = {label for label, entry in found.items() if not entry.is_incomplete}
        planned = to_run(walk(root), {[*found][-1]}, done)
        plan, refused = None, ""
        try:
            plan = clear_plan(root)
        except (ClearRefused, NotClearable) as exc:
            refused = str(exc)
    if as_json:
        clear = {"refused": refused} if plan is None else _as_data(plan)
        tasks = {label: entry.task for label, entry in found.items() if entry.task}
        show_json({"run": tasks_as_json(planned, tasks), "clear": clear})
        return ExitCode.OK
    if planned:
        say(f"A run would run {how_many(len(planned), 'task')}:")
        groups = grouped(planned, str)
        whys = [(name, reason([found[label].why for label in group])) for name, group in groups]
        show_table(("task", "why"), whys, long="why")
    elif stuck := [label for label, entry in found.items() if entry.is_incomplete]:
        # A run stops at the first task that is complete, whatever is upstream of it.
        task = found[stuck[0]]
        nothing = f"A run would run nothing: {visible(task_text([*found][-1]))} is complete, though "
        say(
            f"{nothing}not what it stands on: {advice}"
            if (advice := how_to_provide(task)) is not None
            else f"{nothing}{visible(task_text(stuck[0]))} upstream is not. Clear that, with what stands on it: ozelot "
            f"clear {task_argument(task.name, task.params)}"
        )
    else:
        say("A run would run nothing: all is complete")
    if all(entry.is_complete for entry in found.values()):
        return ExitCode.OK
    say()
    if plan is None:
        say(f"What is pending cannot be cleared: {visible(refused)}")
    elif touched := [
        step for step in plan.steps if any(step.deletes.values()) or any(step.resets.values()) or step.own_clear
    ]:
        say("Clearing all that is pending would delete:")
        show_steps(touched, plan)
        _show_refusal(plan)
    else:
        say("Clearing all that is pending would delete no rows")
    return ExitCode.OK


def show_refresh(text: str | None, *, as_json: bool) -> ExitCode:
    """Show what a refresh of a task (or the root) would clear and run; changes nothing."""
    with prints_to_stderr():
        whole = pipeline()
        database = connected(seconds=TO_COUNT)
        root = task_named(whole, text)
        found = {entry.label: entry for entry in status(root)}
        plan = refresh_plan(whole, [root], found.values())
        done = {label for label, entry in found.items() if not entry.is_incomplete}
        cleared = {step.label for step in plan.steps}
        planned = to_run(walk(root), {[*found][-1]}, done - cleared)
    if as_json:
        stale = [
            {**task_as_json(label, entry.task), "reasons": [str(reason) for reason in entry.verdict.reasons]}
            for label, entry in found.items()
            if entry.verdict and entry.verdict.reasons
        ]
        run = tasks_as_json(planned, {label: entry.task for label, entry in found.items() if entry.task})
        show_json({"stale": stale, "clear": _as_data(plan), "run": run})
    elif not plan.steps:
        say("Nothing is stale")
        return show_plan(text, as_json=False)
    else:
        stale_ones = [entry for entry in found.values() if entry.state is State.STALE]
        groups = grouped(stale_ones, lambda entry: entry.label)
        say(f"{how_many(len(stale_ones), 'task')} {'is' if len(stale_ones) == 1 else 'are'} stale:")
        whys = [(name, reason([entry.why for entry in group])) for name, group in groups]
        show_table(("task", "why"), whys, long="why")
        say()
        say("A refresh would clear these, and what stands on them:")
        show_steps(plan.steps, plan)
        _show_refusal(plan)
        say()
        how = f"and then run {how_many(len(planned), 'task')}"
        with database.engine.connect() as connection:
            lacking = how_to_upgrade(connection, [entry.task for entry in found.values()])
        say(f"{how}; but first: {lacking}" if lacking else f"{how}: ozelot run --refresh")
    return ExitCode.INCOMPLETE if plan.steps else ExitCode.OK


def refresh_plan(
    whole: luigi.Task,
    roots: Sequence[luigi.Task],
    found: Iterable[TaskStatus],
    *,
    include_unrecorded: bool = False,
) -> ClearPlan:
    """What a refresh clears: those of the tasks found that are stale, and what stands on them anywhere in the pipeline.

    Args:
        whole: the root of the pipeline.
        roots: the tasks that are to be refreshed.
        found: the state of these and all upstream.
        include_unrecorded: also delete rows that no run wrote.
    """
    stale = stale_tasks(found)
    return clear_plan([whole, *roots, *stale], stale, include_unrecorded=include_unrecorded)


def stale_tasks(found: Iterable[TaskStatus]) -> list[luigi.Task]:
    """Those of the tasks that are stale."""
    return [entry.task for entry in found if entry.state is State.STALE and entry.task is not None]


def refuse_lost(whole: luigi.Task, roots: Sequence[luigi.Task], tasks: Sequence[luigi.Task], database: Client) -> None:
    """Refuse to clear tasks of which it is known that they, or what stands on them, cannot be loaded again.

    Args:
        whole: the root of the pipeline.
        roots: the tasks that are to be run.
        tasks: those that are to be cleared.
        database: where.

    Raises:
        TableMissing: a table or a column is missing of those that a run would need.
    """
    if tasks:
        graph = walk([whole, *roots, *tasks])
        cleared = graph.downstream([task_label(task) for task in tasks])
        with database.engine.connect() as connection:
            refuse_lacks(connection, [*(graph.tasks[label] for label in cleared), *walk(roots).tasks.values()])


def _show_refusal(plan: ClearPlan) -> None:
    if plan.refused:
        say(f"This would be refused: {visible(plan.refused)}")


def check_refusal(plan: ClearPlan) -> None:
    """Refuse what could not be applied before somebody is asked.

    Raises:
        ClearRefused: other rows are in the way, or rows that no run wrote.
    """
    if plan.refused:
        raise ClearRefused(f"Nothing was cleared: {plan.refused}")


def clear(texts: Sequence[str], *, only: bool, yes: bool, include_unrecorded: bool) -> ExitCode:
    """Clear tasks, with everything downstream of them unless ``only`` they are meant; shows the plan, and asks."""
    root = pipeline()
    database = connected()
    tasks, gone = _meant(root, texts)
    plan = clear_plan([root, *tasks], tasks, downstream=not only, gone=gone, include_unrecorded=include_unrecorded)
    if not plan.steps:
        nothing = [f"{listed(plan.left_out)} is no ORM task"] if plan.left_out else []
        nothing += [f"of {listed([text for text in texts if gone_named(text)])} nothing is left"] if gone else []
        say(f"There is nothing to clear: {', '.join(nothing)}")
        return ExitCode.OK
    plan.refuse_running()
    say(f"To be cleared in {name_of(database)}:")
    show_steps(plan.steps, plan)
    with database.engine.connect() as connection:
        if lacking := how_to_upgrade(connection, [step.task for step in plan.steps]):
            say(f"A run cannot load it again before this is done: {lacking}")
    check_refusal(plan)
    confirm(f"Clear {how_many(len(plan.steps), 'task')}?", yes=yes)
    plan.apply()
    say(f"Cleared {how_many(len(plan.steps), 'task')}. {how_to_run([step.label for step in plan.steps], root)}")
    return ExitCode.OK


def _meant(root: luigi.Task, texts: Sequence[str]) -> tuple[list[luigi.Task], list[tuple[str, str]]]:
    """The tasks that texts mean, and names and parameters of those that only the database knows any more."""
    tasks: list[luigi.Task] = []
    gone: list[tuple[str, str]] = []
    for text in texts:
        if exactly := [(name, params) for name, params in gone_named(text) if f"{name} {params}" == text.strip()]:
            gone += exactly
            continue
        try:
            tasks += tasks_named(root, text)
        except TaskNotFound:
            found = gone_named(text)
            if not found:
                raise
            gone += found
    return tasks, gone


def how_to_run(labels: Sequence[str], root: luigi.Task) -> str:
    """How to run tasks again: a run of the root does not look behind a task that is still complete."""
    them, each = ("it", "it") if len(labels) == 1 else ("them", "each")
    with_all = f"Run {them} again with: ozelot run"
    try:
        graph, after = walk(root), status(root)
    except TaskBroken:  # of which a run tells more
        return with_all
    done = {entry.label for entry in after if not entry.is_incomplete}
    reached = set(to_run(graph, {after[-1].label}, done))
    hidden = [label for label in labels if label in graph.tasks and label not in reached]
    if not hidden:
        return with_all
    task = graph.tasks[hidden[0]]
    return (
        f"A run of the whole pipeline would not reach {them}, as what stands on {them} is still complete. Run {each} "
        f"by its name: ozelot run {task_argument(task_name(task), task_params(task))}"
    )


def show_steps(steps: Sequence[ClearStep], plan: ClearPlan) -> None:
    """Show what steps of a plan delete, and what goes along with all of it."""
    rows = []
    for name, group in grouped(steps, lambda step: step.label):
        deletes: Counter[str] = Counter()
        resets: Counter[str] = Counter()
        for step in group:
            deletes.update(step.deletes)
            resets.update(step.resets)
        unknown = any(step.own_clear for step in group)
        told = "known only to its own clear()" if unknown else amounts(deletes) or "no rows"
        rows.append((name, told, amounts(resets)))
    show_table(("task", "rows to delete", "values to reset"), rows)
    if plan.include_unrecorded and plan.unrecorded:
        say(f"Among them are rows that no run wrote: {'; '.join(visible(str(each)) for each in plan.unrecorded)}")
    if any(plan.along.values()):
        say(f"Along with these: {amounts(plan.along)}")
    if plan.left_out:
        say(f"Left as they are, being no ORM tasks: {listed([task_text(label) for label in plan.left_out])}")


def _as_data(plan: ClearPlan) -> dict[str, Any]:
    steps = [
        {
            **task_as_json(step.label, step.task),
            "deletes": step.deletes,
            "resets": step.resets,
            "own_clear": step.own_clear,
        }
        for step in plan.steps
    ]
    unrecorded = [{"name": each.name, "found": each.found, "recorded": each.recorded} for each in plan.unrecorded]
    return {
        "steps": steps,
        "along": plan.along,
        "left_out": tasks_as_json(plan.left_out),
        "unrecorded": unrecorded,
        "refused": plan.refused or None,
    }
