"""The run of one task: claim, look, act and mark, in one transaction.

Every ``run()`` of an ORM task is wrapped in :func:`atomic`. The outermost one holds the task's claim, reads the marker
again, and opens the transaction that all sessions join; when it returns, the task is marked complete and everything
commits at once.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import luigi
import sqlalchemy as sa
from luigi.task import DynamicRequirements, flatten
from sqlalchemy.exc import IntegrityError

from ozelot import client, transaction
from ozelot.errors import LeftoverRows
from ozelot.etl.clearing import created_models, task_classes
from ozelot.etl.identity import task_label, task_name
from ozelot.etl.targets import ORMTarget
from ozelot.orm import target as marker
from ozelot.orm.rows import Rows

log = logging.getLogger(__name__)

_F = TypeVar("_F", bound=Callable[..., Any])


class _RolledBackError(Exception):
    """Leaves the transaction without a commit, and without being an error to anybody."""


def atomic(run: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Wrap a ``run()`` as described at the top of this file; one that is called by another of the same task is not."""

    @functools.wraps(run)
    def wrapper(task: Any) -> Any:
        opened = transaction.current(client.get_client().engine)
        if opened is not None and opened.owner is task:
            return run(task)  # super().run(): the outermost one does the rest
        if inspect.isgeneratorfunction(run):
            return _drive(task, run)
        result = None
        with _one_run(task) as is_due:
            if is_due:
                result = run(task)
                if isinstance(result, Generator):
                    raise _RolledBackError  # such as 'return super().run()': begin again, step by step
        return _drive(task, run) if isinstance(result, Generator) else result

    return is_atomic(wrapper)


def is_atomic(run: _F) -> _F:
    """Say of a ``run()`` that it needs no wrapping."""
    run.atomic = True  # type: ignore[attr-defined]
    return run


def _drive(task: Any, run: Callable[[Any], Generator[Any, Any, Any]]) -> Generator[Any, Any, None]:
    """Run a generator that yields requirements; never yields within a transaction.

    Where a requirement is complete, the run goes on with it. Where it is not, all is rolled back before it is
    yielded, and the run begins anew if it is resumed. (Luigi drops the generator and calls ``run()`` again.)
    """
    while True:
        wanted = None
        with _one_run(task) as is_due:
            if not is_due:
                return
            steps = run(task)
            answer = None
            while True:
                try:
                    wanted = steps.send(answer)
                except StopIteration:
                    break
                requirements = wanted if isinstance(wanted, DynamicRequirements) else DynamicRequirements(wanted)
                if not requirements.complete():
                    steps.close()
                    raise _RolledBackError
                wanted, answer = None, requirements.paths
        if wanted is None:
            return
        yield wanted


@contextmanager
def _one_run(task: Any) -> Iterator[bool]:
    """The frame of a run; gives whether the task is still to be run."""
    engine = client.get_client().engine
    marker.prepare(engine)
    targets = [target for target in flatten(task.output()) if isinstance(target, ORMTarget)]
    claim = targets[0].keys[0] if targets else None
    task.close_session(commit=False)  # one from before the run is not part of it
    try:
        with _transaction(engine, claim) as opened:
            if targets and marker.existing(opened.connection, {t.keys[0] for t in targets}) == {
                t.keys[0] for t in targets
            }:
                log.info("Task is complete already, not run again: %s", task_label(task))
                yield False
                raise _RolledBackError
            _refuse_leftovers(task, opened.connection)
            outer = opened.owner, opened.reserved
            opened.owner, opened.reserved = task, opened.reserved | {target.keys[0] for target in targets}
            task.run_done = False
            try:
                yield True
                if not task.run_done:
                    task.done()
                task.close_session()
            finally:
                opened.owner, opened.reserved = outer
            _mark_complete(task, targets, opened)
    except _RolledBackError:
        pass
    finally:
        task.close_session(commit=False)


@contextmanager
def _transaction(engine: sa.Engine, claim: str | None) -> Iterator[transaction.OpenTransaction]:
    opened = transaction.current(engine)
    if opened is not None:
        with opened.nested():
            yield opened
        return
    with transaction.open_transaction(engine, claim=claim) as opened:
        yield opened


def _mark_complete(task: luigi.Task, targets: list[ORMTarget], opened: transaction.OpenTransaction) -> None:
    dropped = opened.settle() if opened.owner is None else 0
    if dropped:
        log.warning("%s: %d sessions wrote but never committed; that was undone", task_label(task), dropped)
    for target in targets:
        try:
            if type(target).create is not ORMTarget.create:
                target.create()
            else:
                marker.insert(opened.connection, target.name, target.params)
        except IntegrityError:
            log.info("Another runner completed %s first; what this one did is rolled back", task_label(task))
            raise _RolledBackError from None


def _refuse_leftovers(task: Any, connection: sa.Connection) -> None:
    """Look for rows that an earlier run left behind: its marker was removed, its rows were not.

    Raises:
        LeftoverRows: there are some in a table that this task declares in ``creates``.
    """
    models = created_models(task)
    if not models:
        return
    table = Rows(models).first_in(connection)
    if table is None:
        return
    creators = {task_name(cls) for cls in task_classes if not set(created_models(cls)).isdisjoint(models)}
    if marker.names_complete(connection, creators, limit=1):
        return  # they may be that task's
    label, name = task_label(task), type(task).__name__
    if not task.creates:
        log.warning("%s runs on top of rows that are in %s already", label, table.name)
        return
    raise LeftoverRows(
        f"{label} is not complete, but there are rows in {table.name}, which it creates: the marker of an earlier run "
        f"was removed, its rows were not. Clear them with {name}(...).clear(), or from a task that requires it with "
        "check_completion(root, clear=True)"
    )
