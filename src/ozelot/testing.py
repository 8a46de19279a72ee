"""For the tests of pipelines: a database and a web of their own, and what every task should keep to."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import luigi
import sqlalchemy as sa
from luigi.task import DynamicRequirements

from ozelot import cache as cache_module
from ozelot import client as client_module
from ozelot.cache import RequestCache
from ozelot.client import Client
from ozelot.etl.tasks import ORMTask
from ozelot.fake_web import FakeWeb as FakeWeb
from ozelot.model.base import Base
from ozelot.pipeline.graph import walk
from ozelot.pipeline.marker_target import task_label
from ozelot.state import markers as marker


@contextmanager
def temporary_client(folder: str | Path, *, create_all: bool = True) -> Iterator[Client]:
    """A client on a fresh SQLite database in ``folder``, which all tasks use until the block ends.

    ::

        @pytest.fixture
        def client(tmp_path):
            with temporary_client(tmp_path) as client:
                yield client

    Args:
        folder: where the file ``test.db`` is to be; it is not deleted.
        create_all: create the tables of all models that were imported.
    """
    client = Client(params={"driver": "sqlite", "database": str(Path(folder) / "test.db")})
    before = client_module.current_client()
    client_module.set_client(client)
    luigi.task_register.Register.clear_instance_cache()
    try:
        if create_all:
            Base.create_all(client)
        yield client
    finally:
        client_module.set_client(before)
        client.engine.dispose()


@contextmanager
def temporary_cache(folder: str | Path, web: FakeWeb) -> Iterator[RequestCache]:
    """A request cache in ``folder``, which :func:`ozelot.cache.get_request_cache` gives until the block ends.

    It asks nobody but ``web``, also where ``OFFLINE`` is set. Files of a ``DownloadTask`` do not come through it.

    ::

        @pytest.fixture
        def web(tmp_path):
            web = FakeWeb({"https://wiki.example/Thor": "<html>Thor</html>"})
            with temporary_cache(tmp_path, web):
                yield web

    Args:
        folder: where the file ``test_pages.db`` is to be; it is not deleted.
        web: what is asked in place of the web.
    """
    before = cache_module.current_request_cache()
    with web.cache(Path(folder) / "test_pages.db", offline=False) as cache:
        cache_module.set_request_cache(cache)
        try:
            yield cache
        finally:
            cache_module.set_request_cache(before)


def contents(client: Client) -> dict[str, list[str]]:
    """All rows of all models as text, sorted, by table; without ozelot's own tables."""
    with client.engine.connect() as connection:
        there = set(sa.inspect(connection).get_table_names())
        return {
            table.name: sorted(repr(tuple(row)) for row in connection.execute(sa.select(table)))
            for table in Base.metadata.tables.values()
            if table.name in there and table not in marker.OWN_TABLES
        }


def assert_clear_restores(task: ORMTask) -> None:
    """Assert that clearing a task brings every table back to what it was before the task ran, to the last value.

    Runs what the task requires, then the task; both must be incomplete or complete, with no rows left over. One that is
    complete is cleared first.
    """
    client = task.client
    _build(list(walk(task).tasks.values())[:-1])
    if task.complete():
        task.clear()
    before = _run(task)
    assert task.complete(), f"{task_label(task)} is not complete after its run"
    task.clear()
    assert not task.complete(), f"{task_label(task)} is complete after it was cleared"
    _assert_same(before, contents(client), f"clearing {task_label(task)}")


def assert_idempotent(task: ORMTask) -> None:
    """Assert that a task gives the same rows however often it runs: again, after a crash, and after a clear.

    Keys that the database makes (and columns that refer to them) may differ between runs, and are not compared.
    """
    client = task.client
    _build(list(walk(task).tasks.values())[:-1])
    before = _run(task, crash=True)
    _assert_same(before, contents(client), f"a crash of {task_label(task)}")
    _run(task)
    first, exactly = _without_keys(client), contents(client)
    _run(task)
    _assert_same(exactly, contents(client), f"a second run of {task_label(task)}")
    task.clear()
    _run(task)
    _assert_same(first, _without_keys(client), f"clearing and running {task_label(task)}")


class _CrashError(Exception):
    """Stands for the end of a process."""


@contextmanager
def _crash_before_the_commit() -> Iterator[None]:
    def crash(connection: sa.Connection, name: str, params: str, key: str | None = None) -> None:
        raise _CrashError

    insert, marker.insert = marker.insert, crash
    try:
        yield
    finally:
        marker.insert = insert


def _run(task: ORMTask, *, crash: bool = False) -> dict[str, list[str]]:
    """Run a task, with what it asks for while it runs.

    Args:
        task: the task.
        crash: let it die right before it would commit.

    Returns:
        What was in the tables before the run that completed the task, or died.
    """
    before = contents(task.client)
    with suppress(_CrashError):
        with _crash_before_the_commit() if crash else nullcontext():
            steps = task.run()
        while isinstance(steps, Generator):
            with _crash_before_the_commit() if crash else nullcontext():
                wanted = next(steps, None)
            if wanted is None:
                break
            asked = wanted if isinstance(wanted, DynamicRequirements) else DynamicRequirements(wanted)
            _build(asked.flat_requirements)
            before = contents(task.client)
    return before


def _build(tasks: list[luigi.Task]) -> None:
    if tasks and not luigi.build(tasks, local_scheduler=True, log_level="WARNING"):
        raise AssertionError(f"What is required could not be run: {', '.join(map(task_label, tasks))}")


def _without_keys(client: Client) -> dict[str, list[str]]:
    found = {}
    with client.engine.connect() as connection:
        for name in contents(client):
            table = Base.metadata.tables[name]
            columns = [c for c in table.columns if not c.foreign_keys and c is not table.autoincrement_column]
            query = (
                sa.select(*columns, sa.func.count().over())
                if columns
                else sa.select(sa.func.count()).select_from(table)
            )
            found[name] = sorted(repr(tuple(row)) for row in connection.execute(query))
    return found


def _assert_same(before: dict[str, list[str]], after: dict[str, list[str]], what: str) -> None:
    for table, rows in before.items():
        if rows != after[table]:
            new = [row for row in after[table] if row not in rows][:3]
            gone = [row for row in rows if row not in after[table]][:3]
            raise AssertionError(
                f"{what} changed {table}: {len(rows)} rows to {len(after[table])}; new {new}, gone {gone}"
            )
