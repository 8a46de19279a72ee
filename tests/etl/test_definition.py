"""A class of tasks that cannot run, or does not say what it writes, is an error before anything runs."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import luigi
import pytest
import sqlalchemy as sa
from luigi.task import externalize
from sqlalchemy import orm
from sqlalchemy.orm import Mapped, mapped_column

import ozelot
from ozelot import config
from ozelot.checks import not_null
from ozelot.client import Client
from ozelot.errors import LoadError, NotClearable, TaskInvalid, UndeclaredWrite
from ozelot.etl import tasks
from ozelot.etl.completion import clear_plan
from ozelot.etl.status import State, status
from ozelot.model.base import table_of
from ozelot.orm.base import Base
from ozelot.pipeline.declarations import creator_names, task_classes, updater_names
from ozelot.pipeline.graph import walk
from tests.tables import create_tables


class Gauge(Base):
    level: Mapped[int | None]


class ElsewhereBase(orm.DeclarativeBase): ...


class Foreign(ElsewhereBase):
    __tablename__ = "foreigngauge"
    id: Mapped[int] = mapped_column(primary_key=True)


class Abstract(Base):
    __abstract__ = True


ELSEWHERE = sa.Table("gauge_elsewhere", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))


@pytest.fixture
def anywhere(db: Client) -> Client:
    create_tables(db, Gauge)
    return db


@pytest.fixture
def here(sqlite_db: Client) -> Client:
    create_tables(sqlite_db, Gauge)
    return sqlite_db


def load(self: Any) -> None:
    self.load(Gauge, [{"level": 1}])


async def later(self: Any) -> None:
    load(self)


async def step_by_step(self: Any) -> Any:
    yield self


class Later:
    async def __call__(self) -> None: ...


class RunMixin:
    def run(self) -> None:
        load(self)


class Between(tasks.ORMTask):
    """No run() of its own."""


class HasRun(tasks.ORMTask):
    def run(self) -> None:
        load(self)


def made(bases: Any = tasks.ORMTask, /, **attributes: Any) -> type[Any]:
    bases = bases if isinstance(bases, tuple) else (bases,)
    number = len(task_classes)
    body = {"__module__": __name__, "task_namespace": f"made{number}", **attributes}
    found: type[Any] = type(bases[0])("Made", bases, body)
    return found


def refused(cls: type[Any], error: type[Exception] = TaskInvalid) -> str:
    """The message of a class that is refused in whatever way it is used, and leaves nothing."""
    ways = [lambda: ozelot.run(cls()), lambda: walk(cls()), lambda: cls().clear()]
    told = {_raised(act, error) for act in [*ways, *([cls().run] if callable(cls().run) else [])]}
    (message,) = told
    assert "\n" not in message
    return message.removeprefix("Made: ")


def _raised(act: Callable[[], Any], error: type[Exception]) -> str:
    with pytest.raises(error) as caught:
        act()
    return str(caught.value)


NO_RUN = "it has no run(): define run(), or derive it from ORMWrapperTask if it only bundles other tasks"
ASYNC = "() is 'async def', which nothing awaits: use 'def', and call asyncio.run(...) inside"


@pytest.mark.parametrize(
    ("bases", "attributes", "message"),
    [
        (tasks.ORMTask, {"creates": [Gauge]}, NO_RUN),
        (Between, {"creates": [Gauge]}, NO_RUN),
        (tasks.ORMTask, {"updates": [Gauge.level]}, NO_RUN),
        (tasks.ORMTask, {"object_classes": [Gauge]}, NO_RUN),
        (tasks.ORMTask, {}, NO_RUN),
        (tasks.ORMTask, {"creates": [Gauge], "rum": load}, "it has no run(), but rum(): rename it to run()"),
        (tasks.ORMTask, {"creates": (), "Run": load}, "it has no run(), but Run(): rename it to run()"),
        (tasks.ORMTestTask, {}, "it checks nothing: add 'checks = [...]', or define run()"),
        (tasks.ORMTestTask, {"rnu": load}, "it has no run(), but rnu(): rename it to run()"),
        (
            (tasks.ORMTask, RunMixin),
            {"creates": [Gauge]},
            "run() of RunMixin is hidden by ORMTask: name RunMixin first in the bases",
        ),
        (
            tasks.ORMTask,
            {"creates": [Gauge], "run": 5},
            "run is an object of type int, not a method: write 'def run(self)', or 'run = None' for an external task",
        ),
        *[
            (tasks.ORMTask, {"creates": [Gauge], "run": function}, f"run{ASYNC}")
            for function in (later, step_by_step, staticmethod(later), functools.partial(later, None), Later())
        ],
        (tasks.ORMWrapperTask, {"run": later}, f"run{ASYNC}"),
        (tasks.ORMTask, {"creates": (), "run": load, "complete": later}, f"complete{ASYNC}"),
        (tasks.ORMTask, {"creates": (), "run": load, "requires": later}, f"requires{ASYNC}"),
        (
            tasks.InputFileTask,
            {"input_file": "x", "requries": load},
            "'requries' has no meaning for ozelot: rename it to 'requires'",
        ),
    ],
)
def test_a_task_that_cannot_run_is_refused(here: Client, bases: Any, attributes: dict[str, Any], message: str) -> None:
    cls = made(bases, **attributes)
    if issubclass(cls, tasks.ORMTask):
        told = refused(cls)
    else:
        told = _raised(lambda: ozelot.run(cls()), TaskInvalid).removeprefix("Made: ")
    assert told.startswith(f"{message} (")


@pytest.mark.parametrize(
    ("bases", "attributes"),
    [
        (HasRun, {"creates": [Gauge]}),
        ((RunMixin, tasks.ORMTask), {"creates": [Gauge]}),
        (tasks.ORMTask, {"creates": [Gauge], "run": lambda self: load(self)}),
        (tasks.ORMTask, {"creates": {Gauge}, "run": staticmethod(lambda: None)}),
        (tasks.ORMTask, {"creates": [Gauge], "run": functools.partial(int, 1)}),
        (tasks.ORMTask, {"creates": [Gauge], "run": lambda self: (step for step in self.deps())}),
        (tasks.ORMTask, {"creates": ()}),
        (tasks.ORMTask, {"creates": (), "checks": [not_null(Gauge.level)]}),
        (tasks.ORMTestTask, {"checks": [not_null(Gauge.level)]}),
        (tasks.ORMWrapperTask, {}),
        (tasks.ORMWrapperTask, {"requirements": lambda self: None}),
        (luigi.WrapperTask, {}),
        (tasks.ORMTask, {"creates": [Gauge], "run": load, "priority": luigi.IntParameter(default=1)}),
        (tasks.ORMTask, {"creates": [Gauge], "run": load, "strict_writes": luigi.BoolParameter(default=True)}),
    ],
)
def test_every_other_form_of_a_task_runs(here: Client, bases: Any, attributes: dict[str, Any]) -> None:
    result = ozelot.run(made(bases, **attributes)())
    assert result.ok, result.failed


def test_the_message_has_file_and_line(here: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoRun(tasks.ORMTask):
        creates = [Gauge]

    class NoList(tasks.ORMTask):
        """The line is that of the attribute."""

        creates: Any = Gauge

        def run(self) -> None:
            load(self)

    monkeypatch.chdir(Path(__file__).parent)
    first = inspect.getsourcelines(NoRun)[1]
    assert refused(NoRun).endswith(f"(test_definition.py, line {first})")
    assert refused(NoList).endswith(f"(test_definition.py, line {first + 6})")
    wrong = made(creates=[Gauge], run=later)
    assert refused(wrong).endswith(f"(test_definition.py, line {later.__code__.co_firstlineno})")


@pytest.mark.parametrize(
    ("bases", "attributes"),
    [(tasks.ORMTask, {"creates": [Gauge]}), (luigi.Task, {"output": lambda self: luigi.LocalTarget("never")})],
)
def test_a_run_that_returns_a_coroutine_fails(anywhere: Client, bases: Any, attributes: dict[str, Any]) -> None:
    cls = made(bases, run=lambda self: later(self), **attributes)
    (failure,) = ozelot.run(cls()).failed.values()
    assert failure.reason.startswith(
        "TaskInvalid: Made: run() returns an object of type coroutine, which nothing awaits: call asyncio.run(...) "
    )
    assert not cls().complete()


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (
            {},
            "it does not say what it writes: add 'creates = [Gauge]' or 'updates = [Model.column, ...]' to class",
        ),
        ({"create": [Gauge]}, "'create' has no meaning for ozelot: rename it to 'creates'"),
        ({"created": Gauge}, "'created' has no meaning for ozelot: rename it to 'creates'"),
        ({"object_class": [Gauge]}, "'object_class' has no meaning for ozelot: rename it to 'object_classes'"),
        ({"update": [Gauge.level]}, "'update' has no meaning for ozelot: rename it to 'updates'"),
        ({"creates": (), "updated": Gauge.level}, "'updated' has no meaning for ozelot: rename it to 'updates'"),
        ({"creates": (), "check": [not_null(Gauge.level)]}, "'check' has no meaning for ozelot: rename it to 'checks'"),
        ({"creates": Gauge}, "creates is the class Gauge, not a list: write 'creates = [Gauge]'"),
        ({"creates": "gauge"}, "creates is the string 'gauge', not a list: write 'creates = [Model, ...]'"),
        ({"creates": ["gauge"]}, "creates names the string 'gauge', not a model: write Gauge, without quotes"),
        (
            {"creates": ["tree ring"]},
            "creates names the string 'tree ring', not a model: name the class, without quotes",
        ),
        ({"creates": [Gauge()]}, "creates names an object of type Gauge, not a model: name the class"),
        ({"creates": [HasRun]}, "creates names the class HasRun, which is not a model"),
        ({"creates": [Abstract]}, "creates names the class Abstract, an abstract model, which has no table"),
        (
            {"creates": [Gauge.level]},
            "creates names the column Gauge.level: name the model, or the column in 'updates'",
        ),
        ({"creates": [Foreign]}, "creates names the class Foreign, a model of another declarative base: derive it"),
        ({"creates": [ELSEWHERE]}, "creates names the table gauge_elsewhere, a table of another MetaData: define it"),
        (
            {"creates": property(lambda self: [Gauge])},
            "creates is an object of type property, not a list: write 'creates = ",
        ),
        ({"object_classes": Gauge}, "object_classes is the class Gauge, not a list: write 'object_classes = [Gauge]'"),
        ({"updates": Gauge.level}, "updates is the column Gauge.level, not a list: write 'updates = [Gauge.level]'"),
        (
            {"updates": [Foreign.id]},
            "updates names Foreign.id, a column of a model of another declarative base: derive it",
        ),
        (
            {"creates": (), "session": luigi.Parameter(default="")},
            "'session' is a parameter, but every task has its own 'session': re",
        ),
        (
            {"creates": luigi.Parameter(default="")},
            "'creates' is a parameter, but every task has its own 'creates': re",
        ),
        (
            {"creates": (), "task_id": luigi.Parameter(default="")},
            "'task_id' is a parameter, but every task has its own 'task_id'",
        ),
    ],
)
def test_what_a_task_declares_wrongly_is_named(here: Client, attributes: dict[str, Any], message: str) -> None:
    assert refused(made(run=lambda self: self.load(Gauge, [{"level": 1}]), **attributes)).startswith(message)


@pytest.mark.parametrize("name", ["client", "load", "clear", "complete", "get_name", "deps", "run_done"])
def test_no_parameter_may_hide_what_every_task_has(here: Client, name: str) -> None:
    cls = made(creates=[Gauge], run=load, **{name: luigi.Parameter(default="x")})
    message = f"'{name}' is a parameter, but every task has its own '{name}': rename the parameter ("
    assert _raised(lambda: ozelot.run(cls()), TaskInvalid).startswith(f"Made: {message}")


@pytest.mark.parametrize("wrong", [Gauge, ["level"]], ids=["model", "string"])
def test_updates_that_are_no_columns_are_refused_before_anything_runs(here: Client, wrong: Any) -> None:
    updates = wrong if isinstance(wrong, list) else [wrong]
    told = refused(made(run=load, updates=updates), NotClearable)
    assert "which is no column: 'updates' names mapped columns, as in 'updates = [Employee.bonus]' (" in told


def test_a_class_that_is_wrong_is_no_harm_to_others(anywhere: Client) -> None:
    for wrong in (Gauge, ["gauge"], [Foreign], property(lambda self: [Gauge])):
        made(run=load, creates=wrong)
        made(run=load, updates=wrong)
    good = made(run=load, creates=[Gauge])
    assert good.get_name() in creator_names([Gauge])
    assert updater_names(table_of(Gauge).c.level) is not None
    assert ozelot.run(good()).ok
    good.clear()
    assert ozelot.run(good()).ok
    assert ozelot.verify(good()) == []


def test_nothing_runs_where_one_task_is_wrong(anywhere: Client) -> None:
    below = made(creates=[Gauge], run=load)
    wrong = made(creates=[Gauge], requires=lambda self: below())
    with pytest.raises(TaskInvalid):
        ozelot.run(made(tasks.ORMWrapperTask, requires=lambda self: [below(), wrong()])())
    assert not below().complete()


def test_a_requirement_that_turns_up_late_and_is_wrong_fails_the_task_that_asks(anywhere: Client) -> None:
    wrong = made(creates=[Gauge])

    def asks(self: Any) -> Any:
        yield wrong()

    (failure,) = ozelot.run(made(creates=(), run=asks)()).failed.values()
    assert "it has no run()" in failure.reason


def test_strict_writes_false_still_runs_a_task_that_declares_nothing(
    anywhere: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    assert ozelot.run(made(run=load, strict_writes=False)()).ok
    own = made(run=load, clear=lambda self: self.mark_incomplete())
    assert ozelot.run(own()).ok
    assert caplog.text.count("Made inserts into gauge, which it does not declare") == 2
    silent = made(run=load)
    monkeypatch.setitem(vars(config), "STRICT_WRITES", False)
    assert ozelot.run(silent()).ok
    monkeypatch.delitem(vars(config), "STRICT_WRITES")
    with pytest.raises(TaskInvalid):
        ozelot.run(silent())


@pytest.mark.parametrize("how", ["the task", "the class", "by hand"])
def test_an_external_task_waits_for_another_program(anywhere: Client, how: str) -> None:
    below = made(creates=[Gauge], run=load)
    cls = made(creates=[Gauge], run=load, requires=lambda self: below())

    def external() -> Any:
        return {"the task": lambda: externalize(cls()), "the class": externalize(cls), "by hand": cls}[how]()

    if how == "by hand":
        cls.run = None
    root = made(creates=(), requires=lambda self: external())()
    label = f"{cls.get_name()} {{}}"
    result = ozelot.run(root)
    assert result.failed[label].reason == "another program has to complete it (run = None)"
    assert [*result.not_reached] == [f"{root.get_name()} {{}}"]
    assert not below().complete()  # as in Luigi, nobody looks behind an external task
    cls().mark_complete() if how == "by hand" else cls().run()
    assert ozelot.run(root).ran.keys() == {f"{root.get_name()} {{}}"}
    assert {entry.label: entry.state for entry in status(root)}[label] is not State.STALE
    assert [step.task.get_name() for step in clear_plan(root, [cls()]).steps] == [root.get_name(), cls.get_name()]


def test_a_task_that_is_required_as_it_is_and_as_an_external_one_runs(anywhere: Client) -> None:
    cls = made(creates=[Gauge], run=load)
    first = made(creates=(), requires=lambda self: externalize(cls)())
    second = made(creates=(), requires=lambda self: cls())
    assert ozelot.run(made(tasks.ORMWrapperTask, requires=lambda self: [first(), second()])()).ok


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("Gauge", "load() expects a model and has the string 'Gauge', not a model: write Gauge, without quotes"),
        ([Gauge], "load() expects a model and has an object of type list, not a model"),
        (Gauge(), "load() expects a model and has an object of type Gauge: write load(Gauge, ...)"),
        (
            table_of(Gauge),
            "load() expects a model and has the table gauge. Write its rows with session.execute(insert(gauge), rows)",
        ),
        (Gauge.level, "load() expects a model and has the column Gauge.level, which is not a model"),
        (HasRun, "Made {} loads the class HasRun, which is not a model"),
        (
            Foreign,
            "Made {} loads the class Foreign, a model of another declarative base: derive it from ozelot.orm.base.Base",
        ),
    ],
)
def test_what_is_no_model_is_not_loaded(here: Client, model: Any, message: str) -> None:
    cls = made(creates=[Gauge], run=lambda self: self.load(model, [{"level": 1}]), task_namespace="")
    with pytest.raises(LoadError) as caught:
        cls().run()
    assert str(caught.value) == message


def test_a_row_of_another_declarative_base_is_told_to_be_none_of_ozelots(anywhere: Client) -> None:
    table_of(Foreign).create(anywhere.engine)  # type: ignore[arg-type]
    cls = made(creates=[Gauge], run=lambda self: self.session.add(Foreign(id=1)))
    told = r"inserts into foreigngauge.*\(no model derived from ozelot\.orm\.base\.Base defines foreigngauge\)"
    with pytest.raises(UndeclaredWrite, match=told):
        cls().run()
