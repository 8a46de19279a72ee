"""The task classes: what a pipeline is written with.

::

    class LoadUnits(ORMTask):
        creates = [Unit]

        def run(self):
            self.session.add(Unit(name="Research"))

Everything that ``run()`` writes, and the marker that says that the task is complete, commit together when it
returns. ``clear()`` follows from what the task declares.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, cast

import luigi
import luigi.task_register
from luigi.task import flatten
from sqlalchemy import Table, orm
from sqlalchemy.orm import InstrumentedAttribute

from ozelot import client
from ozelot.checks import Check, Result, checked
from ozelot.clear import apply
from ozelot.db import transaction
from ozelot.errors import ConfigError, LoadError, MarkerNotFound, NotClearable
from ozelot.etl import completion, execution
from ozelot.etl.completion import check_completion as check_completion
from ozelot.model.base import Base, described, why_no_model
from ozelot.pipeline import declarations
from ozelot.pipeline.definition import to_define
from ozelot.pipeline.marker_target import ORMTarget, by_marker, task_label
from ozelot.pipeline.marker_target import task_name as get_task_name
from ozelot.pipeline.marker_target import task_params as get_task_param_string
from ozelot.staleness.project_modules import look_around

_P = ParamSpec("_P")
_R = TypeVar("_R")


class on_class_or_task(Generic[_P, _R]):  # noqa: N801 - a decorator
    """A method that, called on the class, acts on the task with default parameters, or on a task that it is given."""

    def __init__(self, function: Callable[Concatenate[Any, _P], _R]) -> None:
        self.function = function
        functools.update_wrapper(self, function)  # type: ignore[arg-type]

    def __get__(self, task: object, cls: type) -> Callable[_P, _R]:
        if task is not None:
            return cast("Callable[_P, _R]", types.MethodType(self.function, task))

        @functools.wraps(self.function)
        def on_default(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            if args and isinstance(args[0], cls):  # as in ORMTask.clear(self)
                return self.function(*args, **kwargs)
            return self.function(cls(), *args, **kwargs)

        return cast("Callable[_P, _R]", on_default)


class on_either:  # noqa: N801 - a decorator
    """A method whose first argument is the task, or the class where it is called on that."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        functools.update_wrapper(self, function)  # type: ignore[arg-type]

    def __get__(self, task: object, cls: type) -> Any:
        return types.MethodType(self.function, cls if task is None else task)


if TYPE_CHECKING:
    from ozelot.load import LoadReport, Refs

__all__ = [
    "InputFileTask",
    "ORMObjectCreatorMixin",
    "ORMTask",
    "ORMTestTask",
    "ORMWrapperTask",
    "TaskBase",
    "check_completion",
    "get_task_name",
    "get_task_param_string",
]

log = logging.getLogger(__name__)


class _TaskMeta(luigi.task_register.Register):
    """Lets a class of tasks answer for its parameters once, until it (or a base class) is changed."""

    changes = 0  # of all classes together

    def __setattr__(self, name: str, value: Any) -> None:
        _TaskMeta.changes += 1
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        _TaskMeta.changes += 1
        super().__delattr__(name)


class TaskBase(luigi.Task, metaclass=_TaskMeta):
    """What all tasks of ozelot have in common."""

    @classmethod
    def get_params(cls) -> Any:
        """The parameters of the class, as ``(name, parameter)``; Luigi looks for them four times a task."""
        known = cls.__dict__.get("_known_params")
        if known is None or known[0] != _TaskMeta.changes:
            known = _TaskMeta.changes, super().get_params()  # type: ignore[no-untyped-call]
            type.__setattr__(cls, "_known_params", known)  # which changes nothing about the class
        return known[1]

    def __repr__(self) -> str:
        """The task as one would type it, without parameters that are private or hidden, as in messages of Luigi."""
        values = self.to_str_params(only_significant=True, only_public=True)  # type: ignore[no-untyped-call]
        family = self.get_task_family()  # type: ignore[no-untyped-call]
        return f"{family}({', '.join(f'{name}={values[name]}' for name in values)})"

    @classmethod
    def bulk_complete(cls, parameter_tuples: Iterable[Any]) -> list[Any]:
        """Those of the parameters whose tasks are complete, by few queries; for ``luigi.tools.range``."""
        given = []
        for each in parameter_tuples:
            named, values = (each, ()) if isinstance(each, dict) else ({}, each)
            # There, cls is a functools.partial() of the class.
            given.append((each, cls(*(values if isinstance(values, tuple | list) else [values]), **named)))
        done = completion.complete_tasks([task for _, task in given])
        return [each for each, task in given if task_label(task) in done]

    #: Graphviz styles of the task's box in the pipeline diagram.
    diagram_style: Sequence[str] = ()

    def clear(self) -> None:
        """Bring the database back to what it was before the task ran."""
        raise NotClearable(f"{type(self).__name__} does not define clear()")

    @classmethod
    def get_name(cls) -> str:
        """The name in the database and in messages."""
        return get_task_name(cls)

    def get_param_string(self) -> str:
        """The parameters in the database and in messages, such as ``{'year': '2010'}``."""
        return get_task_param_string(self)

    @on_either
    def build(self_or_class, local_scheduler: bool = True, **params: Any) -> bool:  # noqa: N805 - it is either
        """Run the task with Luigi, with everything upstream that is incomplete.

        Args:
            local_scheduler: Luigi's own scheduler in this process; False: a ``luigid`` on this machine.
            **params: parameters of the task, where this is called on the class.

        Returns:
            Whether the task is complete in the end.

        Raises:
            DatabaseUnavailable: there is no connection to the database.
        """
        task = self_or_class(**params) if isinstance(self_or_class, type) else self_or_class
        if isinstance(task, ORMTask):
            task.client.check_connection()  # Luigi would catch the error, and go on
        if not luigi.build([task], local_scheduler=local_scheduler, log_level="INFO"):
            return False
        if not task.complete():
            log.warning(
                "Luigi met no error, but %s is not complete. A luigid ignores for 10 s that a task which it saw done "
                "is incomplete again: set stable_done_cooldown_secs = 0 in the section [scheduler] of its luigi.cfg",
                task_label(task),
            )
            return False
        return True


class ORMTask(TaskBase):
    """A task whose completion is a marker in the database.

    Attributes:
        creates: the models (or association tables) whose rows this task creates, and no other task does.
        updates: columns (``Model.column``, nullable, no default) that this task fills in rows of other tasks.
        checks: what must hold when ``run()`` has ended (:mod:`ozelot.checks`); where it does not, all is rolled back.
        object_classes: what ``creates`` was called in 0.2; a task that starts while such rows exist is warned about
            instead of refused.
        strict_writes: whether writing to a table that is not declared is an error, or a warning; by default what the
            setting ``STRICT_WRITES`` says.
        target_class: the class of the marker.
    """

    creates: Collection[type[Base] | Table] | None = None
    updates: Collection[InstrumentedAttribute[Any]] | None = None
    checks: Sequence[Check] = ()
    object_classes: Collection[type[Base]] | None = None
    strict_writes: bool | None = None
    target_class: type[ORMTarget] = ORMTarget
    diagram_style: Sequence[str] = ("bold",)

    _session: orm.Session | None = None

    #: Whether :meth:`done` was called in the run under way.
    run_done = False

    #: Whether a run does nothing but record what it was built on, so that it may be repeated.
    only_bundles = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if callable(cls.get_name):  # otherwise it is a parameter, and the class is refused
            declarations.task_classes[cls] = None
        look_around()
        for base in cls.__mro__:  # plain mixins included
            for name in ("clear", "mark_incomplete"):
                if inspect.isfunction(method := vars(base).get(name)):
                    setattr(base, name, on_class_or_task(method))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._route_run()

    def _route_run(self) -> None:
        # On the task and not on its class: so super().run(), mixins and decorators mean what they say.
        if callable(type(self).run):
            vars(self)["run"] = functools.partial(execution.run_task, self)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_session", "run")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._route_run()

    @by_marker
    def output(self) -> Any:
        """The marker; a task may add further targets."""
        return [self.target_class.from_task(self)]

    @by_marker
    def complete(self) -> bool:
        """Whether the marker is there (and any further targets are), and so are the rows that it stands for."""
        return bool(super().complete()) and completion.has_rows(self)  # type: ignore[no-untyped-call]

    @property
    def client(self) -> client.Client:
        """The database client."""
        return client.get_client()

    @property
    def session(self) -> orm.Session:
        """The session of this task, opened at first use; within ``run()`` it is part of the task's transaction."""
        if self._session is not None and self._session.bind is not self.client.engine:
            self.close_session(commit=False)  # the program went over to another database
        if self._session is None:
            self._session = self.client.create_session()
        return self._session

    def close_session(self, commit: bool = True) -> None:
        """Commit (or roll back) and close the session of this task, if it is open."""
        session, self._session = self._session, None
        if session is not None:
            try:
                if commit:
                    session.commit()
            finally:
                session.close()

    def load(
        self, model: type[Base], rows: Any, *, refs: Refs | None = None, missing: str | Mapping[Any, str] = "error"
    ) -> LoadReport:
        """Write rows into the table of a model, by the fastest way that the database has: :func:`ozelot.load.loader`.

        ::

            self.load(Flight, frame, refs={"carrier": Airline.code}, missing="skip")
        """
        if isinstance(model, type) and (why := why_no_model(model)):
            raise LoadError(f"{task_label(self)} loads {described(model)}, {why}")
        from ozelot import load as bulk  # knows all about every database, which takes a while to import

        return bulk.load(self.session, model, rows, refs=refs, missing=missing)

    def check(self, *checks: Check) -> list[Result]:
        """Make checks at once, within ``run()`` on what it has done so far; what came of them is kept with the run.

        Raises:
            CheckFailed: one fails that is an error.
        """
        results = checked(self.session, checks, task_label(self))
        if (opened := transaction.current(self.client.engine)) is not None:
            opened.run.checks += [result.as_data() for result in results]
        return results

    def done(self, commit: bool = True) -> None:
        """End the task: close its session and mark it complete. A ``run()`` that just returns has the same effect."""
        self.run_done = True
        self.close_session(commit)
        self.mark_complete()

    def mark_complete(self) -> None:
        """Write the marker. Within ``run()``, that happens at its end."""
        for target in flatten(self.output()):
            if isinstance(target, ORMTarget):
                target.create()

    @on_class_or_task
    @declarations.derived
    def mark_incomplete(self) -> None:
        """Remove the marker, if there is one; the rows stay. Within the task's own ``run()`` this does nothing."""
        for target in flatten(self.output()):
            if isinstance(target, ORMTarget) and target.exists():
                with contextlib.suppress(MarkerNotFound):  # somebody else was faster
                    target.remove()

    @to_define
    def run(self) -> Any:
        """Fill the database; for the derived class to define."""

    @on_class_or_task
    @declarations.derived
    def clear(self, *, include_unrecorded: bool = False) -> None:
        """Delete the rows and reset the columns that this task declares, and remove its marker, in one transaction.

        Where rows of other tasks still refer to these rows, only the marker goes, with a warning:
        ``check_completion(root, clear=True)`` clears all of them in order.

        Args:
            include_unrecorded: also delete rows that no run wrote, where they cannot be told from the task's own.

        Raises:
            NotClearable: the task declares nothing.
            ClearRefused: there are rows that no run wrote, or rows of another task that cannot be told from these.
        """
        apply.clear_one(self, include_unrecorded=include_unrecorded)


class ORMTestTask(ORMTask):
    """A task that checks what others loaded: it declares ``checks``, or ``run()`` asserts; it writes nothing."""

    creates: Collection[type[Base] | Table] | None = ()
    diagram_style = ("diagonals",)

    def done(self, commit: bool = False) -> None:
        """As for any task, but its session is not committed unless asked to."""
        super().done(commit)


class ORMWrapperTask(ORMTask):
    """A task that only bundles others: it is complete when its marker is there and all that it requires is complete."""

    creates: Collection[type[Base] | Table] | None = ()
    only_bundles = True
    diagram_style = ("dotted",)

    def run(self) -> Any:
        """Do nothing: being required by this task is what its requirements needed to run."""

    @by_marker
    def complete(self) -> bool:
        """For Luigi: whether the marker is there, and the requirements are complete, those of wrappers included."""
        return super().complete() and completion.all_complete(self)


class ORMObjectCreatorMixin:
    """For tasks of ozelot 0.2 that declare ``object_classes``; ``clear()`` deletes all their rows."""

    object_classes: Collection[type[Base]] | None = ()

    @on_class_or_task
    @declarations.derived
    def clear(self, *, include_unrecorded: bool = False) -> None:
        """Do what :meth:`ORMTask.clear` does."""
        apply.clear_one(cast(ORMTask, self), include_unrecorded=include_unrecorded)


class InputFileTask(TaskBase):
    """A file that is there, or is not: complete when it exists.

    Attributes:
        input_file: the path, set by the class (or by a property).
    """

    input_file: str | Path | None = None
    diagram_style = ("rounded",)

    def output(self) -> Any:
        """The file."""
        if self.input_file is None:
            raise ConfigError(f"{type(self).__name__} has no file: set 'input_file' in the class")
        return [luigi.LocalTarget(str(self.input_file))]

    def clear(self) -> None:
        """Leave the file as it is: it is not ours to delete."""
        log.info("Called 'clear' for input file task %s - doing nothing", self.get_name())

    def run(self) -> None:
        """Do nothing: the file is there, or somebody has to provide it."""

    def load(self) -> Any:
        """The content of the file, in a form that other tasks can use; for the derived class to define."""
        raise NotImplementedError(f"{type(self).__name__} does not define load()")
