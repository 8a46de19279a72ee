"""Luigi with several workers, forked or started one by one, makes of a database what one worker makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import luigi
import pytest
import sqlalchemy as sa

import ozelot
from ozelot import client
from ozelot.client import Client
from ozelot.orm.run import Run
from tests.contents import Contents, contents
from tests.etl import whole
from tests.etl.whole import MEET, Visit
from tests.race import runners
from tests.tables import create_tables

FAILED = 30  # the exit code that is asked for
PATIENT = {"keep_alive": True, "wait_interval": 0.05, "wait_jitter": 0.0}  # of a worker, while others are at work
ROOTS: list[luigi.Task] = [whole.Whole(), whole.WholeButOne()]


@pytest.fixture(scope="module")
def by_one_worker(tmp_path_factory: pytest.TempPathFactory) -> dict[luigi.Task, Contents]:
    """What one worker of Luigi makes of an empty database, for each root."""
    found: dict[luigi.Task, Contents] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("one"))
        write_provinces()
        for root in ROOTS:
            database = Client(connection_string=f"sqlite:///{root.task_family}.db")
            client.set_client(database)
            create_tables(database, *whole.MODELS)
            luigi.build([root], local_scheduler=True, workers=1, log_level="CRITICAL")
            found[root] = contents(database.engine, whole.MODELS, without=["process", "connection"])
            client.set_client(None)
            database.engine.dispose()
    return found


@pytest.fixture
def database(by_one_worker: object, db: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    """An empty database for workers that can meet: made after what it is compared with, which needs the client, too."""
    create_tables(db, *whole.MODELS)
    write_provinces()
    monkeypatch.setenv(MEET, str(tmp_path))
    return db


def write_provinces() -> None:
    Path("provinces.txt").write_text("north\nsouth\n")


class PatientWorkers:
    """Makes what ``luigi.build`` needs, with workers that stay while others are at work."""

    def create_remote_scheduler(self, url: str) -> Any:
        return luigi.rpc.RemoteScheduler(url)

    def create_worker(self, scheduler: Any, worker_processes: int, assistant: bool = False) -> Any:
        return luigi.worker.Worker(scheduler, worker_processes=worker_processes, assistant=assistant, **PATIENT)


def command(root: luigi.Task, *options: str) -> list[str]:
    named = runners.luigi("tests.etl.whole", root.task_family, *options)
    return [*named, "--no-lock", "--retcode-task-failed", str(FAILED)]


def url(db: Client) -> str:
    return db.url.render_as_string(hide_password=False)


def check(db: Client, root: luigi.Task, by_one_worker: dict[luigi.Task, Contents]) -> set[int]:
    """Hold the database to be what one worker made; returns the connections that loaded."""
    found = contents(db.engine, whole.MODELS, without=["process", "connection"])
    for what, expected in by_one_worker[root].items():
        assert found[what] == expected, what
    assert ozelot.verify(root) == []
    with db.engine.connect() as connection:
        failed = list(connection.scalars(sa.select(Run.name).where(Run.state != "done")))
        assert failed == (["Fails"] if root == whole.WholeButOne() else [])
        used = connection.execute(sa.select(Visit.connection, Visit.process).distinct()).all()
        if db.engine.dialect.name == "sqlite":
            assert connection.scalar(sa.text("PRAGMA integrity_check")) == "ok"
            return set()
    connections = [row.connection for row in used]
    assert len(connections) == len(set(connections))  # each belongs to one process
    return set(connections)


def test_a_run_with_one_worker_holds_what_the_comparisons_are_about(by_one_worker: dict[luigi.Task, Contents]) -> None:
    """Comparing nothing with nothing would be no proof."""
    good, bad = (by_one_worker[root] for root in ROOTS)
    assert {what: found.total() for what, found in good.items()} == {
        "province": 2,
        "visit": 2 * (10 + whole.MEETING + 3),
        "markers": 1 + 10 + whole.MEETING + 3 + 4,
        "runs": 1 + 10 + whole.MEETING + 3 + 4,
        "built on": 10 + whole.MEETING + 3 + (1 + 4 + 3) + 1 + 10 + (2 + whole.MEETING),
    }
    assert good == bad


@pytest.mark.parametrize("root", ROOTS, ids=str)
def test_four_forked_workers(database: Client, root: luigi.Task, by_one_worker: dict[luigi.Task, Contents]) -> None:
    with database.create_session() as session:
        in_use = whole.connection_of(session)  # of the parent, open while it forks
        built = luigi.build([root], workers=4, local_scheduler=True, log_level="CRITICAL")
        assert whole.connection_of(session) == in_use
    assert built == (root == whole.Whole())
    assert in_use not in check(database, root, by_one_worker) or not in_use


@pytest.mark.parametrize("root", ROOTS, ids=str)
def test_the_command_with_four_workers(
    database: Client, root: luigi.Task, by_one_worker: dict[luigi.Task, Contents], tmp_path: Path
) -> None:
    with runners.racing([command(root, "--local-scheduler", "--workers", "4")], tmp_path, url(database)) as race:
        race.wait()
    if root == whole.Whole():
        assert "This progress looks :)" in race.ended_well()[0]
    else:
        assert race.codes() == [FAILED], race.printed()
        assert "This progress looks :( because there were failed tasks" in race.printed()[0]
    check(database, root, by_one_worker)


@pytest.mark.parametrize("root", ROOTS, ids=str)
def test_a_central_scheduler_and_workers_in_four_processes(
    database: Client, root: luigi.Task, by_one_worker: dict[luigi.Task, Contents], tmp_path: Path, luigid: int
) -> None:
    central = ["--scheduler-host", "127.0.0.1", "--scheduler-port", str(luigid)]
    patient = ["--worker-keep-alive", "--worker-wait-interval", "0.05", "--worker-wait-jitter", "0"]
    commands = [command(root, *central, *patient, "--workers", workers) for workers in ("1", "1", "2")]
    with runners.racing(commands, tmp_path, url(database)) as race:
        built = luigi.build(
            [root],
            scheduler_host="127.0.0.1",
            scheduler_port=luigid,
            worker_scheduler_factory=PatientWorkers(),
            log_level="CRITICAL",
        )
        race.wait()
    if root == whole.Whole():
        assert built
        assert not any("This progress looks :(" in printed for printed in race.ended_well())
    else:
        # One of them ran what fails, and the others are not to blame.
        assert sorted([*race.codes(), 0 if built else FAILED]) == [0, 0, 0, FAILED], race.printed()
    check(database, root, by_one_worker)
