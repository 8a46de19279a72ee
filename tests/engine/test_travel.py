"""What travels to another process with a task: its parameters; and what never shows: the password of the database."""

from __future__ import annotations

import datetime
import logging
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from luigi.date_interval import Week

import ozelot
from ozelot import client
from ozelot.client import Client
from ozelot.engine import Event
from ozelot.engine.messages import Batch, Job
from ozelot.staleness.fingerprint import Needs
from tests.cli.calling import process
from tests.databases import only
from tests.engine.contents import runs
from tests.engine.library import Link, create_tables
from tests.engine.travel import Colour, Secretive, Traveller, seen

PASSWORD = "pa:ss/w@rd%41 ü"  # what has to be quoted in a URL


@pytest.mark.slow
def test_parameters_of_all_kinds_arrive_as_they_were(sqlite_db: Client) -> None:
    create_tables(sqlite_db)
    values: dict[str, Any] = {
        "text": "it's {'a': \"b\"}\n\u2603\x00",
        "optional": "there",
        "number": 10**30,
        "real": float("-inf"),
        "yes": True,
        "date": datetime.date(2024, 2, 29),
        "month": datetime.date(2024, 2, 1),
        "hour": datetime.datetime(2024, 2, 29, 23),
        "second": datetime.datetime(2024, 2, 29, 23, 59, 59),
        "interval": Week(2020, 53),
        "delta": datetime.timedelta(days=1, seconds=1),
        "colour": Colour.BLUE,
        "colours": (Colour.BLUE, Colour.RED),
        "choice": 3,
        "mapping": {"a": {"b": [1, 2, {"c": None}]}},
        "items": [1, [2, ["three"]]],
        "pairs": ((1, 2), ("a", "b")),
        "path": Path("some") / "where",
        "task": Link,
        "insignificant": "but needed",
        "private": "secret",
    }
    task = Traveller(**values)
    result = ozelot.run(task, executor="process", workers=1)
    assert result.ok, result.failed
    assert Path("arrived").read_text() == seen(task)
    assert task.complete()


@pytest.fixture
def guarded(database_url: str) -> Iterator[sa.URL]:
    """The URL of a user that has a password."""
    url = sa.make_url(database_url)
    user = f"u_{url.database}"
    root = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    is_postgres = url.get_backend_name() == "postgresql"
    quoted = PASSWORD.replace("%", "%%")
    with root.connect() as connection:
        if is_postgres:
            connection.exec_driver_sql(f"CREATE ROLE {user} LOGIN SUPERUSER PASSWORD '{quoted}'")
        else:
            connection.exec_driver_sql(f"CREATE USER {user}@'127.0.0.1' IDENTIFIED BY '{quoted}'")
            connection.exec_driver_sql(f"GRANT ALL ON {url.database}.* TO {user}@'127.0.0.1'")
    yield url.set(username=user, password=PASSWORD)
    with root.connect() as connection:
        if is_postgres:
            connection.exec_driver_sql(f"REASSIGN OWNED BY {user} TO {url.username}")
            connection.exec_driver_sql(f"DROP ROLE {user}")
        else:
            connection.exec_driver_sql(f"DROP USER {user}@'127.0.0.1'")


def shows(text: str) -> bool:
    """Whether a text shows the password, or what it looks like in a URL."""
    return any(part in text for part in (PASSWORD, "w@rd", "w%40rd", "ss/w", "ss%2Fw"))


@only("postgresql", "mariadb")  # a file has no password
@pytest.mark.slow
def test_the_password_of_the_database_never_shows(
    guarded: sa.URL,
    database_url: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    caplog.set_level(logging.DEBUG)
    database = Client(connection_string=guarded)
    client.set_client(database)
    try:
        create_tables(database)
        events: list[Event] = []
        result = ozelot.run(Secretive(), executor="process", workers=1, progress=events.append)
        (failure,) = result.failed.values()
        assert "RuntimeError: cannot do this with " in failure.reason
        recorded = runs(database_url)
        assert [state for _, state, _ in recorded] == ["failed"]
        told = [failure.reason, failure.traceback, *map(repr, events), *map(repr, recorded), caplog.text]
        assert not any(map(shows, told))
        assert not shows("".join(capfd.readouterr()))
        batch = Batch([Job(Secretive(), [], [], Needs())], database.url)
        assert not shows(repr(batch)) and not shows(repr(batch.jobs)) and not shows(repr(batch.jobs[0].__reduce__()))
        assert pickle.loads(pickle.dumps(batch)).url.password == PASSWORD
    finally:
        database.engine.dispose()
    full = guarded.render_as_string(hide_password=False)
    options = ("--pipeline", "tests.engine.travel:Secretive", "run", "--processes", "--workers", "1")
    done = process(tmp_path, *options, OZELOT_DATABASE_URL=full)
    assert done.code == 1 and "cannot do this with" in done.out
    assert not shows(done.out) and not shows(done.err)


def test_a_task_passes_through_a_process_that_cannot_import_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask's scheduler unpacks what it hands on, and packs it again."""
    job = Job(Link(number=3), ["required"], [], Needs())
    arrived = pickle.loads(pickle.dumps(job))
    with monkeypatch.context() as elsewhere:
        elsewhere.setitem(sys.modules, Link.__module__, None)
        packed = pickle.dumps(arrived)
    again = pickle.loads(packed)
    assert (again.task, again.label, again.requires) == (job.task, job.label, job.requires)
