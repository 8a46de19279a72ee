"""The same small pipelines under Luigi and under the engine: the same rows, the same hooks, the same is complete."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import luigi
import pytest
from luigi.util import inherits, requires

import ozelot
from ozelot.client import Client, set_client
from ozelot.etl import tasks
from ozelot.orm.base import Base
from ozelot.pipeline.graph import walk
from ozelot.pipeline.marker_target import task_label
from ozelot.testing import contents
from tests.engine.steps import EStep

pytestmark = pytest.mark.slow

Happened = list[str]
happened: Happened = []


def note(what: str, task: luigi.Task, *more: Any) -> None:
    happened.append(" ".join([what, task.get_task_family(), *map(repr, more)]))


class AsLuigi(tasks.ORMTask):
    """Notes the calls of its hooks."""

    creates = [EStep]

    def run(self) -> Any:
        note("run", self)
        self.session.add(EStep(name=self.get_task_family()))

    def on_success(self) -> None:
        note("on_success", self)

    def on_failure(self, exception: Any) -> None:
        note("on_failure", self, exception)


class AlFirst(AsLuigi):
    pass


class AlSecond(AsLuigi):
    def requires(self) -> Any:
        return {"first": AlFirst()}


class AlThird(AsLuigi):
    def requires(self) -> Any:
        return [AlFirst(), [AlSecond()]]


class AlFails(AsLuigi):
    def requires(self) -> Any:
        return AlFirst()

    def run(self) -> None:
        super().run()
        raise ValueError("no")


class AlOnFailed(AsLuigi):
    def requires(self) -> Any:
        return [AlFails(), AlSecond()]


class AlExits(AlFails):
    def run(self) -> None:
        raise SystemExit("no more")


class AlOnSuccessRaises(AsLuigi):
    def on_success(self) -> None:
        super().on_success()
        raise ValueError("after all")


class AlLate(AsLuigi):
    def run(self) -> Any:
        note("run", self)
        yield AlFirst()
        note("after the first", self)
        yield [AlSecond(), AlThird()]
        self.session.add(EStep(name="late"))


class AlWrapper(tasks.ORMWrapperTask):
    def requires(self) -> Any:
        return [AlLate()]


class AlPlainWrapper(luigi.WrapperTask):
    def requires(self) -> Any:
        return [AlThird()]


class AlMissing(luigi.ExternalTask):
    def output(self) -> Any:
        return luigi.LocalTarget("missing.csv")


class AlOnMissing(AsLuigi):
    def requires(self) -> Any:
        return [AlMissing(), AlSecond()]


class AlThere(luigi.ExternalTask):
    def output(self) -> Any:
        return luigi.LocalTarget("there.csv")


class AlInput(tasks.InputFileTask):
    input_file = Path("there.csv")


class AlFile(luigi.Task):
    """A file, and no marker."""

    def requires(self) -> Any:
        return [AlFirst(), AlThere(), AlInput()]

    def output(self) -> Any:
        return {"out": luigi.LocalTarget("made.txt")}

    def run(self) -> None:
        note("run", self)
        with self.output()["out"].open("w") as file:
            file.write("made")


class AlOnFile(AsLuigi):
    def requires(self) -> Any:
        return AlFile()

    def run(self) -> None:
        note("run", self, Path(self.input()["out"].path).read_text())


class AlBoth(AsLuigi):
    """A marker and a file."""

    def output(self) -> Any:
        return [*super().output(), luigi.LocalTarget("both.txt")]

    def run(self) -> None:
        super().run()
        Path("both.txt").write_text("both")


class AlComplete(AsLuigi):
    """Says by itself whether it is complete."""

    def complete(self) -> bool:
        return any(what == "run AlComplete" for what in happened)


class AlOnComplete(AsLuigi):
    def requires(self) -> Any:
        return [AlComplete(), AlBoth()]


class AlYear(AsLuigi):
    year: int = luigi.IntParameter(default=2010)


@requires(AlYear)
class AlRequires(AsLuigi):
    def run(self) -> None:
        note("run", self, self.year)  # type: ignore[attr-defined]


@inherits(AlYear)
class AlInherits(AsLuigi):
    def requires(self) -> Any:
        return [self.clone(AlYear), AlRequires(year=self.year + 1)]  # type: ignore[attr-defined,call-arg]


ROOTS: list[Callable[[], list[luigi.Task]]] = [
    lambda: [AlThird()],
    lambda: [AlOnFailed(), AlThird()],
    lambda: [AlExits(), AlSecond()],
    lambda: [AlOnSuccessRaises()],
    lambda: [AlLate()],
    lambda: [AlWrapper()],
    lambda: [AlPlainWrapper()],
    lambda: [AlOnMissing()],
    lambda: [AlOnFile()],
    lambda: [AlOnComplete()],
    lambda: [AlInherits(year=2001)],  # type: ignore[call-arg]
    lambda: [AlThird(), AlThird(), AlFirst()],
]


def under_luigi(roots: list[luigi.Task]) -> None:
    luigi.build(roots, local_scheduler=True, log_level="CRITICAL")


def under_the_engine(roots: list[luigi.Task]) -> None:
    ozelot.run(roots)


def in_order(calls: list[str], task: str) -> list[str]:
    """The calls of one task; in which order tasks have their turn that do not depend on each other is open."""
    return [what for what in calls if what.split(" ")[1] == task]


EVENTS = [
    luigi.Event.START,
    luigi.Event.SUCCESS,
    luigi.Event.FAILURE,
    luigi.Event.PROCESSING_TIME,
    luigi.Event.DEPENDENCY_PRESENT,
    luigi.Event.DEPENDENCY_MISSING,
    luigi.Event.DEPENDENCY_DISCOVERED,
]


@pytest.fixture
def events() -> Iterator[None]:
    """Notes the events of all tasks."""
    before = {cls: dict(handlers) for cls, handlers in luigi.Task._event_callbacks.items()}
    for event in EVENTS:

        def handler(task: luigi.Task, *more: Any, event: str = event) -> None:
            told = [task_label(one) if isinstance(one, luigi.Task) else type(one).__name__ for one in more]
            note(event, task, *told)

        luigi.Task.event_handler(event)(handler)
    yield
    luigi.Task._event_callbacks.clear()
    luigi.Task._event_callbacks.update(before)


def outcome(folder: Path, start: Callable[[list[luigi.Task]], None], roots: Callable[[], list[luigi.Task]]) -> Any:
    """What comes of roots in a fresh folder and database, in two runs: events, calls, rows, what is complete, files."""
    folder.mkdir()
    (folder / "there.csv").write_text("x")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        database = Client(connection_string=f"sqlite:///{folder / 'x.db'}")
        set_client(database)
        Base.create_all(database)
        luigi.task_register.Register.clear_instance_cache()
        found: list[Any] = []
        happened.clear()
        for _ in range(2):
            start(roots())
            events = {what for what in happened if what.startswith("event.core.dependency")}
            calls = [what for what in happened if what not in events]
            found.append(events)
            found.append(sorted(calls))
            found.append({task: in_order(calls, task) for task in {what.split(" ")[1] for what in calls}})
            found.append(sorted(row.split(",")[1] for row in contents(database)["estep"]))
            found.append({label: task.complete() for label, task in walk(roots()).tasks.items()})
        found.append(sorted(path.name for path in folder.glob("*.txt")))
        set_client(None)
        database.engine.dispose()
    return found


@pytest.mark.parametrize("roots", ROOTS, ids=lambda roots: " ".join(map(str, roots())))
def test_all_is_as_under_luigi(tmp_path: Path, events: None, roots: Callable[[], list[luigi.Task]]) -> None:
    expected = outcome(tmp_path / "luigi", under_luigi, roots)
    found = outcome(tmp_path / "engine", under_the_engine, roots)
    assert found == expected
    assert expected[1], "nothing was called"
