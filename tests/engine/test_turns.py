"""Whose turn it is: priorities, resources, retries."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import luigi
import pytest

import ozelot
from ozelot.client import Client
from ozelot.etl.tasks import ORMTask
from tests.cli.calling import process
from tests.engine.steps import LateStep, Step, asks, drawn, fail, label, rows, wait_for


class Urgent(ORMTask):
    """Some are more urgent than others, and some need things."""

    creates = ()
    name: str = luigi.Parameter()
    priority: Any = luigi.FloatParameter(default=0, significant=False)
    needs: Any = luigi.DictParameter(default={}, significant=False)
    after: str = luigi.Parameter(default="", significant=False)

    def process_resources(self) -> dict[str, int]:
        return dict(self.needs)

    def requires(self) -> Any:
        return [Urgent(name=self.after)] if self.after else []

    def run(self) -> None:
        drawn.began.append(self.name)
        if (act := drawn.acts.get(self.name)) is not None:
            act(self)


def urgent(name: str) -> str:
    return label(name, Urgent)


@pytest.fixture
def limits() -> Iterator[Any]:
    """Sets how much there is of a resource, as luigi.cfg would."""
    config = luigi.configuration.get_config()
    yield lambda name, number: config.set("resources", name, str(number))
    config.remove_section("resources")


class Counted:
    """How many tasks are at it at the same time, each for as long as another one may turn up."""

    def __init__(self, hoped_for: int) -> None:
        self.now = self.most = 0
        self._hoped_for = hoped_for
        self._changed = threading.Condition()

    def __call__(self, step: Any) -> None:
        with self._changed:
            self.now += 1
            self.most = max(self.most, self.now)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.most >= self._hoped_for, timeout=0.1)
        with self._changed:
            self.now -= 1


def test_what_is_more_urgent_runs_first(here: Client) -> None:
    given = {"a": 0.0, "b": 5, "c": -1, "d": 10, "e": 5.5}
    ozelot.run([Urgent(name=name, priority=priority) for name, priority in given.items()])
    assert drawn.began == ["d", "e", "b", "a", "c"]


def test_what_an_urgent_task_requires_is_as_urgent(here: Client) -> None:
    """As in Luigi, which raises the priority of what is required."""
    roots = [Urgent(name=f"other {number}") for number in range(4)]
    ozelot.run([*roots, Urgent(name="urgent", priority=10, after="required")])
    assert drawn.began[:2] == ["required", "urgent"]


def test_what_an_urgent_task_asks_for_while_it_runs_is_as_urgent(here: Client) -> None:
    class UrgentLate(LateStep):
        priority = 10

    drawn.acts["late"] = asks(Step(name="wanted"))
    ozelot.run([*(Urgent(name=f"other {number}") for number in range(4)), UrgentLate(name="late")])
    assert drawn.began[:3] == ["late", "wanted", "late"]


@pytest.mark.parametrize(("there", "needs", "most"), [(None, 1, 1), (2, 1, 2), (4, 2, 2), (3, 2, 1)])
def test_tasks_share_what_there_is_of_a_resource(
    here: Client, limits: Any, there: int | None, needs: int, most: int
) -> None:
    if there is not None:
        limits("disk", there)
    counted = Counted(most + 1)
    roots = [Urgent(name=str(number), needs={"disk": needs}) for number in range(5)]
    drawn.acts |= dict.fromkeys(map(str, range(5)), counted)
    assert ozelot.run(roots, workers=4).ok
    assert counted.most == most


def test_resources_of_different_names_do_not_get_in_each_others_way(here: Client) -> None:
    meet = threading.Barrier(2)
    drawn.acts |= dict.fromkeys("ab", lambda step: meet.wait(30))
    assert ozelot.run([Urgent(name="a", needs={"disk": 1}), Urgent(name="b", needs={"net": 1})], workers=2).ok


def test_a_resource_is_given_back_by_a_task_that_fails_and_one_that_waits(here: Client) -> None:
    drawn.acts["bad"] = fail
    result = ozelot.run([Urgent(name=name, needs={"disk": 1}) for name in ("bad", "a", "b")], workers=2)
    assert list(result.failed) == [urgent("bad")]
    assert sorted(drawn.began) == ["a", "b", "bad"]


def test_a_task_gives_back_its_resource_while_it_waits_for_what_it_asked_for(here: Client) -> None:
    class GreedyLate(LateStep):
        resources = {"disk": 1}

    drawn.acts["late"] = asks(Urgent(name="wanted", needs={"disk": 1}))
    assert ozelot.run(GreedyLate(name="late"), workers=2).ok


def test_more_of_a_resource_than_there_is_fails_in_words_and_the_others_go_on(here: Client, limits: Any) -> None:
    limits("disk", 2)
    result = ozelot.run([Urgent(name="top", after="a"), Urgent(name="greedy", needs={"disk": 3})], workers=2)
    assert list(result.failed) == [urgent("greedy")]
    reason = result.failed[urgent("greedy")].reason
    assert "3" in reason and "2" in reason and "disk" in reason and "luigi.cfg" in reason
    assert drawn.began == ["a", "top"]


def test_a_resource_given_back_early_lets_the_next_one_begin(here: Client) -> None:
    other_began = threading.Event()

    def give_back(task: Any) -> None:
        task.decrease_running_resources({"disk": 1})
        wait_for(other_began)

    drawn.acts["first"] = give_back
    drawn.acts["second"] = lambda task: other_began.set()
    roots = [Urgent(name="first", needs={"disk": 1}, priority=1), Urgent(name="second", needs={"disk": 1})]
    result = ozelot.run(roots, workers=2)
    assert result.ok, result.failed


def test_what_was_given_back_early_is_not_given_back_twice(here: Client) -> None:
    drawn.acts["first"] = lambda task: task.decrease_running_resources({"disk": 1})
    counted = Counted(2)
    drawn.acts |= dict.fromkeys(["a", "b", "c"], counted)
    roots = [Urgent(name="first", needs={"disk": 1}, priority=1)]
    roots += [Urgent(name=name, needs={"disk": 1}) for name in ("a", "b", "c")]
    assert ozelot.run(roots, workers=3).ok
    assert counted.most == 1


@pytest.mark.parametrize(("count", "fails", "runs"), [(None, 1, 1), (1, 1, 1), (3, 2, 3), (3, 9, 3)])
def test_retry_count_is_how_often_a_task_may_fail(
    here: Client, monkeypatch: pytest.MonkeyPatch, count: int | None, fails: int, runs: int
) -> None:
    if count is not None:
        monkeypatch.setattr(Step, "retry_count", count)
    monkeypatch.setattr(Step, "retry_seconds", 0.01, raising=False)
    left = [fails]

    def fail_at_first(step: Step) -> None:
        if left[0]:
            left[0] -= 1
            fail(step)

    drawn.acts["a"] = fail_at_first
    drawn.requires["end"] = ["a"]
    told: list[Any] = []
    result = ozelot.run([Step(name="end"), Step(name="other")], progress=told.append)
    assert drawn.began.count("a") == runs
    assert result.ok is (fails < runs)
    assert [event.kind for event in told].count("retry") == runs - 1
    assert [event.kind for event in told].count("failed") == (0 if result.ok else 1)
    assert rows(here) == (["a", "end", "other"] if result.ok else ["other"])


def test_others_run_while_a_task_waits_to_be_tried_again(here: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Step, "retry_count", 2)
    monkeypatch.setattr(Step, "retry_seconds", 0.3, raising=False)
    drawn.acts["a"] = lambda step: fail(step) if drawn.began.count("a") < 2 else None
    result = ozelot.run([Step(name=name) for name in "abcdef"])
    assert result.ok
    assert drawn.began == [*"abcdef", "a"]


SETTINGS = "[resources]\ndisk=3\n\n[Limited]\nname=from cfg\n\n[disks]\nhow_many=3\n"
PIPELINE = """
import luigi
from ozelot.etl.tasks import ORMTask

class disks(luigi.Config):
    how_many = luigi.IntParameter()

class Limited(ORMTask):
    creates = ()
    name = luigi.Parameter()

    @property
    def resources(self):
        return {"disk": disks().how_many}

    def run(self):
        self.set_status_message("half way")
"""


@pytest.mark.parametrize(("there", "code"), [(3, 0), (2, 1)])
@pytest.mark.slow
def test_resources_and_parameters_come_from_luigi_cfg(tmp_path: Path, there: int, code: int) -> None:
    (tmp_path / "luigi.cfg").write_text(SETTINGS.replace("disk=3", f"disk={there}"))
    (tmp_path / "limited.py").write_text(PIPELINE)
    options = ["--pipeline", "limited:Limited", "--database", f"sqlite:///{tmp_path / 'x.db'}"]
    assert process(tmp_path, *options, "db", "init").code == 0
    called = process(tmp_path, *options, "run")
    assert called.code == code, called
    told = called.out + called.err
    assert "{'name': 'from cfg'}" in told
    assert ("it needs 3 of the resource 'disk', of which there is 2" in told) is bool(code)
