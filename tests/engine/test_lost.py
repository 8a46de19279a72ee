"""What is lost by no fault of a task: connections that break, deadlocks."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa

import ozelot
from ozelot.client import Client
from ozelot.engine import RunResult
from ozelot.orm.base import Base
from tests.databases import only
from tests.engine.steps import EStep, LateStep, Step, chain, drawn, label, rows
from tests.tables import create_tables

#: SQLite has no connections that break, and no deadlocks.
with_a_server = only("postgresql", "mariadb")


class ECounter(Base):
    number: sa.orm.Mapped[int]


@pytest.fixture
def server(everywhere: Client) -> Client:
    """A database with a server."""
    create_tables(everywhere, ECounter)
    return everywhere


def own_number(step: Any) -> int:
    query = "SELECT pg_backend_pid()" if step.client.engine.dialect.name == "postgresql" else "SELECT connection_id()"
    return int(step.session.scalar(sa.text(query)))


def end(database: Client, number: int) -> None:
    """End one connection from another one, as an administrator or a restart would."""
    postgres = database.engine.dialect.name == "postgresql"
    with sa.create_engine(database.url, poolclass=sa.NullPool).connect() as connection:
        connection.execute(sa.text(f"SELECT pg_terminate_backend({number}, 10000)" if postgres else f"KILL {number}"))


class BreaksOnce:
    """Ends the connection of the step that is at it, the first ``times`` times."""

    def __init__(self, times: int = 1, *, add: bool = True) -> None:
        self.left = times
        self.add = add

    def __call__(self, step: Step) -> None:
        if self.add:
            step.session.add(EStep(name="before"))
            step.session.flush()
        if self.left:
            self.left -= 1
            end(step.client, own_number(step))


@with_a_server
def test_a_connection_that_breaks_in_run_is_lost_once_and_the_task_runs_again(server: Client) -> None:
    drawn.acts["4"] = BreaksOnce()
    told: list[str] = []
    result = ozelot.run(chain(8), progress=lambda event: told.append(event.kind))
    assert result.ok, result.failed
    assert rows(server) == ["0", "1", "2", "3", "4", "5", "6", "7", "before"]
    assert drawn.began == ["0", "1", "2", "3", "4", "4", "5", "6", "7"]
    assert told.count("retry") == 1


@with_a_server
def test_a_connection_that_breaks_right_before_the_commit(server: Client) -> None:
    drawn.acts["2"] = BreaksOnce(add=False)
    assert ozelot.run(chain(4)).ok
    assert rows(server) == ["0", "1", "2", "3"]


@with_a_server
def test_a_connection_that_breaks_each_time_fails_the_task_in_the_end(server: Client) -> None:
    drawn.acts["1"] = BreaksOnce(100)
    result = ozelot.run(chain(3))
    assert list(result.failed) == [label("1")]
    assert result.not_reached == {label("2"): label("1")}
    assert rows(server) == ["0"]
    assert 2 < drawn.began.count("1") < 10


@with_a_server
@pytest.mark.slow
def test_all_other_connections_break_at_once(server: Client) -> None:
    broken = threading.Event()

    def restart(step: Step) -> None:
        if broken.is_set():
            return
        broken.set()
        mine = own_number(step)
        with sa.create_engine(server.url, poolclass=sa.NullPool).connect() as connection:
            if server.engine.dialect.name == "postgresql":
                query = (
                    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            else:
                query = "SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()"
            numbers = [number for number in connection.scalars(sa.text(query)) if number != mine]
        for number in numbers:
            with suppress(sa.exc.OperationalError):  # it ended by itself
                end(server, number)

    drawn.requires["end"] = [f"n {number}" for number in range(80)]
    drawn.acts["n 40"] = restart
    result = ozelot.run(Step(name="end"), workers=4)
    assert result.ok, {name: failure.traceback for name, failure in result.failed.items()}
    assert len(rows(server)) == 81


def run_both(server: Client, meet: threading.Barrier) -> RunResult:
    """Two steps that lock two rows, each in its own order."""
    with server.transaction() as session:
        session.add_all([ECounter(id=1, number=0), ECounter(id=2, number=0)])
    tries = {"one": 0, "other": 0}

    def lock(step: Step) -> None:
        tries[step.name] += 1
        first, second = (1, 2) if step.name == "one" else (2, 1)
        count = sa.update(ECounter).values(number=ECounter.number + 1)
        step.session.execute(count.where(ECounter.id == first))
        if tries[step.name] == 1:
            meet.wait(30)
        step.session.execute(count.where(ECounter.id == second))

    drawn.acts |= {"one": lock, "other": lock}
    result = ozelot.run([Step(name="one"), Step(name="other")], workers=2)
    assert sum(tries.values()) == 3
    return result


@with_a_server
def test_of_two_tasks_in_a_deadlock_one_is_tried_again(server: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Step, "strict_writes", False)
    result = run_both(server, threading.Barrier(2))
    assert result.ok, result.failed
    assert rows(server) == ["one", "other"]
    with server.engine.connect() as connection:
        assert connection.scalars(sa.select(ECounter.number)).all() == [2, 2]


@with_a_server
def test_a_late_requirement_of_a_task_whose_connection_broke(server: Client) -> None:
    breaks = BreaksOnce(add=False)

    def ask(step: LateStep) -> Any:
        yield Step(name="a")
        breaks(step)  # type: ignore[arg-type]
        yield Step(name="b")

    drawn.acts["late"] = ask
    assert ozelot.run(LateStep(name="late")).ok
    assert rows(server) == ["a", "b", "late"]


@only("mariadb")
def test_a_lock_that_another_transaction_holds_for_too_long_is_waited_for_again(server: Client) -> None:
    with server.engine.begin() as connection:
        connection.execute(sa.insert(ECounter).values(number=1))
    other = server.engine.connect()
    other.execute(sa.update(ECounter).values(number=2))

    def act(step: Any) -> None:
        step.session.execute(sa.text("SET SESSION innodb_lock_wait_timeout = 1"))
        step.session.execute(sa.select(ECounter).with_for_update()).all()

    drawn.acts["0"] = act
    told: list[str] = []

    def progress(event: ozelot.engine.Event) -> None:
        told.append(event.kind)
        if event.kind == "retry":
            other.rollback()

    result = ozelot.run(chain(1), progress=progress)
    other.close()
    assert result.ok, result.failed
    assert told.count("retry") == 1
