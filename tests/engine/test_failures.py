"""What fails stops what stands on it, and nothing else."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, ClassVar

import luigi
import pytest
import sqlalchemy as sa

import ozelot
from ozelot.client import Client
from ozelot.engine import RunResult
from ozelot.etl.status import status
from ozelot.etl.tasks import ORMTask
from tests.engine.steps import LateStep, Step, asks, chain, drawn, fail, label, rows, wait_for


class Raises(ORMTask):
    """Raises in one of the methods that Luigi and the engine call."""

    creates = ()
    where: str = luigi.Parameter()

    def _raise_in(self, where: str) -> None:
        if self.where == where:
            raise LookupError(f"raised in {where}")

    def run(self) -> None:
        self._raise_in("run")

    def on_success(self) -> None:
        self._raise_in("on_success")

    def on_failure(self, exception: Any) -> None:
        self._raise_in("on_failure")


class RaisesInRequires(ORMTask):
    creates = ()

    def requires(self) -> Any:
        raise LookupError("raised in requires")


class RaisesInComplete(ORMTask):
    creates = ()

    def complete(self) -> bool:
        raise LookupError("raised in complete")


class RaisesInOutput(ORMTask):
    creates = ()

    def output(self) -> Any:
        raise LookupError("raised in output")


class CompleteOnlyRaisesLater(luigi.Task):
    """Its ``complete()`` works until it ran."""

    def run(self) -> None:
        drawn.began.append("ran")

    def complete(self) -> bool:
        if drawn.began:
            raise LookupError("raised in complete")
        return False


class OnRaises(ORMTask):
    creates = ()
    where: str = luigi.Parameter()

    def requires(self) -> Any:
        return [Raises(where=self.where)]


def test_the_others_go_on_and_the_result_says_why(everywhere: Client) -> None:
    drawn.requires |= {"top": ["middle", "good"], "middle": ["bad"], "beside": ["good"]}
    drawn.acts["bad"] = fail
    result = ozelot.run([Step(name="top"), Step(name="beside")], workers=2)
    assert rows(everywhere) == ["beside", "good"]
    assert not result.ok
    (failure,) = result.failed.values()
    assert list(result.failed) == [label("bad")]
    assert failure.reason == "ValueError: no bad"
    assert isinstance(failure.exception, ValueError)
    assert "raise ValueError" in failure.traceback
    assert result.not_reached == {label("middle"): label("bad"), label("top"): label("bad")}
    assert set(result.ran) == {label("good"), label("beside")}


def test_a_run_after_a_failure_does_what_is_left(here: Client) -> None:
    drawn.acts["5"] = fail
    first = ozelot.run(chain(9))
    del drawn.acts["5"]
    second = ozelot.run(chain(9))
    assert len(first.ran) == 5
    assert list(second.ran) == [label(str(number)) for number in range(5, 9)]
    assert second.complete == list(first.ran)


@pytest.mark.parametrize(
    "error", [SystemExit(3), asyncio.CancelledError("cancelled"), GeneratorExit(), pytest.fail.Exception("outcome")]
)
@pytest.mark.parametrize("workers", [1, 3])
def test_what_is_no_exception_fails_the_task_as_under_luigi(here: Client, error: BaseException, workers: int) -> None:
    def exit_here(step: Step) -> None:
        raise error

    drawn.acts["bad"] = exit_here
    drawn.requires["top"] = ["bad"]
    result = ozelot.run([Step(name="top"), Step(name="a"), Step(name="b")], workers=workers)
    assert result.failed[label("bad")].exception is error
    assert rows(here) == ["a", "b"]
    assert result.not_reached == {label("top"): label("bad")}


@pytest.mark.parametrize("workers", [1, 3])
def test_a_keyboard_interrupt_in_a_task_ends_the_run(here: Client, workers: int) -> None:
    def interrupt(step: Step) -> None:
        raise KeyboardInterrupt

    drawn.acts["bad"] = interrupt
    drawn.requires["top"] = ["bad"]
    with pytest.raises(KeyboardInterrupt):
        ozelot.run(Step(name="top"), workers=workers)
    assert rows(here) == []
    del drawn.acts["bad"]
    assert ozelot.run(Step(name="top")).ok


def failed_with(result: RunResult, task: str) -> str:
    assert not result.ok
    return result.failed[task].reason


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_on_success_that_raises_after_the_commit_is_told_as_that(here: Client, executor: str) -> None:
    result = ozelot.run(OnRaises(where="on_success"), executor=executor, workers=1)
    label = "Raises {'where': 'on_success'}"
    assert failed_with(result, label) == (
        "on_success() failed after the commit, and the task is complete: LookupError: raised in on_success"
    )
    assert result.failed[label].is_complete
    assert list(result.ran) == [label, "OnRaises {'where': 'on_success'}"]
    assert result.not_reached == {}
    (entry,) = status(Raises(where="on_success"))
    assert (entry.is_complete, entry.last) == (True, "done")
    assert ozelot.run(OnRaises(where="on_success")).ok


def test_on_success_that_raises_before_the_commit_rolls_all_back(here: Client) -> None:
    with pytest.raises(LookupError), here.transaction():
        result = ozelot.run(OnRaises(where="on_success"))
        failure = result.failed["Raises {'where': 'on_success'}"]
        assert not failure.is_complete
        assert failure.exception is not None
        raise failure.exception
    assert not Raises(where="on_success").complete()


def test_retries_are_not_for_on_success(here: Client) -> None:
    class Retried(Raises):
        retry_count = 3
        began: ClassVar[list[str]] = []

        def run(self) -> None:
            self.began.append("run")

    result = ozelot.run(Retried(where="on_success"))
    assert (len(result.failed), Retried.began) == (1, ["run"])


def test_on_failure_that_raises_does_not_hide_the_first_error(here: Client) -> None:
    class BothRaise(Raises):
        def run(self) -> None:
            fail(Step(name="first"))

    result = ozelot.run(BothRaise(where="on_failure"))
    assert "no first" in failed_with(result, "BothRaise {'where': 'on_failure'}")


@pytest.mark.parametrize("cls", [RaisesInRequires, RaisesInComplete, RaisesInOutput])
def test_a_task_that_cannot_be_looked_at_fails_and_the_others_go_on(here: Client, cls: type[ORMTask]) -> None:
    result = ozelot.run([cls(), Step(name="other")])
    assert "raised in" in failed_with(result, f"{cls.__name__} {{}}")
    assert rows(here) == ["other"]


@pytest.mark.parametrize("cls", [RaisesInRequires, RaisesInComplete, RaisesInOutput])
def test_a_late_requirement_that_cannot_be_looked_at_fails_the_one_that_asked(here: Client, cls: type[ORMTask]) -> None:
    drawn.acts["late"] = asks(cls())
    result = ozelot.run([LateStep(name="late"), Step(name="other")])
    assert "raised in" in failed_with(result, label("late", LateStep))
    assert rows(here) == ["other"]


def test_complete_that_raises_after_the_run_fails_the_task(here: Client) -> None:
    result = ozelot.run([CompleteOnlyRaisesLater(), Step(name="other")])  # type: ignore[no-untyped-call]
    assert "raised in complete" in failed_with(result, "CompleteOnlyRaisesLater {}")
    assert "in complete" in result.failed["CompleteOnlyRaisesLater {}"].traceback
    assert rows(here) == ["other"]


def test_the_last_error_of_sql_is_told_in_one_line(here: Client) -> None:
    drawn.acts["bad"] = lambda step: step.session.execute(sa.text("SELECT 1 FROM nowhere"))
    result = ozelot.run(Step(name="bad"))
    reason = failed_with(result, label("bad"))
    assert "nowhere" in reason and "\n" not in reason


def test_without_keep_going_nothing_begins_after_a_failure(here: Client) -> None:
    drawn.acts["3"] = fail
    result = ozelot.run([Step(name=str(number)) for number in range(60)], keep_going=False)
    assert drawn.began == ["0", "1", "2", "3"]
    assert len(rows(here)) == 3
    assert set(result.not_reached.values()) == {""}
    assert len(result.not_reached) == 56


def test_without_keep_going_what_runs_beside_ends(here: Client) -> None:
    both, failed = threading.Barrier(2), threading.Event()

    def bad(step: Step) -> None:
        both.wait(30)
        fail(step)

    def good(step: Step) -> None:
        both.wait(30)
        wait_for(failed)

    drawn.acts |= {"bad": bad, "good": good}
    drawn.requires["top"] = ["bad", "good"]
    result = ozelot.run(
        Step(name="top"), workers=2, keep_going=False, progress=lambda e: failed.set() if e.kind == "failed" else None
    )
    assert rows(here) == ["good"]
    assert result.not_reached == {label("top"): label("bad")}
