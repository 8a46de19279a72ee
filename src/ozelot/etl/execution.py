"""The run of one task: claim, look, act and mark, in one transaction.

``task.run()`` of an ORM task comes here first. A run holds the task's claim, reads the marker again, and opens the
transaction that all sessions join; then the class's own ``run()`` has its turn. When that returns, the task is marked
complete, and everything commits at once.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from luigi.task import DynamicRequirements, flatten
from sqlalchemy.exc import DBAPIError, IntegrityError

from ozelot import client, transaction
from ozelot.errors import LeftoverRows, TableMissing
from ozelot.etl.clearing import created_models, creator_names
from ozelot.etl.identity import task_label
from ozelot.etl.targets import ORMTarget
from ozelot.orm import target as marker
from ozelot.orm.base import Base
from ozelot.orm.rows import Rows

log = logging.getLogger(__name__)


class _RolledBackError(Exception):
    """Leaves the transaction without a commit, and without being an error to anybody."""


def run_task(task: Any) -> Any:
    """Run an ORM task, as described at the top of this file.

    Returns:
        What the class's own ``run()`` returns; for a generator function, a generator of the requirements it waits for.
    """
    run: Callable[[], Any] = inspect.getattr_static(type(task), "run").__get__(task, type(task))
    if inspect.isgeneratorfunction(run):
        return _drive(task, run)
    result = None
    with _one_run(task) as is_due:
        if is_due:
            result = run()
            if isinstance(result, Generator):
                raise _RolledBackError  # such as 'return super().run()': begin again, step by step
    return _drive(task, run) if isinstance(result, Generator) else result


def _drive(task: Any, run: Callable[[], Generator[Any, Any, Any]]) -> Generator[Any, Any, None]:
    """Run a generator that yields requirements; never yields within a transaction.

    Where a requirement is complete, the run goes on with it. Where it is not, all is rolled back before it is
    yielded, and the run begins anew if it is resumed. (Luigi drops the generator and calls ``run()`` again.)
    """
    while True:
        wanted = None
        with _one_run(task) as is_due:
            if not is_due:
                return
            steps = run()
            answer = None
            try:
                while True:
                    wanted = steps.send(answer)
                    requirements = wanted if isinstance(wanted, DynamicRequirements) else DynamicRequirements(wanted)
                    if not requirements.complete():
                        raise _RolledBackError
                    wanted, answer = None, requirements.paths
            except StopIteration:
                pass
            finally:
                steps.close()  # here, so that whatever it does at its end is rolled back with the rest
        if wanted is None:
            return
        yield wanted


@contextmanager
def _one_run(task: Any) -> Iterator[bool]:
    """The frame of a run; gives whether the task is still to be run."""
    engine = client.get_client().engine
    marker.prepare(engine)
    outputs = flatten(task.output())
    targets = [target for target in outputs if isinstance(target, ORMTarget)]
    task.close_session(commit=False)  # one from before the run is not part of it
    try:
        with _transaction(engine, claim=targets[0].keys[0] if targets else None) as opened:
            there = marker.existing(opened.connection, {key for target in targets for key in target.keys})
            if targets and not any(there.isdisjoint(target.keys) for target in targets):
                _refuse_half(task, [target for target in outputs if target not in targets])
                log.info("Task is complete already, not run again: %s", task_label(task))
                yield False
                raise _RolledBackError
            _refuse_leftovers(task, opened.connection)
            before = opened.scopes()
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
            if dropped := opened.settle(but=before):
                log.warning("%s: %d sessions wrote but never committed; that was undone", task_label(task), dropped)
            for target in targets:
                _mark_complete(target, opened.connection)
    except _RolledBackError:
        pass
    except DBAPIError as exc:
        _explain_missing_tables(task, engine, str(exc.orig))
        raise
    finally:
        task.close_session(commit=False)


def _explain_missing_tables(task: Any, engine: sa.Engine, reason: str) -> None:
    named = [name for name in Base.metadata.tables if re.search(rf"\b{re.escape(name)}\b", reason)]
    missing = set(named).difference(sa.inspect(engine).get_table_names()) if named else ()
    if missing:
        raise TableMissing(
            f"{task_label(task)} needs the table {', '.join(sorted(missing))}, which is not in the database: create "
            "the tables of all models once, with Base.create_all(get_client())"
        )


@contextmanager
def _transaction(engine: sa.Engine, claim: str | None) -> Iterator[transaction.OpenTransaction]:
    opened = transaction.current(engine)
    if opened is not None:
        with opened.nested():
            yield opened
        return
    with transaction.open_transaction(engine, claim=claim) as opened:
        yield opened


def _mark_complete(target: ORMTarget, connection: sa.Connection) -> None:
    try:
        if type(target).create is ORMTarget.create:
            marker.insert(connection, target.name, target.params)
        else:
            target.create()
    except IntegrityError:
        log.info("Another runner completed %s first; what this one did is rolled back", target)
        raise _RolledBackError from None


def _refuse_half(task: Any, others: list[Any]) -> None:
    missing = [str(getattr(target, "path", target)) for target in others if not target.exists()]
    if missing:
        raise LeftoverRows(
            f"{task_label(task)} has its marker and its rows, but not its other output {', '.join(missing)}: clear it "
            f"with {type(task).__name__}(...).clear(), and run it again"
        )


def _refuse_leftovers(task: Any, connection: sa.Connection) -> None:
    """Look for rows that an earlier run left behind: its marker was removed, its rows were not.

    Raises:
        LeftoverRows: there are some in a table that this task declares in ``creates``.
    """
    models = created_models(task)
    if not models:
        return
    table = Rows(models).first_in(connection)
    if table is None or marker.names_complete(connection, creator_names(models), limit=1):
        return  # they may be another task's
    label, name = task_label(task), type(task).__name__
    if not task.creates:
        log.warning("%s runs on top of rows that are in %s already", label, table.name)
        return
    raise LeftoverRows(
        f"{label} is not complete, but there are rows in {table.name}, which it creates: the marker of an earlier run "
        f"was removed, its rows were not. Clear them with {name}(...).clear(), or from a task that requires it with "
        "check_completion(root, clear=True)"
    )
