"""``ozelot run``: run what is not complete, show it, and sum up."""

from __future__ import annotations

from ozelot.cli import engine
from ozelot.cli.database import connected
from ozelot.cli.naming import pipeline, task_named
from ozelot.cli.output import duration, how_many, listed, say, task_text, visible
from ozelot.cli.progress import Recorder, recorder, shown
from ozelot.cli.tables import missing_tables
from ozelot.errors import ExitCode
from ozelot.etl.graph import walk
from ozelot.etl.status import State, TaskStatus, status


def run(text: str | None, *, verbose: bool) -> ExitCode:
    """Run a task (or the root) and what it needs; tells how it went, and whether all is complete."""
    root = task_named(pipeline(), text)
    database = connected()
    before = status(root)
    there = {entry.label for entry in before if entry.state != State.INCOMPLETE}
    planned = engine.to_run(walk(root), before[-1].label, there)
    with recorder(len(before), len(before) - len(planned)) as watched:
        engine.run(root, watched, verbose=verbose)
    after = status(root)
    _sum_up(before, after, watched)
    if all(entry.state == State.COMPLETE for entry in after):
        say(f"{shown(after[-1].label)} is complete")
        return ExitCode.OK
    if missing := missing_tables(database):
        say(f"There is no table {listed(missing)}. Create all that are missing with: ozelot db init")
    say(_what_next(after, watched))
    return ExitCode.INCOMPLETE


def _sum_up(before: list[TaskStatus], after: list[TaskStatus], watched: Recorder) -> None:
    states = {entry.label: entry for entry in after}
    # An input file that is not there "runs" without an error: what counts is what is there afterwards.
    ran = [label for label in watched.ran if label not in states or states[label].state != State.INCOMPLETE]
    failed = {label: why for label, why in watched.failed.items() if label in watched.began or label not in states}
    failed |= {label: states[label].why for label in watched.ran if label not in ran}
    complete = [entry for entry in before if entry.state != State.INCOMPLETE and entry.label not in ran]
    seen = {*ran, *failed, *(entry.label for entry in complete)}
    unreached = [entry.label for entry in after if entry.label not in seen]
    if ran:
        total = duration(sum(watched.ran[label] for label in ran))
        say(f"Ran {len(ran):,} in {total}: {listed([task_text(label) for label in ran])}")
    if complete:
        say(f"Complete already: {len(complete):,}")
    if failed:
        say(f"Failed: {len(failed):,}")
    for label, why in failed.items():
        recorded = states[label].why if label in states else ""
        say(f"  {shown(label)}: {visible(recorded[8:] if recorded.startswith('failed: ') else why)}")
    if unreached:
        say(f"Not reached: {len(unreached):,}: {listed([task_text(label) for label in unreached])}")


def _and_why(watched: Recorder) -> str:
    """How to see where in the code something failed."""
    names = {label.partition(" ")[0] for label in watched.failed if label in watched.began}
    return f", or ozelot history {names.pop()} --last 1 --traceback" if len(names) == 1 else ""


def _what_next(after: list[TaskStatus], watched: Recorder) -> str:
    root = shown(after[-1].label)
    standing = next((entry for entry in after if entry.state == State.ON_INCOMPLETE), None)
    open_tasks = [entry for entry in after if entry.state == State.INCOMPLETE]
    if standing is not None and open_tasks:
        name = shown(open_tasks[0].label)
        return (
            f"{root} is not complete: {shown(standing.label)} {standing.why}. Clear it with what stands on it, and run "
            f'again: ozelot clear "{name}"'
        )
    left = f"{how_many(len(open_tasks), 'task')} of {len(after):,} left"
    return f"{root} is not complete: {left}. See: ozelot status{_and_why(watched)}"
