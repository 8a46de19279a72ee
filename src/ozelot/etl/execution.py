"""The run of one task: claim, look, act and mark, in one transaction.

``task.run()`` of an ORM task comes here first. A run holds the task's claim, reads the marker again, and opens the
transaction that all sessions join; then the class's own ``run()`` has its turn. When that returns, the task is marked
complete, and everything commits at once.
"""

from __future__ import annotations

import functools
import inspect
import logging
import re
import traceback
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, cast

import luigi
import sqlalchemy as sa
from luigi.task import DynamicRequirements, flatten
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from ozelot import client
from ozelot.checks import checked
from ozelot.clear.apply import clear_leftovers, refuse_half
from ozelot.clear.inherited_rows import check_base_rows, inherited_tables
from ozelot.db import transaction, write_guard
from ozelot.db.fork_safety import ChildrenEnd
from ozelot.db.joined_connection import OF_A_RUNNER
from ozelot.db.locks import claimed
from ozelot.db.run_context import UnderWay
from ozelot.db.url import without_password
from ozelot.errors import DatabaseUnavailable, NoRun, OzelotError
from ozelot.etl.completion import complete_tasks
from ozelot.etl.row_counts import known_writes, row_counts
from ozelot.pipeline.declarations import created_models, keys_of, task_classes, writable
from ozelot.pipeline.definition import check_definition, refuse_awaitable
from ozelot.pipeline.marker_target import ORMTarget, look_again, task_label
from ozelot.pipeline.user_code import LateRequirements
from ozelot.rows.selection import is_owned
from ozelot.schema import requirements as lacking
from ozelot.staleness.fingerprint import Needs, fingerprint_of, needs_of
from ozelot.state import inputs as files
from ozelot.state import inputs as fingerprint
from ozelot.state import inputs as pages
from ozelot.state import markers as marker
from ozelot.state import runs
from ozelot.state.lineage import find_missing_rows, remove_markers_without_rows
from ozelot.state.runs import Counts, utc_now

log = logging.getLogger(__name__)


class _RolledBackError(Exception):
    """Leaves the transaction without a commit, and without being an error to anybody."""


@dataclass
class Begun:
    """A run under its claim, on the connection that it will use.

    Attributes:
        connection: in no transaction when the run starts.
        key: the key of the marker.
        missing: the markers to write.
        required: the last runs of what the task requires, by key; None: to be asked for when it ends.
        needs: what else its requirements give it; None: to be asked for when it begins.
        run_id: the record of the run; None: none was begun yet, or it was forgotten.
        ran_before: whether the task has another run that ended well and was not cleared.
        lost_rows: whether its marker is there, but its rows are gone: the marker is removed first.
        finished: whether the run ended well.
        rows: what it made then.
        notes: what its loads left out then, in words, and how often.
    """

    connection: sa.Connection
    key: str
    missing: list[ORMTarget]
    required: Collection[int] | None = None
    needs: Needs | None = None
    run_id: int | None = None
    ran_before: bool = False
    lost_rows: bool = False
    finished: bool = False
    rows: Counts = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)

    def anew(self) -> Begun:
        """The same, before anything was done."""
        return replace(self, finished=False, rows={}, notes={})


def run_task(task: Any, begun: Begun | None = None, late: LateRequirements | None = None) -> Any:
    """Run an ORM task, as described at the top of this file.

    Args:
        task: the task.
        begun: where somebody holds its claim already, and saw that it is not complete.
        late: what earlier starts of its ``run()`` requested.

    Returns:
        What the class's own ``run()`` returns; for a generator function, a generator of the requirements it waits for.
    """
    # What the class says, not the task itself.
    if begun is None:  # otherwise the engine has walked the graph
        check_definition(task)
    function: Any = next(vars(cls)["run"] for cls in type(task).__mro__ if "run" in vars(cls))
    # A functools.partial and other callable objects are no methods.
    own_run: Callable[[], Any] = function.__get__(task, type(task)) if hasattr(function, "__get__") else function
    if inspect.isgeneratorfunction(own_run):
        return _drive(task, own_run, begun, late or LateRequirements())
    result = None
    with _one_run(task, begun) as is_due:
        if is_due:
            with ChildrenEnd():
                result = own_run()
                refuse_awaitable(task, result)
            if isinstance(result, Generator):
                raise _RolledBackError  # such as 'return super().run()': begin again, step by step
    return _drive(task, own_run, begun, late or LateRequirements()) if isinstance(result, Generator) else result


def _drive(
    task: Any, own_run: Callable[[], Generator[Any, Any, Any]], begun: Begun | None, late: LateRequirements
) -> Generator[Any, Any, None]:
    """Run a generator that yields requirements; never yields within a transaction.

    Where a requirement is complete, the run goes on with it. Where it is not, all is rolled back before it is
    yielded, and the run begins anew if it is resumed. (Luigi drops the generator and calls ``run()`` again.)
    """
    while True:
        wanted = None
        waited_for: list[luigi.Task] = []
        by_marker: list[luigi.Task] = []
        late.requested = set()
        with _one_run(task, begun, waited_for) as is_due:
            if not is_due:
                return
            steps = own_run()
            answer = None
            try:
                while True:
                    with ChildrenEnd():
                        wanted = steps.send(answer)
                    requirements = wanted if isinstance(wanted, DynamicRequirements) else DynamicRequirements(wanted)
                    if not late.is_complete(requirements):
                        raise _RolledBackError
                    waited_for += requirements.flat_requirements
                    if requirements.custom_complete is None:
                        by_marker += [each for each in requirements.flat_requirements if type(each) in task_classes]
                    wanted, answer = None, requirements.paths
            except StopIteration:
                wanted = _gone(by_marker, late)
                if wanted is not None:
                    raise _RolledBackError from None
            finally:
                steps.close()  # here, so that whatever it does at its end is rolled back with the rest
        if wanted is None:
            return
        yield wanted


def _gone(waited_for: Collection[luigi.Task], late: LateRequirements) -> list[luigi.Task] | None:
    """Requirements that were complete when ``run()`` waited for them, and are not any more."""
    gone = {task_label(task) for task in waited_for} - complete_tasks(waited_for)
    late.complete -= gone
    return [task for task in waited_for if task_label(task) in gone] or None


def _one_run(task: Any, begun: Begun | None, waited_for: Collection[luigi.Task] = ()) -> AbstractContextManager[bool]:
    """The frame of a run; gives whether the task is still to be run.

    Args:
        task: the task.
        begun: where its claim is held already.
        waited_for: requirements that turn up while it runs.
    """
    task.close_session(commit=False)  # one from before the run is not part of it
    return _claimed(task, waited_for) if begun is None else _acting(task, begun, waited_for)


@contextmanager
def _claimed(task: Any, waited_for: Collection[luigi.Task]) -> Iterator[bool]:
    """The frame of a run that first takes its claim, and reads the marker again."""
    engine = client.get_client().engine
    marker.prepare(engine)
    look_again()
    outputs = flatten(task.output())
    targets = [target for target in outputs if isinstance(target, ORMTarget)]
    outer = transaction.current(engine)
    key = targets[0].keys[0] if targets else ""
    with ExitStack() as stack:
        if outer is None:
            connection = stack.enter_context(engine.connect().execution_options(**{OF_A_RUNNER: True}))
            if targets:
                stack.enter_context(claimed(connection, key))
        else:
            connection = outer.connection
            stack.enter_context(write_guard.unwatched(outer))
        lost_rows, missing = _what_is_missing(targets, connection)
        if targets and not missing and not task.only_bundles:
            refuse_half(task, [target for target in outputs if target not in targets])
            log.info("Task is complete already, not run again: %s", task_label(task))
            yield False
            return
        with _acting(task, Begun(connection, key, missing, lost_rows=lost_rows), waited_for) as is_due:
            yield is_due


def _what_is_missing(targets: list[ORMTarget], connection: sa.Connection) -> tuple[bool, list[ORMTarget]]:
    """Whether a task has a marker, but its rows are gone; and the markers to write."""
    keys = {key for target in targets for key in target.keys}

    def missing() -> list[ORMTarget]:
        there = marker.existing(connection, keys)
        return [target for target in targets if there.isdisjoint(target.keys)]

    if found := missing():
        return False, found
    if targets and find_missing_rows(connection, [targets[0].keys[0]]):
        return True, targets
    # Once more: whoever fills an empty table again removes the markers of all whose rows are gone, in one commit.
    return False, missing()


@contextmanager
def _acting(task: Any, begun: Begun, waited_for: Collection[luigi.Task]) -> Iterator[bool]:
    """The transaction of a run: what is left of an earlier one, what the block does, the record, the markers.

    Gives whether the task is still to be run: where there are no claims, another runner may have been faster.
    """
    connection = begun.connection
    outer = transaction.current(connection.engine)
    requirements = list(task.deps()) if begun.required is None or begun.needs is None else []
    needs = needs_of(requirements) if begun.needs is None else begun.needs
    if begun.run_id is None:
        task.close_session(commit=False)  # one that requires() opened
        made_of = fingerprint_of(task, needs.columns)
        fingerprint.keep(connection, [made_of])
        starting = runs.Starting(begun.key, task.get_name(), task.get_param_string(), made_of.digest)
        begun.run_id, begun.ran_before = runs.begin(connection, [starting])[begun.key]
        if outer is None:
            connection.commit()  # so that others see that it is running
    run_id, began = begun.run_id, utc_now()
    try:
        inputs = [seen for wanted in needs.inputs if (seen := files.see(wanted)) is not None]
        with outer.nested() if outer else transaction.on_connection(connection):
            opened = cast(transaction.OpenTransaction, transaction.current(connection.engine))
            if begun.lost_rows and find_missing_rows(opened.connection, [begun.key]):
                remove_markers_without_rows(opened.connection)
            elif begun.ran_before and begun.missing and _is_there(begun.missing, opened.connection):
                yield False
                raise _RolledBackError
            empty = clear_leftovers(task, opened.connection, begun.key, ran_before=begun.ran_before)
            before = opened.scopes()
            around = opened.run
            reserved = around.reserved | {begun.key, *(target.keys[0] for target in begun.missing)}
            this = opened.run = UnderWay(task, run_id, reserved, inherited=inherited_tables(task))
            task.run_done = False
            try:
                with write_guard.watched(opened, functools.partial(writable, task)):
                    yield True
                    if not task.run_done:
                        task.done()
                    task.close_session()
            finally:
                opened.run = around
            if dropped := opened.settle(but=before):
                log.warning("%s: %d sessions wrote but never committed; that was undone", task_label(task), dropped)
            if task.checks:
                results = checked(opened.connection, task.checks, task_label(task))
                this.checks += [result.as_data() for result in results]
            if task.creates or task.object_classes or task.updates:
                written = known_writes(opened.connection, opened.writes.of(this))
                foreign = check_base_rows(task, opened.connection, written, run_id, empty)
                begun.rows = row_counts(task, opened.connection, written, run_id, empty=empty, foreign=foreign)
            begun.notes = this.notes
            built_on = {*_built_on(begun, [*requirements, *waited_for], opened.connection), *this.inside}
            runs.finish(opened.connection, run_id, began, begun.rows, built_on, this.notes, this.checks)
            if this.pages:
                pages.record_pages(opened.connection, run_id, this.pages)
            late = needs_of(waited_for).inputs if waited_for else ()
            inputs += [seen for wanted in late if (seen := files.see(wanted)) is not None]
            files.record_files(opened.connection, run_id, dict.fromkeys(inputs))
            around.inside.append(run_id)
            for target in begun.missing:
                _mark_complete(target, opened.connection)
        begun.finished = True
    except _RolledBackError:
        runs.forget(connection, [run_id])
        begun.run_id = None
    except BaseException as exc:
        # SQLAlchemy closes the connection that Ctrl-C struck, but SQLite keeps it for as long as this traceback holds
        # a cursor, with its lock: to wait for that would be to wait for oneself.
        struck = connection.invalidated and connection.dialect.name == "sqlite"
        explained = _explained(task, exc, connection.engine)
        with suppress(SQLAlchemyError, DatabaseUnavailable):  # the connection may be what broke
            if not struck:
                told = "".join(traceback.format_exception(explained))
                runs.fail(connection, run_id, without_password(connection.engine.url, told))
                if outer is None:
                    connection.commit()
        if explained is not exc:
            raise explained  # noqa: B904 - it has its cause
        raise
    finally:
        task.close_session(commit=False)
    if outer is None:
        connection.commit()


def _built_on(begun: Begun, others: Collection[Any], connection: sa.Connection) -> set[int]:
    """The runs of all that the task requires, and of what it asked for while it ran."""
    required = [keys_of(other)[0] for other in others if type(other) in task_classes]
    return {*(begun.required or ()), *(runs.latest(connection, required).values() if required else ())}


def _explained(task: Any, exc: BaseException, engine: sa.Engine) -> BaseException:
    """The error itself, or another one that says what to do about it."""
    found: OzelotError | None = None
    with suppress(SQLAlchemyError, DatabaseUnavailable):  # the connection may be what broke
        if isinstance(exc, DBAPIError) and not exc.connection_invalidated:
            found = lacking.explained(task_label(task), exc, engine)
    found = found or _explained_by_run(task, exc)
    if found is None:
        return exc
    try:
        raise found from exc  # so that it has a traceback to be recorded
    except OzelotError as raised:
        return raised


def _explained_by_run(task: Any, exc: BaseException) -> NoRun | None:
    said = str(exc.orig if isinstance(exc, DBAPIError) else exc)
    owned = [model.__name__ for model in created_models(task) if is_owned(model)]
    if owned and "run_id" in said and re.search(r"not[ -]null|cannot be null|default value", said, re.I):
        return NoRun(
            f"{task_label(task)} added rows of {', '.join(owned)} without their run. In raw SQL and to_sql, set column "
            "'run_id' to current_run_id(), from ozelot.orm.run: frame.assign(run_id=current_run_id()).to_sql(...)"
        )
    return None


def _is_there(targets: list[ORMTarget], connection: sa.Connection) -> bool:
    return bool(marker.existing(connection, {key for target in targets for key in target.keys}))


def _mark_complete(target: ORMTarget, connection: sa.Connection) -> None:
    try:
        if type(target).create is ORMTarget.create:
            marker.insert(connection, target.name, target.params, target.keys[0])
        else:
            target.create()
    except IntegrityError:
        log.info("Another runner completed %s first; what this one did is rolled back", target)
        raise _RolledBackError from None
