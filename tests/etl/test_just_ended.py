"""A run that ends while somebody looks is running or has ended; it is never reported as interrupted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import luigi
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Mapped

import ozelot
from ozelot.client import Client
from ozelot.etl import tasks
from ozelot.etl.completion import clear_plan
from ozelot.etl.status import recorded, status
from ozelot.orm.base import Base
from ozelot.orm.run import Run, TaskOwned
from ozelot.state import lineage
from ozelot.state import runs as run
from ozelot.ui import run_list
from ozelot.ui.snapshot import Keeper, Look
from tests.tables import create_tables


class EndingValue(TaskOwned, Base):
    n: Mapped[int]


started, go = threading.Event(), threading.Event()


class Ends(tasks.ORMTask):
    """Ends when it is told to."""

    creates = [EndingValue]
    number: Any = luigi.IntParameter()
    fails: Any = luigi.BoolParameter()

    def run(self) -> None:
        self.load(EndingValue, [{"n": self.number}])
        started.set()
        assert go.wait(60)
        if self.fails:
            raise ValueError("as it was told to")


class Short(tasks.ORMTestTask):
    number: Any = luigi.IntParameter()

    def run(self) -> None:
        pass


@pytest.fixture
def looked_at(db: Client) -> Client:
    create_tables(db, EndingValue)
    return db


def of_status(_: Client, task: Ends) -> str:
    (entry,) = status(task)
    assert "interrupted" not in entry.why
    assert "its marker was removed" not in entry.why
    return entry.last


def of_recorded(_: Client, task: Ends) -> str:
    entry = next(entry for entry in recorded() if entry.label == f"Ends {task.get_param_string()}")
    assert "interrupted" not in entry.why
    assert "its marker was removed" not in entry.why
    return entry.last


def of_runs(database: Client, _: Ends) -> str:
    with database.create_session() as session:
        (entry,) = lineage.runs(session, last=1)
        return entry.state


def of_page_of_runs(database: Client, _: Ends) -> str:
    with database.create_session() as session:
        assert run_list.find(session, state=run.ABORTED).runs == []
        found = run_list.find(session).runs[0]
        return found.state


def of_page(database: Client, task: Ends) -> str:
    clock = iter(range(0, 1000, 10)).__next__
    keeper = Keeper(database, task, clock)
    (node,) = keeper.pipeline.nodes.values()
    if keeper._reader is not None:
        keeper._reader.join()  # else it would go on with a database that the test has closed
    assert "interrupted" not in node.why
    return {Look.COMPLETE: run.DONE}.get(node.look, str(node.look))


def of_clearing(database: Client, task: Ends) -> str:
    with database.create_session() as session:
        is_alive = bool(lineage.alive(session))
    try:
        clear_plan(task, [task]).refuse_running()
    except ozelot.errors.ClearRefused as exc:
        assert is_alive
        assert "is running, since" in str(exc)
    return of_runs(database, task)


def of_verify(database: Client, task: Ends) -> str:
    assert ozelot.verify(task) == []
    return of_runs(database, task)


def ending_at(database: Client, number: int, task: Ends, look: Callable[[Client, Ends], str]) -> Iterator[str]:
    """What is found where the run ends right before statement ``number`` of those that look; nothing after the last."""
    started.clear()
    go.clear()
    runner = threading.Thread(target=lambda: ozelot.run(task))
    runner.start()
    assert started.wait(60)
    seen = 0

    @sa.event.listens_for(database.engine, "before_cursor_execute")
    def count(*_: object) -> None:
        nonlocal seen
        if threading.current_thread() is not runner and not go.is_set():
            seen += 1
            if seen > number:
                go.set()
                runner.join()

    try:
        state = look(database, task)
        if go.is_set():
            yield state
    finally:
        sa.event.remove(database.engine, "before_cursor_execute", count)
        go.set()
        runner.join()


LOOKS = [of_status, of_recorded, of_runs, of_page_of_runs, of_page, of_clearing, of_verify]


@pytest.mark.parametrize("fails", [False, True], ids=["done", "failed"])
@pytest.mark.parametrize("look", LOOKS)
def test_run_that_ends_between_any_two_statements_is_running_or_has_ended(
    looked_at: Client, look: Callable[[Client, Ends], str], fails: bool
) -> None:
    number = 0
    while found := list(ending_at(looked_at, number, Ends(number=number, fails=fails), look)):
        assert found[0] in (run.RUNNING, run.FAILED if fails else run.DONE), f"at statement {number}"
        number += 1
    assert number > 1


def test_run_that_is_forgotten_while_somebody_looks_is_left_out(looked_at: Client) -> None:
    with looked_at.transaction() as session:
        values = {
            "name": "Gone",
            "params": "{}",
            "state": run.RUNNING,
            "started": run.utc_now(),
            "host": "",
            "process": 1,
        }
        session.add_all([Run(key="a", **values), Run(key="b", **values)])
    with looked_at.create_session() as session:
        seen = session.scalars(sa.select(Run).order_by(Run.id)).all()
        with looked_at.engine.begin() as connection:
            connection.execute(sa.delete(run.runs).where(run.runs.c.key == "a"))
        assert [(entry.key, entry.state) for entry in lineage.told(session, seen)] == [("b", run.ABORTED)]


def test_short_runs_are_never_reported_as_interrupted(looked_at: Client) -> None:
    runner = threading.Thread(target=lambda: ozelot.run([Short(number=number) for number in range(300)]))
    runner.start()
    wrong = 0
    while runner.is_alive():
        with looked_at.create_session() as session:
            wrong += any(entry.state == run.ABORTED for entry in lineage.runs(session, last=20))
    assert wrong == 0


def test_run_whose_runner_died_is_still_reported_as_interrupted(looked_at: Client) -> None:
    with looked_at.transaction() as session:
        session.add(
            Run(key="a", name="Died", params="{}", state=run.RUNNING, started=run.utc_now(), host="here", process=1)
        )
    assert recorded()[-1].why == "it was interrupted, or its runner died"
