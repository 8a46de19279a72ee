"""Tasks on the workers of a Dask cluster; one cluster serves all of these tests."""

from __future__ import annotations

import logging
import os
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ozelot
from ozelot.client import Client
from ozelot.engine import Event, Kind
from ozelot.errors import ConfigError, WorkerError
from ozelot.etl.completion import clear_plan
from tests.cli.calling import environment, process
from tests.databases import only
from tests.engine.contents import contents, library
from tests.engine.heroes import WIKI, loaded, settings
from tests.engine.heroes import ozelot as heroes
from tests.engine.library import LIBRARY, PIPELINE, LoadAuthors, LoadBooks, LoadLibrary, Stubborn, create_tables
from tests.superheroes import EXAMPLE, fill_cache

distributed = pytest.importorskip("distributed")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")]

#: Workers on other machines would not see a file of this one.
with_a_server = only("postgresql", "mariadb")
NOBODY = "tcp://127.0.0.1:9"  # the port of a service that no machine offers any more


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two workers, each a process with one thread; their working folder is where wishes are looked for."""
    folder = tmp_path_factory.mktemp("dask")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.chdir(folder)
        patch.syspath_prepend(str(EXAMPLE))  # a worker that replaces a dead one has the path that this process has then
        fill_cache(folder / "web_cache.db", WIKI)
        with distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
            local_directory=str(folder),
            env={**environment(), **settings(folder / "web_cache.db")},  # of those that replace dead ones, too
        ) as made:
            made.folder = folder
            yield made


@pytest.fixture(autouse=True)
def example_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """As between the tests: a worker may be replaced at any time."""
    monkeypatch.syspath_prepend(str(EXAMPLE))


@pytest.fixture
def dask(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of the cluster, in the folder of its workers."""
    monkeypatch.chdir(cluster.folder)
    for path in [*cluster.folder.glob("wish *"), *cluster.folder.glob("came by *")]:
        path.unlink()
    with distributed.Client(cluster) as made:
        yield made


@pytest.fixture
def server(db: Client) -> Client:
    """A database that workers on other machines could reach."""
    create_tables(db)
    return db


@with_a_server
def test_a_pipeline_runs_there_and_a_worker_that_dies_loses_nothing(
    dask: Any, server: Client, database_url: str
) -> None:
    Path("wish LoadBooks 1990").write_text("die once")
    events: list[Event] = []
    result = ozelot.run(LoadLibrary(), executor=dask.get_executor(), progress=events.append)
    assert result.ok, result.failed
    assert sorted([*result.ran, *result.elsewhere]) == sorted(LIBRARY)
    assert contents(database_url) == library()
    died, after = Path("came by LoadBooks 1990").read_text().split()
    assert died != after and str(os.getpid()) not in (died, after)
    assert not [event for event in events if event.kind is Kind.FAILED]


@with_a_server
def test_what_is_tried_or_run_again_runs_again(dask: Any, server: Client, database_url: str) -> None:
    Path("wish Small 5").write_text("fail once")
    executor = dask.get_executor()
    kept: list[Any] = []  # what somebody keeps, Dask need not do again, as it sees it

    def keep(_event: Event) -> None:
        kept.extend(distributed.Future(key, dask) for key in dask.futures)

    assert ozelot.run(Stubborn(number=5), executor=executor, progress=keep).ok
    assert len(Path("came by Small 5").read_text().split()) == 2
    for _ in range(2):
        assert ozelot.run(LoadBooks(year=1990), executor=executor, progress=keep).ok
        clear_plan(LoadBooks(year=1990), [LoadAuthors()]).apply()
    assert len(Path("came by LoadBooks 1990").read_text().split()) == 2
    assert kept


@with_a_server
def test_the_command_runs_the_superheroes_there(
    cluster: Any, all_heroes: Counter[tuple[object, ...]], wiki_pages: Path, server: Client, database_url: str
) -> None:
    assert heroes(cluster.folder, wiki_pages, database_url, "db", "init").code == 0
    done = heroes(cluster.folder, wiki_pages, database_url, "run", "--dask", cluster.scheduler_address)
    assert done.code == 0, done.out + done.err
    assert "LoadEverything is complete" in done.out and "Traceback" not in done.err
    assert loaded(database_url) == all_heroes


@with_a_server
def test_errors_there_are_told_in_words(dask: Any, server: Client, database_url: str) -> None:
    Path("wish LoadBooks 1991").write_text("fail oddly")
    Path("wish LoadBooks 1992").write_text("fail")
    result = ozelot.run(LoadLibrary(), executor=dask.get_executor())
    reasons = {label: failure.reason for label, failure in result.failed.items()}
    assert reasons == {
        "LoadBooks {'year': '1991'}": "Unpicklable: an error, which no other process can have",
        "LoadBooks {'year': '1992'}": "RuntimeError: no LoadBooks 1992 today",
    }
    assert "happens(" in result.failed["LoadBooks {'year': '1992'}"].traceback
    assert "LoadBooks {'year': '1990'}" in result.ran


@with_a_server
def test_a_worker_that_cannot_import_the_pipeline_fails_in_words(
    dask: Any, server: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("from tests.engine.library import Small as Task\nclass Here(Task): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import only_here  # type: ignore[import-not-found]

    result = ozelot.run(only_here.Here(number=1), executor=dask.get_executor())
    (failure,) = result.failed.values()
    assert isinstance(failure.exception, WorkerError)
    assert failure.reason.startswith("The worker cannot import only_here (No module named 'only_here')")
    assert "PYTHONPATH" in failure.reason


@pytest.mark.filterwarnings("ignore:Port 8787")  # of its dashboard, which another cluster has
@only("postgresql")
def test_a_cluster_without_workers_is_waited_for_and_told(
    server: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        distributed.LocalCluster(
            n_workers=0,
            threads_per_worker=1,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
            local_directory=str(tmp_path),
            env=environment(),
        ) as empty,
        distributed.Client(empty) as made,
    ):

        def start_one(event: Event) -> None:
            if event.kind is Kind.PLANNED:
                assert "The Dask cluster has no workers yet" in caplog.text
                empty.scale(1)

        result = ozelot.run(LoadBooks(year=1990), executor=made.get_executor(), progress=start_one)
    assert result.ok, result.failed


def test_sqlite_is_refused_in_words(dask: Any, sqlite_db: Client) -> None:
    create_tables(sqlite_db)
    with pytest.raises(ConfigError, match="use PostgreSQL or MariaDB, or executor='process'"):
        ozelot.run(LoadBooks(year=1990), executor=dask.get_executor())


def test_no_scheduler_at_the_address_is_one_clear_line(sqlite_db: Client, tmp_path: Path) -> None:
    create_tables(sqlite_db)
    done = process(tmp_path, "--pipeline", PIPELINE, "--database", str(sqlite_db.url), "run", "--dask", NOBODY)
    assert done.code == 3
    (line,) = [line for line in done.err.splitlines() if " - INFO - " not in line]
    assert line.startswith(f"error: No Dask scheduler answers at {NOBODY}")
