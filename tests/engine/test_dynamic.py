"""Requirements that turn up while a task runs."""

from __future__ import annotations

import itertools
import sqlite3
from pathlib import Path
from typing import Any

import luigi
import pytest

import ozelot
from ozelot.client import Client
from ozelot.etl.tasks import InputFileTask, ORMTask
from tests.engine.steps import EStep, LateStep, Step, asks, drawn, fail, label, rows
from tests.statements import recorded_statements


class MissingFile(InputFileTask):
    input_file = Path("missing.csv")


class PlainLate(luigi.Task):
    """No ORM task: a file says that it is complete."""

    name: str = luigi.Parameter()

    def output(self) -> Any:
        return luigi.LocalTarget(f"{self.name}.txt")

    def run(self) -> Any:
        drawn.began.append(self.name)
        yield from drawn.acts[self.name](self)
        with self.output().open("w") as file:
            file.write(self.name)


class NeverComplete(luigi.Task):
    """Has nothing that says that it ran."""

    def run(self) -> None:
        drawn.began.append("never")


class DeniesIt(ORMTask):
    creates = ()

    def complete(self) -> bool:
        return False


class AsksForMany(ORMTask):
    creates = ()
    count: int = luigi.IntParameter()

    def run(self) -> Any:
        for number in range(self.count):
            yield Step(name=f"{number:04}")


class OnTop(ORMTask):
    creates = ()

    def requires(self) -> Any:
        return [LateStep(name="late")]


def test_several_in_a_row_as_lists_and_dicts_are_answered_with_what_they_put_out(everywhere: Client) -> None:
    answers: list[Any] = []

    def ask(step: LateStep) -> Any:
        answers.append((yield Step(name="a")))
        answers.append((yield [Step(name="b"), Step(name="c")]))
        answers.append((yield {"x": Step(name="d"), "y": [Step(name="a"), Step(name="e")]}))

    drawn.acts["late"] = ask
    result = ozelot.run(LateStep(name="late"), workers=2)
    assert result.ok, result.failed
    assert rows(everywhere) == ["a", "b", "c", "d", "e", "late"]
    one, two, named = answers[-3:]
    assert one == Step(name="a").output()
    assert two == [Step(name="b").output(), Step(name="c").output()]
    assert named == {"x": Step(name="d").output(), "y": [Step(name="a").output(), Step(name="e").output()]}


def test_what_a_requirement_is_depends_on_what_another_one_loaded(here: Client) -> None:
    def ask(step: LateStep) -> Any:
        yield Step(name="list")
        names = [row.name for row in step.session.query(EStep)]
        yield [Step(name=f"of {name}") for name in names if " " not in name]

    drawn.acts["late"] = ask
    assert ozelot.run(LateStep(name="late")).ok
    assert rows(here) == ["late", "list", "of list"]


def test_those_that_are_complete_already_interrupt_nothing(here: Client) -> None:
    ozelot.run([Step(name="a"), Step(name="b")])
    drawn.began.clear()

    def ask(step: LateStep) -> Any:
        yield Step(name="a")
        yield [Step(name="b")]

    drawn.acts["late"] = ask
    result = ozelot.run(LateStep(name="late"))
    assert list(result.ran) == [label("late", LateStep)]
    assert drawn.began == ["late"]


def test_an_empty_list_is_no_requirement(here: Client) -> None:
    drawn.acts["late"] = asks([], {})
    assert ozelot.run(LateStep(name="late")).ok


def test_requirements_of_late_requirements_run_first(here: Client) -> None:
    drawn.requires["a"] = ["b"]
    drawn.requires["b"] = ["c"]
    drawn.acts["late"] = asks(Step(name="a"))
    assert ozelot.run(LateStep(name="late")).ok
    assert drawn.began == ["late", "c", "b", "a", "late"]


def test_a_requirement_of_many_late_ones_runs_once(here: Client) -> None:
    names = [f"late {number}" for number in range(8)]
    for name in names:
        drawn.acts[name] = asks(Step(name="shared"))
    assert ozelot.run([LateStep(name=name) for name in names], workers=4).ok
    assert drawn.began.count("shared") == 1
    assert rows(here) == [*names, "shared"]


@pytest.mark.slow
def test_a_chain_in_which_each_asks_for_the_next(here: Client) -> None:
    for number in range(1, 60):
        drawn.acts[str(number)] = asks(LateStep(name=str(number - 1)))
    drawn.acts["0"] = asks()
    assert ozelot.run(LateStep(name="59")).ok
    assert len(rows(here)) == 60


def test_a_late_requirement_that_fails_is_named_as_what_was_waited_for(here: Client) -> None:
    drawn.acts["bad"] = fail
    drawn.acts["late"] = asks(Step(name="bad"))
    result = ozelot.run([OnTop(), Step(name="other")])
    assert list(result.failed) == [label("bad")]
    assert result.not_reached == {label("late", LateStep): label("bad"), "OnTop {}": label("bad")}
    assert rows(here) == ["other"]


def test_a_late_requirement_that_failed_before_it_was_asked_for(here: Client) -> None:
    drawn.acts["bad"] = fail
    drawn.acts["late"] = asks(Step(name="bad"))
    drawn.requires["on top of bad"] = ["bad"]
    result = ozelot.run([Step(name="on top of bad"), LateStep(name="late")])
    assert drawn.began.count("bad") == 1
    assert result.not_reached[label("late", LateStep)] == label("bad")


def test_a_late_file_that_is_missing_fails_in_words(here: Client) -> None:
    drawn.acts["late"] = asks(MissingFile())
    result = ozelot.run(LateStep(name="late"))
    assert "missing.csv" in result.failed["MissingFile {}"].reason
    assert result.not_reached == {label("late", LateStep): "MissingFile {}"}


def test_a_task_that_asks_for_itself_fails_with_the_circle(here: Client) -> None:
    drawn.acts["late"] = asks(LateStep(name="late"))
    result = ozelot.run(LateStep(name="late"))
    assert "circle" in result.failed[label("late", LateStep)].reason


def test_tasks_that_ask_for_each_other_fail_with_the_circle(here: Client) -> None:
    drawn.acts["one"] = asks(LateStep(name="two"))
    drawn.acts["two"] = asks(LateStep(name="three"))
    drawn.acts["three"] = asks(LateStep(name="one"))
    result = ozelot.run([LateStep(name="one"), Step(name="other")])
    assert rows(here) == ["other"]
    (failed,) = result.failed.values()
    assert "circle" in failed.reason
    assert all(label(name, LateStep) in failed.reason for name in ("one", "two", "three"))
    assert set(result.not_reached.values()) == set(result.failed)


def test_a_task_that_asks_for_what_stands_on_it_fails_with_the_circle(here: Client) -> None:
    drawn.acts["late"] = asks(OnTop())
    result = ozelot.run(OnTop())
    assert "circle" in result.failed[label("late", LateStep)].reason
    assert result.not_reached == {"OnTop {}": label("late", LateStep)}


@pytest.mark.filterwarnings("ignore:Task NeverComplete")
@pytest.mark.parametrize("cls", [NeverComplete, DeniesIt])
def test_a_requirement_that_never_says_that_it_is_complete_fails_instead_of_going_round(
    here: Client, cls: type[luigi.Task]
) -> None:
    begun = 0

    def ask(step: LateStep) -> Any:
        nonlocal begun
        begun += 1
        if begun > 20:
            raise SystemError("goes round and round")
        yield cls()

    drawn.acts["late"] = ask
    result = ozelot.run(LateStep(name="late"))
    reason = result.failed[label("late", LateStep)].reason
    assert cls.__name__ in reason and "not complete" in reason
    assert begun < 5


def test_a_task_without_a_marker_may_ask_too(here: Client) -> None:
    drawn.acts["plain"] = asks(Step(name="a"), [Step(name="b")])
    result = ozelot.run(PlainLate(name="plain"))
    assert result.ok, result.failed
    assert Path("plain.txt").read_text() == "plain"
    assert rows(here) == ["a", "b"]


def test_what_is_no_task_is_refused_in_words(here: Client) -> None:
    drawn.acts["late"] = asks("not a task")
    drawn.requires["other"] = []
    result = ozelot.run([LateStep(name="late"), Step(name="other")])
    assert list(result.failed) == [label("late", LateStep)]
    assert rows(here) == ["other"]


def test_what_was_written_before_the_wait_is_there_once(everywhere: Client) -> None:
    def ask(step: LateStep) -> Any:
        step.session.add(EStep(name="before"))
        step.session.commit()
        yield Step(name="a")

    drawn.acts["late"] = ask
    assert ozelot.run(LateStep(name="late")).ok
    assert rows(everywhere) == ["a", "before", "late"]


def numbered(count: int) -> list[Step]:
    return [Step(name=f"{number:04}") for number in range(count)]


@pytest.mark.slow
def test_how_much_a_run_asks_the_database_grows_with_the_number_of_requirements(here: Client) -> None:
    asked = recorded_statements(here)
    numbers = []
    for name, count in (("few", 20), ("many", 80)):
        drawn.acts[name] = asks(*numbered(count))
        asked.clear()
        assert ozelot.run(LateStep(name=name)).ok
        numbers.append(len(asked))
    assert numbers[1] < 4.5 * numbers[0]
    assert len(rows(here)) == 82


@pytest.mark.parametrize("executor", ["thread", "process"])
@pytest.mark.slow
def test_many_requirements_one_after_another_are_no_error(everywhere: Client, executor: str) -> None:
    result = ozelot.run(AsksForMany(count=25), executor=executor, workers=1)
    assert result.ok, result.failed
    assert len(rows(everywhere)) == 25


@pytest.mark.parametrize("cls", [LateStep, PlainLate], ids=["marker", "file"])
def test_starts_that_never_ask_again_for_what_the_last_one_asked_for_are_an_error(here: Client, cls: Any) -> None:
    numbers = itertools.count()
    drawn.acts["late"] = lambda step: (Step(name=str(next(numbers))) for _ in "once")
    result = ozelot.run([cls(name="late"), Step(name="other")])
    reason = result.failed[label("late", cls)].reason
    assert reason.startswith(
        f"GraphError: 10 starts of {label('late', cls)} in a row did not yield again what the start"
    )
    assert drawn.began.count("late") == 11
    assert rows(here) == sorted([*map(str, range(10)), "other"])


def test_part_of_what_was_asked_for_is_not_enough(here: Client) -> None:
    numbers = itertools.count()
    drawn.acts["late"] = lambda step: ([Step(name="same"), Step(name=str(next(numbers)))] for _ in "once")
    assert "did not yield again" in ozelot.run(LateStep(name="late")).failed[label("late", LateStep)].reason


def test_a_start_that_asks_again_begins_the_count_anew(here: Client) -> None:
    numbers = itertools.count()
    seen: list[Step] = []

    def ask(step: LateStep) -> Any:
        number = next(numbers)
        if number < 24:
            seen.append(Step(name=str(number)))
            if number % 8 == 0:
                yield seen[max(-2, -len(seen))]
            yield seen[-1]

    drawn.acts["late"] = ask
    assert ozelot.run(LateStep(name="late")).ok


def test_a_requirement_that_is_cleared_meanwhile_is_noticed_at_the_end(here: Client) -> None:
    starts: list[int] = []

    def ask(step: LateStep) -> Any:
        starts.append(len(starts))
        if len(starts) == 3:  # by another process
            with sqlite3.connect(here.url.database or "") as other:
                other.execute("DELETE FROM ormtargetmarker WHERE params LIKE '%gone%'")
        yield Step(name="gone")
        yield Step(name="b")

    drawn.acts["late"] = ask
    result = ozelot.run(LateStep(name="late"))
    assert "is not complete although it ran" in result.failed[label("late", LateStep)].reason
    assert not LateStep(name="late").complete()
