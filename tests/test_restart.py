"""A server that restarts during a run: the run waits for it, and goes on."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import luigi
import pytest
import sqlalchemy as sa

import ozelot
from ozelot import client
from ozelot.client import Client
from ozelot.engine import Event, Kind, dispatcher
from ozelot.errors import DatabaseUnavailable
from tests import databases
from tests.engine.steps import PATIENCE, EStep, LateStep, Step, chain, drawn, empty_drawing, label, rows
from tests.own_servers import OwnServer, wanted_server
from tests.tables import create_tables

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def kept(request: pytest.FixtureRequest) -> Iterator[OwnServer]:
    with wanted_server(request.param) as found:
        found.start()
        yield found


@pytest.fixture
def server(kept: OwnServer) -> Iterator[OwnServer]:
    """A server that runs, with a new database that has the tables of the steps."""
    admin = sa.create_engine(kept.url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with empty_drawing(), databases.fresh(admin) as url:
        database = Client(connection_string=url)
        client.set_client(database)
        create_tables(database, EStep)
        yield kept
        client.set_client(None)
        database.engine.dispose()
        kept.start()


class Restarts:
    """Starts the server again when the run says that it waits for it."""

    def __init__(self, server: OwnServer) -> None:
        self.server = server
        self.told: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.told.append(event)
        if event.kind is Kind.MESSAGE and event.text.startswith("Waiting for the database."):
            self.server.start()

    def kinds(self) -> Counter[str]:
        return Counter(event.kind for event in self.told)


class StopsOnce:
    """Stops the server while a step runs."""

    def __init__(self, server: OwnServer, *, crash: bool, wrote: bool = True) -> None:
        self.server, self.crash, self.wrote = server, crash, wrote
        self.done = False

    def __call__(self, step: Any) -> None:
        if self.wrote:
            step.session.add(EStep(name="before"))
            step.session.flush()
        if not self.done:
            self.done = True
            self.server.stop(crash=self.crash)


@pytest.mark.parametrize("crash", [True, False], ids=["crashes", "shuts down"])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_run_goes_on_when_the_server_is_back(server: OwnServer, workers: int, crash: bool) -> None:
    drawn.acts["3"] = StopsOnce(server, crash=crash)
    progress = Restarts(server)
    names = [str(number) for number in range(8)]
    result = ozelot.run([Step(name=name) for name in names], workers=workers, progress=progress)
    assert result.ok, [failure.traceback for failure in result.failed.values()]
    assert rows(client.get_client()) == sorted([*names, "before"])
    assert progress.kinds()["message"] == 1


def test_all_tasks_that_ran_begin_again(server: OwnServer) -> None:
    together = threading.Barrier(3)
    stops = StopsOnce(server, crash=True)

    def act(step: Any) -> None:
        if not stops.done:
            step.session.add(EStep(name=f"before {step.name}"))
            step.session.flush()
            if together.wait(PATIENCE) == 0:
                stops(step)
            together.wait(PATIENCE)

    names = ["0", "1", "2"]
    drawn.acts.update(dict.fromkeys(names, act))
    progress = Restarts(server)
    result = ozelot.run([Step(name=name) for name in names], workers=3, progress=progress)
    assert result.ok, [failure.traceback for failure in result.failed.values()]
    assert rows(client.get_client()) == names
    assert sorted(drawn.began) == ["0", "0", "1", "1", "2", "2"]


@pytest.mark.parametrize("wrote", [True, False])
def test_what_one_batch_had_committed_is_not_run_again(server: OwnServer, wrote: bool) -> None:
    ozelot.run(chain(20))  # so that the next ones share a batch
    drawn.requires.update({str(number): [str(number - 1)] for number in range(20, 40)})
    drawn.acts["30"] = StopsOnce(server, crash=True, wrote=wrote)
    result = ozelot.run(Step(name="39"), progress=Restarts(server))
    assert result.ok, [failure.traceback for failure in result.failed.values()]
    assert rows(client.get_client()) == sorted([*map(str, range(40)), *(["before"] if wrote else [])])


def test_requirements_found_while_a_task_runs(server: OwnServer) -> None:
    stops = StopsOnce(server, crash=True, wrote=False)

    def act(step: Any) -> Iterator[Any]:
        yield Step(name="first")
        stops(step)
        yield Step(name="second")

    drawn.acts["late"] = act
    result = ozelot.run(LateStep(name="late"), progress=Restarts(server))
    assert result.ok, [failure.traceback for failure in result.failed.values()]
    assert rows(client.get_client()) == ["first", "late", "second"]


def test_in_processes(server: OwnServer) -> None:
    progress = Restarts(server)
    names = [str(number) for number in range(12)]

    def stop(event: Event) -> None:
        if event.kind is Kind.DONE and not stopped:
            stopped.append(event.label)
            server.stop(crash=True)
        progress(event)

    stopped: list[str] = []
    result = ozelot.run([Step(name=name) for name in names], workers=2, executor="process", progress=stop)
    assert result.ok, [failure.traceback for failure in result.failed.values()]
    assert rows(client.get_client()) == sorted(names)


def test_a_server_that_stays_away_ends_the_run_in_time(server: OwnServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "_PATIENCE", 0.5)
    drawn.acts["3"] = StopsOnce(server, crash=True)
    told: list[Event] = []
    result = ozelot.run([Step(name=str(number)) for number in range(300)], workers=3, progress=told.append)
    assert not result.ok
    assert len(result.failed) + len(result.ran) + len(result.not_reached) == 300
    assert len(result.not_reached) > 200
    assert all(isinstance(failure.exception, DatabaseUnavailable) for failure in result.failed.values())
    assert all("Cannot connect to" in failure.reason for failure in result.failed.values())
    assert [event.text[:24] for event in told if event.kind is Kind.MESSAGE] == ["Waiting for the database"]


def test_another_database_of_a_task_is_not_waited_for(server: OwnServer) -> None:
    def act(_step: Any) -> None:
        Client(connection_string="postgresql+psycopg://me:secret@127.0.0.1:1/other").check_connection()

    drawn.acts["0"] = act
    result = ozelot.run([Step(name="0"), Step(name="1")])
    assert list(result.failed) == [label("0")]


def test_tasks_of_luigi_end_with_the_reason(server: OwnServer) -> None:
    failures: list[BaseException] = []
    handler: Any = Step.event_handler(luigi.Event.FAILURE)  # type: ignore[no-untyped-call]
    handler(lambda _task, exc: failures.append(exc))
    drawn.acts["0"] = StopsOnce(server, crash=True)
    assert not luigi.build([Step(name="0")], local_scheduler=True)
    luigi.Task._event_callbacks.pop(Step, None)
    assert [isinstance(exc, sa.exc.DBAPIError) for exc in failures] == [True]
