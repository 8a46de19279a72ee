"""Tasks that are no ORM tasks: files, external ones, those of other Luigi packages; and what Luigi gives to a task."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import luigi
import pytest
from luigi.contrib.external_program import ExternalProgramTask
from luigi.mock import MockFileSystem, MockTarget

import ozelot
from ozelot.client import Client
from ozelot.engine import Event
from ozelot.errors import OutputMissing
from ozelot.etl.tasks import InputFileTask, ORMTask
from tests.engine.steps import LateStep, Step, asks, drawn, rows


class OtInput(InputFileTask):
    input_file = Path("input.csv")

    def load(self) -> list[str]:
        return Path("input.csv").read_text().split()


class OtExternal(luigi.ExternalTask):
    def output(self) -> Any:
        return luigi.LocalTarget("external.csv")


class OtExternalByHand(luigi.ExternalTask):
    """Somebody else's, and no file: its ``complete()`` knows."""

    def complete(self) -> bool:
        return Path("by-hand").exists()


class OtOnFiles(ORMTask):
    creates = ()

    def requires(self) -> Any:
        return {"input": OtInput(), "external": OtExternal()}

    def run(self) -> None:
        drawn.began += [*self.requires()["input"].load(), self.input()["external"].path]


class OtOnHand(ORMTask):
    creates = ()

    def requires(self) -> Any:
        return OtExternalByHand()


class OtMock(luigi.Task):
    """Its target is in memory."""

    def requires(self) -> Any:
        return Step(name="below")

    def output(self) -> Any:
        return MockTarget("ozelot-mock")

    def run(self) -> None:
        with self.output().open("w") as file:
            file.write("told")


class OtOnMock(ORMTask):
    creates = ()

    def requires(self) -> Any:
        return OtMock()

    def run(self) -> None:
        with self.input().open() as file:
            drawn.began.append(file.read())


class OtForgetful(luigi.Task):
    """Does not make what it says it does."""

    def output(self) -> Any:
        return luigi.LocalTarget("never.txt")

    def run(self) -> None:
        drawn.began.append("forgetful")

    def on_success(self) -> None:
        drawn.began.append("success")

    def on_failure(self, exception: Any) -> None:
        drawn.began.append(type(exception).__name__)


class OtOnForgetful(ORMTask):
    creates = ()

    def requires(self) -> Any:
        return OtForgetful()


class OtProgram(ExternalProgramTask):
    """The task of Luigi that calls a program; it works in the main thread only."""

    def requires(self) -> Any:
        return Step(name="below")

    def output(self) -> Any:
        return luigi.LocalTarget("program.txt")

    def program_args(self) -> list[str]:
        return [sys.executable, "-S", "-c", "open('program.txt', 'w').close()"]


class OtSays(ORMTask):
    creates = ()

    def run(self) -> None:
        self.set_status_message("reading")  # type: ignore[misc]
        self.set_progress_percentage(50)  # type: ignore[misc]
        self.set_tracking_url("http://localhost/1")  # type: ignore[misc]
        pickle.dumps(self)


class OtSaysPlain(luigi.Task):
    def output(self) -> Any:
        return luigi.LocalTarget("said.txt")

    def run(self) -> None:
        self.set_status_message("plain")  # type: ignore[misc]
        Path("said.txt").touch()


def test_files_that_are_there_run_nothing_and_are_what_others_read(here: Client) -> None:
    Path("input.csv").write_text("a b")
    Path("external.csv").write_text("x")
    result = ozelot.run(OtOnFiles())
    assert list(result.ran) == ["OtOnFiles {}"]
    assert sorted(result.complete) == ["OtExternal {}", "OtInput {}"]
    assert drawn.began == ["a", "b", "external.csv"]


@pytest.mark.parametrize("missing", ["input.csv", "external.csv"])
def test_a_file_that_is_missing_is_named(here: Client, missing: str) -> None:
    for name in {"input.csv", "external.csv"} - {missing}:
        Path(name).write_text("x")
    result = ozelot.run([OtOnFiles(), Step(name="other")])
    ((name, failure),) = result.failed.items()
    assert failure.reason == f"there is no file {missing}"
    assert isinstance(failure.exception, OutputMissing)
    assert result.not_reached == {"OtOnFiles {}": name}
    assert rows(here) == ["other"]


def test_an_external_task_without_a_file_is_asked_whether_it_is_complete(here: Client) -> None:
    first = ozelot.run(OtOnHand())
    assert isinstance(first.failed["OtExternalByHand {}"].exception, OutputMissing)
    Path("by-hand").touch()
    assert ozelot.run(OtOnHand()).ok


def test_an_external_file_that_turns_up_while_others_run_is_used(here: Client) -> None:
    class ProvidesIt(Step):
        def run(self) -> Any:
            Path("external.csv").write_text("x")
            super().run()

    Path("input.csv").write_text("a")
    result = ozelot.run([ProvidesIt(name="first"), OtOnFiles()])
    assert result.ok, result.failed


def test_another_target_stands_between_tasks_as_a_marker_does(here: Client) -> None:
    MockFileSystem().clear()
    first = ozelot.run(OtOnMock())
    assert first.ok, first.failed
    assert drawn.began == ["below", "told"]
    assert ozelot.run(OtOnMock()).ran == {}


def test_a_task_that_does_not_make_its_output_fails_and_is_no_success(here: Client) -> None:
    result = ozelot.run(OtOnForgetful())
    assert result.failed["OtForgetful {}"].reason == "there is no file never.txt"
    assert result.not_reached == {"OtOnForgetful {}": "OtForgetful {}"}
    assert drawn.began == ["forgetful", "OutputMissing"]


def test_a_program_that_luigi_calls_runs_once_where_all_is_in_one_thread(here: Client) -> None:
    drawn.acts["late"] = asks(OtProgram())
    with here.transaction():
        result = ozelot.run(LateStep(name="late"))
    assert result.ok, result.failed
    assert Path("program.txt").exists()
    assert rows(here) == ["below", "late"]
    assert ozelot.run(OtProgram()).ran == {}


def test_what_a_task_says_while_it_runs_is_told(here: Client) -> None:
    told: list[Event] = []
    assert ozelot.run([OtSays(), OtSaysPlain()], progress=told.append).ok
    said = [(event.label, event.text) for event in told if event.kind == "message"]
    assert said == [
        ("OtSays {}", "reading"),
        ("OtSays {}", "50 %"),
        ("OtSays {}", "http://localhost/1"),
        ("OtSaysPlain {}", "plain"),
    ]


def test_what_a_task_says_is_no_harm_inside_a_transaction(here: Client) -> None:
    with here.transaction():
        assert ozelot.run(OtSays()).ok
