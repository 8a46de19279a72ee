"""Walking requirements: of any form, any depth, each task once."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

import luigi
import pytest

import ozelot
from ozelot.client import Client
from ozelot.errors import GraphError
from ozelot.etl import tasks
from ozelot.pipeline.graph import walk


class Node(tasks.ORMTask):
    creates = ()
    name: str = luigi.Parameter()
    edges: ClassVar[dict[str, Any]] = {}
    asked: ClassVar[Counter[str]] = Counter()

    def requires(self) -> Any:
        self.asked[self.name] += 1
        return self.edges.get(self.name)


def node(name: str) -> Node:
    return Node(name=name)


@pytest.fixture(autouse=True)
def no_edges() -> None:
    Node.edges = {}
    Node.asked = Counter()


def names(root: luigi.Task) -> list[str]:
    return [task.name for task in walk(root).tasks.values() if isinstance(task, Node)]


class External(luigi.ExternalTask):
    def output(self) -> Any:
        return luigi.LocalTarget("nowhere")


@pytest.mark.parametrize(
    "requirements",
    [
        None,
        [],
        node("b"),
        [node("b"), node("c")],
        (node("b"), [node("c"), {"x": node("d")}]),
        {"x": node("b"), "y": node("c")},
        (node(name) for name in "bc"),
    ],
    ids=["nothing", "empty", "one", "list", "nested", "dict", "generator"],
)
def test_requires_may_return_any_form(requirements: Any) -> None:
    Node.edges = {"a": requirements}
    expected = {"NoneType": "a", "list": "bca", "Node": "ba", "tuple": "bcda", "dict": "bca", "generator": "bca"}
    wanted = expected[type(requirements).__name__] if requirements != [] else "a"
    assert names(node("a")) == list(wanted)


def test_requirements_come_first_and_each_task_is_asked_once() -> None:
    Node.edges = {"a": [node("b"), node("c")], "b": [node("d")], "c": [node("d"), node("d")]}
    assert names(node("a")) == ["d", "b", "c", "a"]
    assert Node.asked == Counter("abcd")


def test_several_roots_share_a_graph() -> None:
    Node.edges = {"a": node("c"), "b": node("c")}
    assert [label[-3] for label in walk([node("a"), node("b")]).tasks] == ["c", "a", "b"]


def test_a_circle_is_drawn() -> None:
    Node.edges = {"a": node("b"), "b": node("c"), "c": node("b")}
    with pytest.raises(GraphError, match=r"circle: Node {'name': 'b'} -> Node {'name': 'c'} -> Node {'name': 'b'}$"):
        walk(node("a"))


def test_a_chain_of_10_000_tasks_is_walked_and_checked(sqlite_db: Client) -> None:
    Node.edges = {str(n): node(str(n + 1)) for n in range(9_999)}
    assert len(walk(node("0")).tasks) == 10_000
    complete, stats = tasks.check_completion(node("0"), return_stats=True)
    assert not complete
    assert stats == {"Incomplete tasks": 10_000}
    assert set(Node.asked.values()) == {2}


class Nested(tasks.ORMWrapperTask):
    """1,000 wrappers, each around the two of the next level: more paths than atoms in the world."""

    level: int = luigi.IntParameter()
    side: int = luigi.IntParameter()
    asked: ClassVar[Counter[tuple[int, int]]] = Counter()

    def requires(self) -> Any:
        self.asked[self.level, self.side] += 1
        return [Nested(level=self.level + 1, side=side) for side in (0, 1)] if self.level < 500 else []


def test_nested_wrappers_are_asked_once_each(sqlite_db: Client) -> None:
    root = Nested(level=0, side=0)
    assert not tasks.check_completion(root)
    assert set(Nested.asked.values()) == {1}
    for task in walk(root).tasks.values():
        assert isinstance(task, Nested)
        task.mark_complete()
    Nested.asked.clear()
    assert root.complete()  # what Luigi asks: the marker, and all that is upstream
    assert set(Nested.asked.values()) == {1}
    Nested(level=500, side=1).mark_incomplete()
    assert not root.complete()
    assert Nested(level=500, side=0).complete()


def test_tasks_of_luigi_itself_are_part_of_the_graph(sqlite_db: Client) -> None:
    Node.edges = {"a": External()}  # type: ignore[no-untyped-call]
    assert tasks.check_completion(node("a"), return_stats=True) == (False, {"Incomplete tasks": 2})


def test_a_complete_that_a_class_overrides_is_asked(sqlite_db: Client) -> None:
    class Always(tasks.ORMTask):
        creates = ()

        def complete(self) -> bool:
            return True

    Node.edges = {"a": Always()}
    assert tasks.check_completion(node("a"), return_stats=True)[1] == {"Complete tasks": 1, "Incomplete tasks": 1}


class Here:
    class Load(tasks.ORMTask):
        creates = ()


class There:
    class Load(tasks.ORMTask):
        creates = ()


class Apart:
    class Load(tasks.ORMTask):
        task_namespace = "apart"
        creates = ()


def test_two_classes_of_one_name_are_refused_by_both_names(sqlite_db: Client) -> None:
    Node.edges = {"root": [Here.Load(), node("between")], "between": [There.Load()]}
    where = r"tests\.etl\.test_graph\."
    with pytest.raises(GraphError, match=rf"^Load {{}} is two tasks, of {where}Here\.Load and of {where}There\.Load: "):
        ozelot.run(node("root"))
    Node.edges = {"root": [Here.Load(), Apart.Load()]}
    assert ozelot.run(node("root")).ok


def test_a_class_whose_module_was_loaded_once_more_is_the_same(sqlite_db: Client) -> None:
    again = type("Load", (tasks.ORMTask,), {"__module__": __name__, "__qualname__": "Here.Load", "creates": ()})
    assert again is not Here.Load
    Node.edges = {"root": [Here.Load(), again()]}
    assert len(walk(node("root")).tasks) == 2
