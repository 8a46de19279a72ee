"""Random pipelines under random treatment: after each step the database is what a plain Python oracle says.

Hypothesis draws a data model (``machine/shapes.py``), tasks that fill it (``machine/pipelines.py``), and what is done
with them: the rules below. ``machine/oracle.py`` says what must come of each, in the dictionaries of plain Python.

A failure prints the models, the tasks and the steps. With ``OZELOT_TEST_NIGHTLY=1`` there are many more examples,
others each time, and one that fails is shrunk, which takes minutes; without, they are the same ones each time.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Collection
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import ozelot
from ozelot.clear.plan import ClearPlan
from ozelot.client import Client
from ozelot.db.locks import is_held
from ozelot.errors import TableReferenced
from ozelot.etl import tasks
from ozelot.etl.completion import clear_plan
from ozelot.etl.status import State, status
from ozelot.state import lineage
from ozelot.state.markers import marker_key
from tests.etl.machine.acting import Stopped, staged, task_of
from tests.etl.machine.database import Database
from tests.etl.machine.findings import findings
from tests.etl.machine.oracle import Oracle, Refused
from tests.etl.machine.pipelines import pipelines
from tests.etl.machine.shapes import defined, shape

pytestmark = pytest.mark.slow

NIGHTLY = bool(os.environ.get("OZELOT_TEST_NIGHTLY"))
EXAMPLES, EXAMPLES_ON_A_SERVER = (2400, 300) if NIGHTLY else (50, 8)
STEPS = 12

#: What a task is asked about, by its position, which is easier to shrink than a label.
position = st.integers(0, 30)


class PipelineMachine(RuleBasedStateMachine):
    """Whatever is done to a pipeline, its database is what the oracle says."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self.client = client
        self.stack = ExitStack()

    @initialize(data=st.data(), number=st.integers(0, 255), start=position)
    def begin(self, data: st.DataObject, number: int, start: int) -> None:
        found = shape(number)
        self.pipeline = data.draw(pipelines(found))
        self.classes = self.stack.enter_context(defined(found))
        self.stage = self.stack.enter_context(staged(self.pipeline, self.classes))
        self.database = self.stack.enter_context(Database(self.client, found, self.classes))
        self.oracle = Oracle(self.pipeline)
        self.labels = list(self.pipeline.nodes)
        # Who writes into rows of tasks that it does not require may lose what it wrote by a clear that is right.
        self.touched = any(node.strays for node in self.pipeline.nodes.values())
        self.root = self.labels[-1]
        self.run_all(self.labels[-1 - start % len(self.labels)])

    def teardown(self) -> None:
        self.stack.close()

    def label(self, number: int) -> str:
        return self.labels[number % len(self.labels)]

    # Running.

    @rule(number=position)
    def run(self, number: int) -> None:
        self.run_all(self.label(number))

    @rule()
    def run_everything(self) -> None:
        self.run_all(self.root)

    def run_all(self, label: str) -> bool:
        """Run a task and what it requires, as Luigi does; says whether none was refused."""
        for other in self.oracle.to_run(label):
            if not all(map(self.oracle.complete_for_luigi, self.pipeline.nodes[other].requires)):
                return False
            if not self.run_one(other):
                return False
        return True

    def run_one(self, label: str) -> bool:
        task = task_of(label)
        if label in self.oracle.complete() and not self.pipeline.nodes[label].bundles:
            self.finish(task.run())  # somebody else asked for it meanwhile
            return True
        waiting = None
        open_asks = [other for other in self.pipeline.nodes[label].asks if other not in self.oracle.markers]
        if open_asks and not self.oracle.leftovers_refuse(label):
            waiting = task.run()
            assert [list(wanted) for wanted in [next(waiting)]] == [
                [task_of(o) for o in self.pipeline.nodes[label].asks]
            ]
            self.oracle.forget(self.oracle.begin(label))
            if not all(self.run_all(other) for other in open_asks):
                waiting.close()
                return False
        try:
            self.stage.script = self.oracle.run(label)
        except Refused as refused:
            assert refused.error is not None
            with pytest.raises(refused.error):
                self.finish(task.run() if waiting is None else waiting)
            return False
        self.finish(task.run() if waiting is None else waiting)
        return True

    @staticmethod
    def finish(running: Any) -> None:
        assert list(running or ()) == []

    def can_run(self, label: str) -> bool:
        """Whether a task can run by itself."""
        node = self.pipeline.nodes[label]
        asked = all(other in self.oracle.markers for other in node.asks)
        return asked and not node.bundles and label not in self.oracle.markers

    @precondition(lambda self: any(map(self.can_run, self.labels)))
    @rule(number=position, after=st.integers(0, 6))
    def fail(self, number: int, after: int) -> None:
        able = [label for label in self.labels if self.can_run(label)]
        label = able[number % len(able)]
        self.stage.fail_after = after
        error: type[Exception] = Stopped
        try:
            self.stage.script = self.oracle.run(label, fails=True)
        except Refused as refused:
            assert refused.error is not None
            error = refused.error
        with pytest.raises(error):
            self.finish(task_of(label).run())
        self.stage.fail_after = None

    @precondition(lambda self: any(map(self.can_run, self.labels)))
    @rule(number=position, after=st.integers(0, 6), where=st.sampled_from(["row", "flush", "commit", "after"]))
    def kill(self, number: int, after: int, where: str) -> None:
        able = [label for label in self.labels if self.can_run(label)]
        label = able[number % len(able)]
        if self.oracle.leftovers_refuse(label):
            return
        if where == "after":
            self.stage.script = self.oracle.run(label)
        else:
            self.stage.script = self.oracle.would_write(label)
            self.oracle.begin(label)
        self.stage.die, self.stage.fail_after = where, after if where == "row" else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks in a process with threads, as xdist's are
            child = os.fork()
        if not child:
            try:
                self.finish(task_of(label).run())
                os._exit(9)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        self.stage.die, self.stage.fail_after = "", None
        with self.client.engine.connect() as connection:
            while is_held(connection, self.key(label)):  # a server takes a moment to see that the connection is gone
                pass

    @staticmethod
    def key(label: str) -> str:
        name, _, params = label.partition(" ")
        return marker_key(name, params)

    # Clearing and marking.

    @rule(number=position, of=position, include_unrecorded=st.booleans())
    def clear(self, number: int, of: int, include_unrecorded: bool) -> None:
        root = self.label(of)
        graph = self.pipeline.upstream(root)
        inside = [label for label in self.labels if label in graph]
        label = inside[number % len(inside)]
        plan = clear_plan(task_of(root), [task_of(label)], include_unrecorded=include_unrecorded)
        labels = self.oracle.downstream([label], graph)
        self.check_plan(plan, labels)
        self.act(lambda: self.oracle.clear(labels, include_unrecorded=include_unrecorded), plan.apply, plan)

    @rule(of=position)
    def clear_pending(self, of: int) -> None:
        root = self.label(of)
        graph = self.pipeline.upstream(root)
        labels = self.oracle.downstream(graph & self.oracle.pending(), graph)
        self.act(lambda: self.oracle.clear(labels), lambda: tasks.check_completion(task_of(root), clear=True))

    def check_plan(self, plan: ClearPlan, labels: Collection[str]) -> None:
        assert {step.label for step in plan.steps} == set(labels)
        assert plan.deletes == self.oracle.deletes(labels)
        resets = {name: number for step in plan.steps for name, number in step.resets.items()}
        assert resets == {".".join(c): self.oracle.values_in(c) for c in self.oracle.columns(labels)}

    @staticmethod
    def act(expected: Callable[[], None], really: Callable[[], object], plan: ClearPlan | None = None) -> None:
        """Do something that may be refused, as a plan foresees."""
        try:
            expected()
        except Refused as refused:
            assert refused.error is not None
            assert plan is None or plan.refused
            with pytest.raises(refused.error):
                really()
        else:
            assert plan is None or not plan.refused
            really()

    @rule(number=position)
    def clear_alone(self, number: int) -> None:
        self.touched = True
        label = self.label(number)
        self.act(lambda: self.oracle.clear_alone(label), task_of(label).clear)

    @rule(number=position)
    def mark_incomplete(self, number: int) -> None:
        self.touched = True
        label = self.label(number)
        self.oracle.remove_marker(label)
        task_of(label).mark_incomplete()

    @rule(of=position)
    def mark_pending_incomplete(self, of: int) -> None:
        self.touched = True
        root = self.label(of)
        for label in sorted(self.pipeline.upstream(root) & self.oracle.pending()):
            self.oracle.remove_marker(label)
        tasks.check_completion(task_of(root), mark_incomplete=True)

    @rule(keep=st.integers(0, 2))
    def prune(self, keep: int) -> None:
        expected = self.oracle.prune(keep)
        with self.client.engine.begin() as connection:
            assert lineage.prune(connection, keep) == expected

    # Tampering, and setting right.

    @precondition(lambda self: self.oracle.rows)
    @rule(number=position)
    def delete_row(self, number: int) -> None:
        self.touched = True
        free = self.unreferenced()
        if free:
            row = self.oracle.rows.pop(free[number % len(free)])
            self.database.delete(row.name, row.model)

    def unreferenced(self) -> list[str]:
        """Rows that nothing refers to."""
        rows = self.oracle.rows.values()
        held = {name for row in rows for name in row.refs.values()} | {
            n for link in self.oracle.links for n in link[1:]
        }
        held |= {name for _, name in self.oracle.outside.values()}
        return [row.name for row in rows if row.name not in held]

    @precondition(lambda self: self.oracle.runs)
    @rule(number=position)
    def insert_row(self, number: int) -> None:
        """As the task of some run might have."""
        self.touched = True
        serials = list(self.oracle.runs)
        serial = serials[number % len(serials)]
        insert = self.oracle.by_hand(serial, number)
        if insert is not None:
            self.database.insert(insert, serial)

    @rule(number=position)
    def lose_value(self, number: int) -> None:
        self.touched = True
        filled = [
            (row.name, column)
            for column in sorted(self.pipeline.updated)
            for row in self.oracle.rows_in(column[0])
            if self.oracle.value(row, column[1]) is not None
        ]
        if filled:
            name, column = filled[number % len(filled)]
            self.oracle.set(name, column[1], None)
            self.database.set(name, *column, None)

    @rule(number=position)
    def insert_value(self, number: int) -> None:
        """In a column that a task fills; it cannot be told from the task's own."""
        self.touched = True
        empty = [
            (row.name, table, column)
            for table, column in sorted(self.pipeline.updated)
            for row in self.oracle.rows_in(table)
            if column in row.values and row.values[column] is None
        ]
        if empty:
            name, table, column = empty[number % len(empty)]
            self.oracle.set(name, column, 9)
            self.database.set(name, table, column, 9)

    @rule(number=position)
    def insert_marker(self, number: int) -> None:
        self.touched = True
        missing = [label for label in ["Unknown {}", *self.labels] if label not in self.oracle.markers]
        if missing:
            label = missing[-1 - number % len(missing)]
            self.oracle.markers.add(label)
            self.database.insert_marker(label)

    @rule(number=position)
    def clear_and_insert_marker(self, number: int) -> None:
        """What somebody does who wants a task never to run again."""
        self.clear_alone(number)
        if self.label(number) not in self.oracle.markers:
            self.oracle.markers.add(self.label(number))
            self.database.insert_marker(self.label(number))

    @precondition(lambda self: self.oracle.markers)
    @rule(number=position)
    def delete_marker(self, number: int) -> None:
        self.touched = True
        there = sorted(self.oracle.markers)
        self.oracle.markers.discard(there[number % len(there)])
        self.database.delete_marker(there[number % len(there)])

    @precondition(lambda self: self.client.engine.dialect.name == "sqlite")
    @rule(number=position)
    def break_reference(self, number: int) -> None:
        self.touched = True
        held = [
            (row.name, table, key)
            for row in self.oracle.rows.values()
            for table in self.pipeline.shape.chain(row.model)
            for key in self.pipeline.shape.models[table].keys
            if row.refs[key.column] in self.oracle.rows
        ]
        if held:
            name, table, key = held[number % len(held)]
            self.oracle.set(name, key.column, "nothing")
            self.database.set(name, table, key.column, -7)

    # Another application, and tables that are dropped.

    @precondition(lambda self: self.oracle.rows)
    @rule(number=position)
    def insert_outside(self, number: int) -> None:
        """Another application has rows that refer to those of tasks; what they refer to cannot be cleared."""
        simple = [name for name, model in self.pipeline.shape.models.items() if not model.composite]
        chosen = next(iter(self.oracle.outside.values()), (simple[number % len(simple)], ""))[0]
        if rows := self.oracle.rows_in(chosen):
            label = f"outside {self.oracle.next_number()}"
            self.oracle.outside[label] = chosen, rows[number % len(rows)].name
            self.database.insert_outside(label, *self.oracle.outside[label])

    @precondition(lambda self: self.oracle.outside)
    @rule()
    def drop_outside(self) -> None:
        self.oracle.outside.clear()
        self.database.drop_outside()

    @rule(number=position)
    def drop_table(self, number: int) -> None:
        """Somebody drops a table, with all that refer to it, and creates it again."""
        shape = self.pipeline.shape
        model = list(shape.models)[number % len(shape.models)]
        models = shape.dropped_with(model)
        bases = {shape.models[name].base for name in models}
        if not bases - {None} <= models:
            return  # half of the rows of a derived model would be left
        self.touched = True
        if any(chosen in models for chosen, _ in self.oracle.outside.values()):
            with pytest.raises(TableReferenced, match="outside"):
                self.classes[model].drop_table(self.client, cascade=True)
            return
        self.oracle.drop(models)
        self.database.drop(model, models, self.classes)

    @rule()
    def start_over(self) -> None:
        """Clearing all tasks at once sets right whatever was tampered with, but for markers of nobody."""
        if "Unknown {}" in self.oracle.markers:
            self.oracle.markers.discard("Unknown {}")
            self.database.delete_marker("Unknown {}")
        if self.oracle.outside:
            self.drop_outside()
        roots = [task_of(label) for label in self.labels]
        self.oracle.clear(self.labels, include_unrecorded=True)
        clear_plan(roots, roots, include_unrecorded=True).apply()
        assert ozelot.verify(roots) == []
        assert not self.oracle.rows

    # What must hold after each step.

    @invariant()
    def the_database_is_what_the_oracle_says(self) -> None:
        self.database.check(self.oracle)

    @invariant()
    def status_says_so(self) -> None:
        pending, lost = self.oracle.pending(), self.oracle.lost()
        for found in status(task_of(self.root)):
            expected = State.COMPLETE
            if found.label not in self.oracle.markers:
                expected = State.INCOMPLETE
            elif found.label in lost:
                expected = State.ROWS_MISSING
            elif found.label in pending:
                expected = State.ON_INCOMPLETE
            assert (found.label, State.COMPLETE if found.is_complete else found.state) == (found.label, expected)
            # Nothing but requirements changes here; what ran again, as somebody removed its marker, is told.
            assert found.verdict is None or {reason.kind for reason in found.verdict.reasons} <= {"upstream"}

    @invariant()
    def verify_finds_what_was_tampered_with(self) -> None:
        found = {(finding.kind.value, finding.where) for finding in ozelot.verify(task_of(self.root))}
        assert found == findings(self.oracle)
        assert self.touched or not found


def test_whatever_is_done_to_a_pipeline_its_database_is_what_the_oracle_says(db: Client) -> None:
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
    run_state_machine_as_test(lambda: PipelineMachine(db), settings=chosen)  # type: ignore[arg-type]
