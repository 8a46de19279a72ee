"""Random tasks on joined inheritance of three levels: each clears the parts of rows that it inserted, and no others.

A row of a derived model has a part in each table from its own to that of the base model. A task inserts whole rows, or
only the last part for rows that other tasks loaded, or both. The oracle knows who inserted which part.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import luigi
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

import ozelot
from ozelot.client import Client
from ozelot.errors import ClearRefused, NotClearable
from ozelot.etl import tasks
from ozelot.etl.completion import clear_plan
from ozelot.etl.status import status
from ozelot.orm.base import Base
from ozelot.state.markers import OWN_TABLES, markers
from ozelot.state.runs import run_edge, runs
from tests.etl.machine.shapes import Model, Shape, defined

pytestmark = pytest.mark.slow

NIGHTLY = bool(os.environ.get("OZELOT_TEST_NIGHTLY"))
EXAMPLES, EXAMPLES_ON_A_SERVER = (2400, 300) if NIGHTLY else (20, 4)
STEPS = 10
CORE_IDS = 100_000  # beyond those that a sequence makes


@dataclass(frozen=True)
class Node:
    """A task: the model that it creates, how, and what it requires."""

    model: str
    mode: str  # "whole", "add" or "both"
    way: str  # how it inserts whole rows: "orm", "load" or "core"
    number: int
    requires: tuple[str, ...]


@dataclass
class Stage:
    """What the task classes act out at the moment."""

    shape: Shape
    classes: dict[str, Any]
    nodes: dict[str, Node]
    oracle: Oracle


stage: list[Stage] = []

#: SQLAlchemy remembers the names of classes that are gone.
numbers = itertools.count()


class _Loading:
    def requires(self) -> Any:
        return [CLASSES[name]() for name in stage[0].nodes[type(self).__name__].requires]

    def run(self) -> None:
        task: Any = self
        now = stage[0]
        node = now.nodes[type(self).__name__]
        whole, added = now.oracle.script(type(self).__name__)
        tables = [now.classes[name].__table__ for name in reversed(now.shape.chain(node.model))]
        for name in added:
            query = sa.select(tables[0].c.id).where(tables[0].c.name == name)
            number = task.session.scalar(query)
            values = {"id": number} | ({"kind": node.model} if "kind" in tables[-1].c else {})
            task.session.execute(sa.insert(tables[-1]), [values])
        if node.way == "orm":
            task.session.add_all(now.classes[node.model](name=name) for name in whole)
        elif node.way == "load":
            task.load(now.classes[node.model], [{"name": name} for name in whole])
        else:
            for name in whole:
                number = CORE_IDS + int(name.rpartition(".")[2])
                for table in tables:
                    values = {"id": number} | ({"name": name} if "name" in table.c else {})
                    values |= {"kind": node.model} if "kind" in table.c else {}
                    values |= {"run_id": tasks_run_id()} if "run_id" in table.c else {}
                    task.session.execute(sa.insert(table), [values])


def tasks_run_id() -> int:
    from ozelot.orm.run import current_run_id

    return current_run_id()


CLASSES: dict[str, Any] = {
    f"LoadPart{letter.upper()}": type(f"LoadPart{letter.upper()}", (_Loading, tasks.ORMTask), {"creates": ()})
    for letter in "abcd"
}


class LoadAllParts(tasks.ORMWrapperTask):
    def requires(self) -> Any:
        return [CLASSES[name]() for name in stage[0].nodes]


class Refused(Exception):
    def __init__(self, error: type[Exception]) -> None:
        self.error = error


class Oracle:
    """Which parts of which rows there are, and which task inserted each."""

    def __init__(self, shape: Shape, nodes: dict[str, Node]) -> None:
        self.shape, self.nodes = shape, nodes
        self.parts: dict[str, dict[str, str]] = {}  # by row: by table: the task
        self.counts: dict[str, Counter[str]] = {}  # of complete tasks
        self.number = 0
        self._script: tuple[list[str], list[str]] = ([], [])

    def script(self, name: str) -> tuple[list[str], list[str]]:
        """The names of the whole rows that a task inserts, and of those that it adds a part to."""
        del name
        return self._script

    def owner(self, model: str) -> str | None:
        return next((table for table in self.shape.chain(model) if self.shape.models[table].owned), None)

    def run(self, name: str) -> None:
        """A task runs.

        Raises:
            Refused: clearing could not tell its rows from those of others.
        """
        node = self.nodes[name]
        own, *bases = self.shape.chain(node.model)
        may = [row for row, parts in self.parts.items() if bases and parts.keys() == set(bases)]
        added = may[: node.number] if node.mode != "whole" else []
        whole = []
        for _ in range(node.number if node.mode != "add" else 0):
            self.number += 1
            whole.append(f"{name}.{self.number}")
        self._script = whole, added
        owner = self.owner(node.model)
        is_told = owner is not None and owner != own
        if whole and added and not is_told:
            raise Refused(NotClearable)
        if is_told and added:
            # Added rows are identified by their base rows, whose runs wrote nothing to the table.
            makers = {self.parts[row][owner or ""] for row in added}
            others = {r for r, p in self.parts.items() if own in p and p[own] != p[owner or ""]}
            if others or any(self.counts[maker][own] for maker in makers):
                raise Refused(NotClearable)
        elif not is_told and bases:
            self._check_like_others(name, node, bool(whole))
        for row in whole:
            self.parts[row] = dict.fromkeys([own, *bases], name)
        for row in added:
            self.parts[row] = {**self.parts[row], own: name}
        found = Counter({own: len(whole) + len(added)})
        found.update(dict.fromkeys(bases, len(whole)))
        self.counts[name] = found

    def _check_like_others(self, name: str, node: Node, inserts: bool) -> None:
        """There is one task a model here, so no other inserts its rows in another way."""

    def clear(self, names: set[str]) -> None:
        """Tasks are cleared together.

        Raises:
            Refused: parts that stay belong to rows whose base part goes.
        """
        for parts in self.parts.values():
            going = {table for table, task in parts.items() if task in names}
            staying = parts.keys() - going
            if any(going.intersection(self.shape.chain(table)[1:]) for table in staying):
                raise Refused(ClearRefused)
        rest = {row: {t: task for t, task in parts.items() if task not in names} for row, parts in self.parts.items()}
        self.parts = {row: parts for row, parts in rest.items() if parts}
        for name in names:
            self.counts.pop(name, None)

    def downstream(self, name: str) -> set[str]:
        found = {name}
        while more := {n for n, node in self.nodes.items() if n not in found and found & set(node.requires)}:
            found |= more
        return found


class InheritanceMachine(RuleBasedStateMachine):
    """Whatever tasks insert and whatever is cleared, the parts of rows are those that the oracle says."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self.client = client
        self.stack = ExitStack()

    @initialize(data=st.data(), kinds=st.booleans(), owned=st.sampled_from("-abcd"))
    def begin(self, data: st.DataObject, kinds: bool, owned: str) -> None:
        number = next(numbers)
        names = {letter: f"h{number}{letter}" for letter in "abcd"}
        bases = {"a": None, "b": "a", "c": "b", "d": "a"}
        models = {
            names[letter]: Model(
                names[letter],
                owned=letter == owned,
                base=None if base is None else names[base],
                kinds=kinds and base is None,
            )
            for letter, base in bases.items()
        }
        self.shape = Shape(number, models, {})
        self.classes = self.stack.enter_context(defined(self.shape))
        self.nodes = {}
        for letter, base in bases.items():
            mode = "whole" if base is None else data.draw(st.sampled_from(["whole", "add", "both"]))
            way = data.draw(st.sampled_from(["orm", "load", "core"]))
            below = [f"LoadPart{other.upper()}" for other in bases if other < letter]
            requires = tuple(name for name in below if data.draw(st.integers(0, 3)))
            self.nodes[f"LoadPart{letter.upper()}"] = Node(
                names[letter], mode, way, data.draw(st.integers(0, 3)), requires
            )
        self.oracle = Oracle(self.shape, self.nodes)
        stage[:] = [Stage(self.shape, self.classes, self.nodes, self.oracle)]
        luigi.task_register.Register.clear_instance_cache()
        for name, node in self.nodes.items():
            CLASSES[name].creates = [self.classes[node.model]]
        self.tables = [self.classes[name].__table__ for name in self.shape.models]
        with self.client.engine.begin() as connection:
            Base.metadata.create_all(connection, tables=[*OWN_TABLES, *self.tables])
        self.made = True

    def teardown(self) -> None:
        if getattr(self, "made", False):
            with self.client.engine.begin() as connection:
                connection.execute(sa.delete(markers))
                for table in reversed(self.tables):
                    table.drop(connection)
                connection.execute(sa.delete(run_edge))
                connection.execute(sa.delete(runs))
        for cls in CLASSES.values():
            cls.creates = ()
        self.stack.close()
        stage.clear()

    def name(self, number: int) -> str:
        return list(self.nodes)[number % len(self.nodes)]

    @rule(number=st.integers(0, 3))
    def run(self, number: int) -> None:
        """A task runs, after what it requires."""
        self.run_one(self.name(number))

    def run_one(self, name: str) -> bool:
        if name in self.oracle.counts:
            return True
        ran = [self.run_one(other) for other in self.nodes[name].requires]
        if not all(ran):
            return False
        try:
            self.oracle.run(name)
        except Refused as refused:
            with pytest.raises(refused.error):
                CLASSES[name]().run()
            return False
        CLASSES[name]().run()
        return True

    @rule(number=st.integers(0, 3))
    def clear(self, number: int) -> None:
        """A task is cleared, with what is downstream."""
        name = self.name(number)
        plan = clear_plan(LoadAllParts(), [CLASSES[name]()])
        names = self.oracle.downstream(name)
        assert {step.label.partition(" ")[0] for step in plan.steps} - {"LoadAllParts"} == names
        gone = Counter(t for parts in self.oracle.parts.values() for t, task in parts.items() if task in names)
        assert plan.deletes == dict(gone)
        try:
            self.oracle.clear(names)
        except Refused as refused:
            assert plan.refused
            with pytest.raises(refused.error):
                plan.apply()
        else:
            assert not plan.refused
            plan.apply()

    @rule(number=st.integers(0, 3))
    def clear_alone(self, number: int) -> None:
        """A task clears itself, where nothing lies on its rows."""
        name = self.name(number)
        try:
            self.oracle.clear({name})
        except Refused:
            return
        CLASSES[name]().clear()

    @rule(number=st.integers(0, 3))
    def run_again_without_its_marker(self, number: int) -> None:
        """The marker of a task is removed: rows that know their run are cleared when it runs again."""
        name = self.name(number)
        owner = self.oracle.owner(self.nodes[name].model)
        if name not in self.oracle.counts or owner is None:
            return
        if self.nodes[name].mode != "whole" and owner != self.nodes[name].model:
            return  # those without base rows of their own do not
        try:
            self.oracle.clear({name})
        except Refused:
            return
        CLASSES[name]().mark_incomplete()
        self.run_one(name)

    @invariant()
    def the_parts_are_those_of_the_oracle(self) -> None:
        with self.client.engine.connect() as connection:
            root = self.tables[0]
            for table in self.tables:
                query = sa.select(root.c.name)
                if table is not root:
                    query = query.join(table, table.c.id == root.c.id)
                found = sorted(connection.scalars(query))
                assert found == sorted(row for row, parts in self.oracle.parts.items() if table.name in parts)
            found = sorted(connection.scalars(sa.select(markers.c.name)))
            assert [name for name in found if name != "LoadAllParts"] == sorted(self.oracle.counts)

    @invariant()
    def what_is_recorded_is_what_was_inserted(self) -> None:
        for entry in status(LoadAllParts()):
            if entry.name in self.oracle.counts:
                own = self.nodes[entry.name].model
                counts = self.oracle.counts[entry.name]
                assert entry.rows == {t: n for t, n in counts.items() if n or t == own}
        assert ozelot.verify(LoadAllParts()) == []


def test_each_task_clears_the_parts_of_rows_that_it_inserted(db: Client) -> None:
    chosen = settings(
        max_examples=EXAMPLES if db.engine.dialect.name == "sqlite" else EXAMPLES_ON_A_SERVER,
        stateful_step_count=STEPS,
        derandomize=not NIGHTLY,
        phases=[Phase.generate, *([Phase.shrink] if NIGHTLY else [])],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
        report_multiple_bugs=False,
    )
    run_state_machine_as_test(lambda: InheritanceMachine(db), settings=chosen)  # type: ignore[arg-type]
