"""The run of one task: claim, look, act and mark, in one transaction.

``task.run()`` of an ORM task comes here first. A run holds the task's claim, reads the marker again, and opens the
transaction that all sessions join; then the class's own ``run()`` has its turn. When that returns, the task is marked
complete, and everything commits at once.
"""

from __future__ import annotations

import inspect
import logging
import re
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, cast

import luigi
import sqlalchemy as sa
from luigi.task import DynamicRequirements, flatten
from sqlalchemy.exc import DBAPIError, IntegrityError

from ozelot import client, transaction, writes
from ozelot.claim import claimed
from ozelot.errors import LeftoverRows, NoRun, TableMissing
from ozelot.etl.clearing import delete_rows
from ozelot.etl.declared import (
    argument_of,
    created_models,
    creator_names,
    keys_of,
    rows_of,
    task_classes,
    updated_columns,
    updater_names,
    writable,
)
from ozelot.etl.identity import task_label
from ozelot.etl.targets import ORMTarget
from ozelot.orm import run
from ozelot.orm import target as marker
from ozelot.orm.base import Base
from ozelot.orm.rows import Rows, exists, is_owned, owners
from ozelot.url import without_password

log = logging.getLogger(__name__)


class _RolledBackError(Exception):
    """Leaves the transaction without a commit, and without being an error to anybody."""


def run_task(task: Any) -> Any:
    """Run an ORM task, as described at the top of this file.

    Returns:
        What the class's own ``run()`` returns; for a generator function, a generator of the requirements it waits for.
    """
    own_run: Callable[[], Any] = inspect.getattr_static(type(task), "run").__get__(task, type(task))
    if inspect.isgeneratorfunction(own_run):
        return _drive(task, own_run)
    result = None
    with _one_run(task) as is_due:
        if is_due:
            result = own_run()
            if isinstance(result, Generator):
                raise _RolledBackError  # such as 'return super().run()': begin again, step by step
    return _drive(task, own_run) if isinstance(result, Generator) else result


def _drive(task: Any, own_run: Callable[[], Generator[Any, Any, Any]]) -> Generator[Any, Any, None]:
    """Run a generator that yields requirements; never yields within a transaction.

    Where a requirement is complete, the run goes on with it. Where it is not, all is rolled back before it is
    yielded, and the run begins anew if it is resumed. (Luigi drops the generator and calls ``run()`` again.)
    """
    while True:
        wanted = None
        waited_for: list[luigi.Task] = []
        with _one_run(task, waited_for) as is_due:
            if not is_due:
                return
            steps = own_run()
            answer = None
            try:
                while True:
                    wanted = steps.send(answer)
                    requirements = wanted if isinstance(wanted, DynamicRequirements) else DynamicRequirements(wanted)
                    if not requirements.complete():
                        raise _RolledBackError
                    waited_for += requirements.flat_requirements
                    wanted, answer = None, requirements.paths
            except StopIteration:
                pass
            finally:
                steps.close()  # here, so that whatever it does at its end is rolled back with the rest
        if wanted is None:
            return
        yield wanted


@contextmanager
def _one_run(task: Any, waited_for: list[luigi.Task] | None = None) -> Iterator[bool]:
    """The frame of a run; gives whether the task is still to be run.

    Args:
        task: the task.
        waited_for: requirements that turn up while it runs.
    """
    engine = client.get_client().engine
    marker.prepare(engine)
    outputs = flatten(task.output())
    targets = [target for target in outputs if isinstance(target, ORMTarget)]
    task.close_session(commit=False)  # one from before the run is not part of it
    outer = transaction.current(engine)
    key = targets[0].keys[0] if targets else ""
    with ExitStack() as stack:
        if outer is None:
            connection = stack.enter_context(engine.connect())
            if targets:
                stack.enter_context(claimed(connection, key))
        else:
            connection = outer.connection
            stack.enter_context(writes.unwatched(outer))
        there = marker.existing(connection, {key for target in targets for key in target.keys})
        missing = [target for target in targets if there.isdisjoint(target.keys)]
        if targets and not missing and not task.only_bundles:
            _refuse_half(task, [target for target in outputs if target not in targets])
            log.info("Task is complete already, not run again: %s", task_label(task))
            yield False
            return
        run_id, ran_before = run.begin(connection, key, task.get_name(), task.get_param_string())
        if outer is None:
            connection.commit()  # so that others see that it is running
        try:
            with outer.nested() if outer else transaction.on_connection(connection):
                opened = cast(transaction.OpenTransaction, transaction.current(engine))
                _clear_leftovers(task, opened.connection, key, ran_before=ran_before)
                before = opened.scopes()
                around = opened.owner, opened.run_id, opened.reserved, opened.inside
                opened.owner, opened.run_id, opened.inside = task, run_id, []
                opened.reserved |= {target.keys[0] for target in targets}
                task.run_done = False
                try:
                    with writes.watched(opened, writable(task)):
                        yield True
                        if not task.run_done:
                            task.done()
                        task.close_session()
                finally:
                    inside = opened.inside
                    opened.owner, opened.run_id, opened.reserved, opened.inside = around
                if dropped := opened.settle(but=before):
                    log.warning("%s: %d sessions wrote but never committed; that was undone", task_label(task), dropped)
                rows = rows_of([task], run_id=run_id).counts(opened.connection)
                run.finish(
                    opened.connection, run_id, rows, {*_built_on(task, waited_for or [], opened.connection), *inside}
                )
                opened.inside.append(run_id)
                for target in missing:
                    _mark_complete(target, opened.connection)
        except _RolledBackError:
            run.forget(connection, run_id)
        except BaseException as exc:
            with suppress(DBAPIError):  # the connection may be what broke
                told = "".join(traceback.format_exception(exc))
                run.fail(connection, run_id, without_password(engine.url, told))
                if outer is None:
                    connection.commit()
            if isinstance(exc, DBAPIError):
                _explain_missing_tables(task, engine, str(exc.orig))
            _explain_missing_run(task, exc)
            raise
        finally:
            task.close_session(commit=False)
        if outer is None:
            connection.commit()


def _built_on(task: Any, waited_for: list[luigi.Task], connection: sa.Connection) -> set[int]:
    """The runs of all that the task requires, and of what it asked for while it ran."""
    others: list[Any] = [*task.deps(), *waited_for]
    required = [ORMTarget.from_task(other).keys[0] for other in others if type(other) in task_classes]
    return set(run.latest(connection, required).values()) if required else set()


def _explain_missing_tables(task: Any, engine: sa.Engine, reason: str) -> None:
    named = [name for name in Base.metadata.tables if re.search(rf"\b{re.escape(name)}\b", reason)]
    missing = set(named).difference(sa.inspect(engine).get_table_names()) if named else ()
    if missing:
        raise TableMissing(
            f"{task_label(task)} needs the table {', '.join(sorted(missing))}, which is not in the database: create "
            "the tables of all models once, with 'ozelot db init' or Base.create_all(get_client())"
        )


def _explain_missing_run(task: Any, exc: BaseException) -> None:
    said = str(exc.orig if isinstance(exc, DBAPIError) else exc)
    owned = [model.__name__ for model in created_models(task) if is_owned(model)]
    if owned and "run_id" in said and re.search(r"not[ -]null|cannot be null|default value", said, re.I):
        raise NoRun(
            f"{task_label(task)} added rows of {', '.join(owned)} without their run. In raw SQL and to_sql, set column "
            "'run_id' to current_run_id(), from ozelot.orm.run: frame.assign(run_id=current_run_id()).to_sql(...)"
        ) from exc


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
            f"with 'ozelot clear {argument_of(task)}' or its clear(), and run it again"
        )


def _clear_leftovers(task: Any, connection: sa.Connection, key: str, *, ran_before: bool) -> None:
    """Deal with what is left of an earlier run whose marker was removed.

    Rows that know their run are deleted, and columns that only this task fills are reset.

    Raises:
        LeftoverRows: there are others, in a table or column that this task declares.
    """
    models, columns = created_models(task), updated_columns(task)
    owned = [model for model in models if is_owned(model)]
    # Where another task that fills a column is complete, it cannot be told whose the values are.
    mine = [c for c in columns if marker.first_other(connection, updater_names(c), keys_of(task)) is None]
    if ran_before:
        run.mark_clearing(connection, [key], owners(owned))
        if owned or mine:
            delete_rows(Rows(owned, mine), {key}, connection)
    else:
        for column in mine:
            _refuse_values(task, column, connection)
    if models:
        _refuse_leftovers(task, [model for model in models if model not in owned], connection, ran_before)
    if ran_before:
        run.mark_cleared(connection)


def _refuse_values(task: Any, column: sa.Column[Any], connection: sa.Connection) -> None:
    if exists(connection, column.table, column.is_not(None)):
        raise LeftoverRows(
            f"{task_label(task)} is not complete, but there are values in {column.table.name}.{column.name}, which it "
            "fills and clearing would reset: the marker of an earlier run was removed, or another task set them. Clear "
            f"them with 'ozelot clear {argument_of(task)}' or its clear(), or leave the column to this task alone"
        )


def _refuse_leftovers(task: Any, models: list[Any], connection: sa.Connection, ran_before: bool) -> None:
    table = Rows(models).first_in(connection)
    if table is None:
        return
    if not ran_before and marker.names_complete(connection, creator_names(models), limit=1):
        return  # they are another task's
    label = task_label(task)
    if not task.creates:
        log.warning("%s runs on top of rows that are in %s already", label, table.name)
        return
    raise LeftoverRows(
        f"{label} is not complete, but there are rows in {table.name}, which it creates: the marker of an earlier run "
        f"was removed, its rows were not. Clear them with 'ozelot clear {argument_of(task)}', its clear(), or from "
        "a task that requires it with check_completion(root, clear=True)"
    )
