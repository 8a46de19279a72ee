"""A read-only replica does not know the locks of running tasks, and so calls none of them interrupted."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import luigi
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Mapped
from sqlalchemy.pool import NullPool

import ozelot
from ozelot import client as client_module
from ozelot.client import Client
from ozelot.errors import ClearRefused
from ozelot.etl import tasks
from ozelot.etl.completion import clear_plan
from ozelot.etl.status import recorded, status
from ozelot.orm.base import Base
from ozelot.orm.run import TaskOwned
from ozelot.state import lineage
from ozelot.state import runs as run
from ozelot.ui.snapshot import Keeper, Look
from ozelot.ui.snapshot import read as read_page
from tests.own_servers import OwnServer, Replica, wanted_server
from tests.tables import create_tables
from tests.waiting import until

pytestmark = pytest.mark.slow


class CopiedValue(TaskOwned, Base):
    n: Mapped[int]


started, go = threading.Event(), threading.Event()


class Copied(tasks.ORMTask):
    """Ends when it is told to."""

    creates = [CopiedValue]
    number: Any = luigi.IntParameter()

    def run(self) -> None:
        self.load(CopiedValue, [{"n": self.number}])
        started.set()
        assert go.wait(60)


@pytest.fixture(scope="module")
def primary() -> Iterator[OwnServer]:
    with wanted_server("postgresql") as server:
        server.start()
        yield server


@pytest.fixture(scope="module")
def replica(primary: OwnServer) -> Iterator[Replica]:
    with connected(primary.url) as database:
        create_tables(database, CopiedValue)
    found = Replica(primary)
    found.start()
    yield found
    found.stop()


@contextmanager
def connected(url: str) -> Iterator[Client]:
    database = Client(connection_string=url)
    client_module.set_client(database)
    luigi.task_register.Register.clear_instance_cache()
    yield database
    client_module.set_client(None)
    database.engine.dispose()


@contextmanager
def running(database: Client, task: luigi.Task) -> Iterator[None]:
    """The task runs, in a thread, until the block ends."""
    started.clear()
    go.clear()
    runner = threading.Thread(target=lambda: ozelot.run(task))
    runner.start()
    try:
        assert started.wait(60)
        yield
    finally:
        go.set()
        runner.join()
    assert status(task)[-1].is_complete


def wait_for(url: str, state: str, number: int) -> None:
    """Wait until a replica has so many runs in a state."""
    engine = sa.create_engine(url, poolclass=NullPool)
    query = sa.select(sa.func.count()).select_from(run.runs).where(run.runs.c.state == state)

    def are_there() -> bool:
        with engine.connect() as connection:
            return connection.scalar(query) == number

    until(are_there, f"{number} runs that are {state}", seconds=120, pause=0.05)


def look(database: Client, task: Copied) -> None:
    """What must be said of a task that may be running."""
    for entry in (status(task)[-1], recorded()[-1]):
        assert entry.last == run.RUNNING
        assert "running since" in entry.why
        assert "cannot be seen here: this server is read-only, as a replica is" in entry.why
    with database.create_session() as session:
        assert lineage.runs(session, last=1)[0].state == run.RUNNING
    (node,) = read_page(task, database).nodes.values()
    assert node.look is Look.RUNNING
    (node,) = Keeper(database, task).pipeline.nodes.values()
    assert node.look is Look.RUNNING
    assert "cannot be seen here" in node.why
    with pytest.raises(ClearRefused, match=r"is recorded as running, since .* cannot be seen here: this server is"):
        clear_plan(task, [task]).refuse_running()


def test_replica_says_that_live_runs_cannot_be_seen(
    primary: OwnServer, replica: Replica, capfd: pytest.CaptureFixture[str]
) -> None:
    task = Copied(number=1)
    with connected(primary.url) as database, running(database, task):
        wait_for(replica.url, run.RUNNING, 1)
        with connected(replica.url) as copy:
            look(copy, task)
            done = subprocess.run(
                [sys.executable, "-m", "ozelot", "history"],
                env={**os.environ, "OZELOT_DATABASE_URL": replica.url},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 0
            assert "cannot be seen here" in done.stdout + done.stderr, done
            assert "interrupted" not in done.stdout + done.stderr
        client_module.set_client(database)
    wait_for(replica.url, run.DONE, 1)
    with connected(replica.url):
        assert status(task)[-1].is_complete
        assert ozelot.verify(task) == []


def test_primary_sees_live_and_dead_runs_itself(primary: OwnServer, replica: Replica) -> None:
    task = Copied(number=2)
    with connected(primary.url) as database, running(database, task):
        assert status(task)[-1].last == run.RUNNING
        assert "cannot be seen" not in status(task)[-1].why
    with connected(primary.url) as database:
        with database.engine.begin() as connection:
            died = {"key": "died", "name": "Died", "params": "{}", "state": run.RUNNING, "host": "", "process": 1}
            connection.execute(sa.insert(run.runs).values(started=run.utc_now(), **died))
        assert recorded()[-1].why == "it was interrupted, or its runner died"
        with database.engine.begin() as connection:
            connection.execute(sa.delete(run.runs).where(run.runs.c.key == "died"))


def test_read_only_mariadb_says_that_live_runs_cannot_be_seen() -> None:
    with wanted_server("mariadb") as server:
        server.start()
        engine = sa.create_engine(server.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sa.text("CREATE DATABASE copied"))
        with connected(engine.url.set(database="copied").render_as_string(hide_password=False)) as database:
            create_tables(database, CopiedValue)
            task = Copied(number=1)
            died = {
                "key": task.output()[0].keys[0],
                "name": "Copied",
                "params": task.get_param_string(),
                "host": "here",
            }
            with database.engine.begin() as connection:
                connection.execute(
                    sa.insert(run.runs).values(started=run.utc_now(), state=run.RUNNING, process=1, **died)
                )
            assert status(task)[-1].why == "it was interrupted, or its runner died"
            with engine.connect() as connection:
                connection.execute(sa.text("SET GLOBAL read_only = 1"))
            look(database, task)
