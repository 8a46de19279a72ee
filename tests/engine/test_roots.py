"""What a run is asked for: several roots, one twice, none; and the shapes of graphs."""

from __future__ import annotations

import re
from typing import Any

import luigi
import pytest

import ozelot
from ozelot.client import Client
from ozelot.engine import Event, run_again
from ozelot.errors import GraphError
from ozelot.etl.completion import clear_plan
from ozelot.etl.tasks import ORMTask, ORMWrapperTask
from ozelot.pipeline.marker_target import task_label
from tests.engine.steps import EStep, Step, chain, drawn, fail, label, rows


class RoWrapper(ORMWrapperTask):
    def requires(self) -> Any:
        return [Step(name="a"), RoInner()]


class RoInner(ORMWrapperTask):
    def requires(self) -> Any:
        return [Step(name="b")]


class RoOnWrapper(ORMTask):
    creates = ()

    def requires(self) -> Any:
        return RoWrapper()


def diamond() -> Step:
    drawn.requires |= {"bottom": [], "left": ["bottom"], "right": ["bottom"], "top": ["left", "right"]}
    return Step(name="top")


@pytest.mark.parametrize("workers", [1, 4])
def test_several_roots_and_one_of_them_twice(here: Client, workers: int) -> None:
    drawn.requires |= {"x": ["shared"], "y": ["shared"]}
    result = ozelot.run([Step(name="x"), Step(name="y"), Step(name="x"), Step(name="shared")], workers=workers)
    assert result.ok
    assert sorted(drawn.began) == rows(here) == ["shared", "x", "y"]
    assert sorted(result.ran) == [label("shared"), label("x"), label("y")]


def test_no_roots_are_no_work(here: Client) -> None:
    told: list[Event] = []
    result = ozelot.run([], progress=told.append)
    assert result.ok and not result.ran and not result.complete
    assert [(event.kind, event.total) for event in told] == [("planned", 0)]


def test_roots_may_come_from_a_generator(here: Client) -> None:
    assert ozelot.run(Step(name=name) for name in "ab").ok
    assert rows(here) == ["a", "b"]


@pytest.mark.parametrize("workers", [1, 4])
def test_a_diamond(here: Client, workers: int) -> None:
    assert ozelot.run(diamond(), workers=workers).ok
    assert drawn.began[0] == "bottom" and drawn.began[-1] == "top"
    assert rows(here) == ["bottom", "left", "right", "top"]


def test_one_failed_side_of_a_diamond(here: Client) -> None:
    root = diamond()
    drawn.acts["left"] = fail
    result = ozelot.run(root)
    assert rows(here) == ["bottom", "right"]
    assert result.not_reached == {label("top"): label("left")}


def test_a_task_that_many_require_fails_once_for_all_of_them(here: Client) -> None:
    drawn.requires |= {str(number): ["shared"] for number in range(40)}
    drawn.acts["shared"] = fail
    result = ozelot.run([Step(name=str(number)) for number in range(40)], workers=4)
    assert drawn.began == ["shared"]
    assert len(result.not_reached) == 40
    assert set(result.not_reached.values()) == {label("shared")}


@pytest.mark.slow
def test_a_long_chain(here: Client) -> None:
    assert ozelot.run(chain(600)).ok
    assert len(rows(here)) == 600


def test_a_circle_is_drawn_before_anything_runs(here: Client) -> None:
    drawn.requires |= {"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a", "other"]}
    with pytest.raises(GraphError, match=r"circle.*'a'.*'b'.*'c'.*'a'"):
        ozelot.run([Step(name="other"), Step(name="d")])
    assert drawn.began == []


def test_what_is_complete_hides_what_is_incomplete_below_it_as_under_luigi(here: Client) -> None:
    ozelot.run(chain(4))
    Step(name="1").clear()
    drawn.began.clear()
    result = ozelot.run(Step(name="3"))
    assert result.ran == {} and drawn.began == []
    assert label("3") in result.complete
    assert label("1") not in result.complete
    ozelot.run([Step(name="3"), Step(name="1")])
    assert drawn.began == ["1"]


def test_a_wrapper_with_a_marker_runs_what_it_lost(everywhere: Client) -> None:
    ozelot.run(RoOnWrapper())
    Step(name="b").clear()
    drawn.began.clear()
    result = ozelot.run(RoWrapper())
    assert result.ok, result.failed
    assert drawn.began == ["b"]
    assert rows(everywhere) == ["a", "b"]
    assert list(result.ran) == [label("b"), "RoInner {}", "RoWrapper {}"]
    assert RoWrapper().complete()
    assert ozelot.run(RoWrapper()).ran == {}


def test_a_wrapper_whose_requirement_fails_again_is_not_reached(here: Client) -> None:
    ozelot.run(RoWrapper())
    Step(name="b").clear()
    drawn.acts["b"] = fail
    result = ozelot.run(RoWrapper())
    assert result.not_reached == {"RoInner {}": label("b"), "RoWrapper {}": label("b")}
    assert not RoWrapper().complete()


def test_requirements_that_come_as_dictionaries_generators_and_single_tasks(here: Client) -> None:
    class RoShapes(ORMTask):
        creates = ()

        def requires(self) -> Any:
            yield {"one": Step(name="a"), "more": [Step(name="b"), (Step(name="c"),)]}
            yield Step(name="d")

    assert ozelot.run(RoShapes()).ok
    assert rows(here) == ["a", "b", "c", "d"]


class RoRate(ORMTask):
    updates = [EStep.rating]
    part: int = luigi.IntParameter(default=1)

    def run(self) -> Any:
        if late.get(self.part):
            yield late[self.part]


class RoRateToo(RoRate): ...


late: dict[int, Any] = {}


@pytest.mark.parametrize("other", [RoRateToo(), RoRate(part=2)], ids=["class", "parameter"])
def test_two_tasks_that_fill_one_column_are_refused_before_anything_runs_or_is_cleared(
    other: RoRate, here: Client
) -> None:
    told = rf"^RoRate {{'part': '1'}} and {re.escape(task_label(other))} both name estep\.rating in 'updates', so that"
    with pytest.raises(GraphError, match=told):
        ozelot.run([RoRate(), Step(name="a"), other])
    assert ozelot.run([RoRate(), Step(name="a")]).ok
    with pytest.raises(GraphError, match=told):
        run_again(clear_plan(RoRate(), [RoRate()]), [RoRate(), other])
    assert RoRate().complete() and rows(here) == ["a"]


def test_so_are_those_that_turn_up_late(here: Client) -> None:
    late[5] = RoRateToo()
    result = ozelot.run(RoRate(part=5))
    assert "GraphError: RoRate {'part': '5'} and RoRateToo {'part': '1'} both name" in str(result.failed)
