"""Threads of one worker process, as Dask starts them: they share one client, or rows escape the task's transaction."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import ozelot
from ozelot import client
from ozelot.client import Client
from ozelot.engine.messages import Batch, Job
from ozelot.engine.worker import run_elsewhere
from ozelot.staleness.fingerprint import Needs
from ozelot.state import markers
from tests.cli.calling import environment
from tests.databases import only
from tests.engine.library import Author, CommitThenFail, create_tables

THREADS = 8


def make_clients_slowly() -> None:
    """Let each client take a moment to make, as when a driver is imported at that moment."""
    make = Client.__init__

    def slowly(self: Client, *args: Any, **kwargs: Any) -> None:
        time.sleep(0.01 * random.random())
        make(self, *args, **kwargs)

    Client.__init__ = slowly  # type: ignore[method-assign]


@pytest.fixture
def slow_to_connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As above, and forget the clients of the test at its end."""
    monkeypatch.setattr(Client, "__init__", Client.__init__)  # restored at the end
    make_clients_slowly()
    yield
    forget_clients()


def forget_clients() -> None:
    """As in a process that has just started."""
    for made in client._clients.values():
        made.engine.dispose()
    client._clients.clear()
    client.set_client(None)


def at_once(*work: Callable[[], object]) -> None:
    """Start all of this at the same moment, each in a thread of its own."""
    start = threading.Barrier(len(work))

    def go(one: Callable[[], object]) -> None:
        start.wait()
        one()

    threads = [threading.Thread(target=go, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def run_as_worker(database: Client, number: int) -> Callable[[], object]:
    batch = Batch([Job(CommitThenFail(number=number), [], [], Needs())], database.url)
    return lambda: run_elsewhere(batch)


def authors(database: Client) -> int:
    with database.engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(Author)) or 0


@pytest.mark.usefixtures("slow_to_connect")
def test_threads_that_start_together_share_one_client_and_a_failed_task_leaves_no_rows(db: Client) -> None:
    create_tables(db)
    markers.prepare(db.engine)
    for _ in range(5):
        forget_clients()
        at_once(*(run_as_worker(db, number) for number in range(THREADS)))
        assert authors(db) == 0
    (shared,) = client._clients.values()
    assert client.get_client() is shared


@pytest.mark.usefixtures("slow_to_connect")
def test_threads_that_work_on_two_databases_keep_them_apart(tmp_path: Path) -> None:
    both = [Client(connection_string=f"sqlite:///{tmp_path / name}.db") for name in ("one", "two")]
    for database in both:
        client.set_client(database)
        create_tables(database)
        markers.prepare(database.engine)
    client.set_client(None)
    at_once(*(run_as_worker(both[number % 2], number) for number in range(THREADS)))
    for parity, database in enumerate(both):
        assert authors(database) == 0
        with database.engine.connect() as connection:
            ran = connection.scalars(sa.text("SELECT params FROM ozelot_run WHERE state = 'failed'")).all()
        assert sorted(ran) == [f"{{'number': '{number}'}}" for number in range(parity, THREADS, 2)]
        database.engine.dispose()


@only("postgresql", "mariadb")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.slow
def test_a_dask_worker_with_several_threads_leaves_no_rows_of_failed_tasks(db: Client, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    create_tables(db)
    with (
        distributed.LocalCluster(
            n_workers=1,
            threads_per_worker=THREADS,
            processes=True,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
            local_directory=str(tmp_path),
            env=environment(),
        ) as cluster,
        distributed.Client(cluster) as dask,
    ):
        dask.run(make_clients_slowly)
        result = ozelot.run([CommitThenFail(number=n) for n in range(3 * THREADS)], executor=dask.get_executor())
    assert len(result.failed) == 3 * THREADS
    assert authors(db) == 0
