"""SQLite: readers change nothing, writers wait for their turn, and foreign keys hold."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ozelot import client as client_module
from ozelot.client import Client
from ozelot.db import sqlite_file
from ozelot.errors import DatabaseUnavailable
from ozelot.orm.base import Base
from ozelot.testing import temporary_client
from tests.etl import staff
from tests.etl.heroes import build
from tests.etl.staff import Employee, Unit
from tests.sqlite_files import made_without_ozelot, query, read_only_folder


def open_client(path: Path) -> Client:
    return Client(params={"driver": "sqlite", "database": str(path)})


def test_foreign_keys_are_enforced(sqlite_db: Client) -> None:
    Base.create_all(sqlite_db)
    with pytest.raises(sa.exc.IntegrityError, match="FOREIGN KEY"), sqlite_db.transaction() as session:
        session.add(Employee(name="nobody's", unit_id=17))
    with sqlite_db.transaction() as session:
        session.add(Unit(id=1, name="unit"))
        session.flush()
        session.add(Employee(name="somebody", unit_id=1))
    with pytest.raises(sa.exc.IntegrityError, match="FOREIGN KEY"), sqlite_db.transaction() as session:
        session.execute(sa.delete(Unit))


def test_foreign_keys_are_enforced_in_every_thread(sqlite_db: Client) -> None:
    Base.create_all(sqlite_db)
    caught: list[Exception] = []

    def work() -> None:
        try:
            with sqlite_db.transaction() as session:
                session.add(Employee(name="nobody's", unit_id=17))
        except sa.exc.IntegrityError as exc:
            caught.append(exc)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(caught) == 4


def test_reading_changes_no_byte(tmp_path: Path) -> None:
    path = made_without_ozelot(tmp_path / "theirs.db")
    before = path.read_bytes(), path.stat().st_mtime_ns
    database = open_client(path)
    database.check_connection()
    with database.create_session() as session:
        assert session.scalars(sa.select(Unit.name)).all() == ["a"]
    assert database.df_query(sa.select(Unit)).to_dict("list") == {"id": [1], "name": ["a"]}
    with database.transaction() as session:
        assert session.scalar(sa.text("WITH u AS (SELECT * FROM unit) SELECT count(*) FROM u")) == 1
    assert sa.inspect(database.engine).get_table_names() == ["unit"]
    database.engine.dispose()
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert list(tmp_path.iterdir()) == [path]
    assert query(path, "PRAGMA journal_mode") == [("delete",)]


def test_first_write_makes_it_wal(tmp_path: Path) -> None:
    path = made_without_ozelot(tmp_path / "theirs.db")
    database = open_client(path)
    with database.transaction() as session:
        session.add(Unit(name="b"))
    database.engine.dispose()
    assert query(path, "PRAGMA journal_mode") == [("wal",)]
    assert query(path, "SELECT name FROM unit") == [("a",), ("b",)]


READ = """
import sqlalchemy as sa
database = ozelot.client.Client(params={"driver": "sqlite", "database": sys.argv[1]})
database.check_connection()
with database.create_session() as session:
    assert session.scalars(sa.text("SELECT name FROM unit")).all() == ["a"]
try:
    with database.transaction() as session:
        session.execute(sa.text("INSERT INTO unit (name) VALUES ('b')"))
except sa.exc.OperationalError as exc:
    assert "readonly" in str(exc), exc
else:
    sys.exit("wrote to it")
"""


@pytest.mark.parametrize("mode", ["delete", "wal"])
@pytest.mark.parametrize("name", ["read.db", "strange name, 100% of it? #1.db"])
def test_read_only_file_in_a_read_only_folder_can_be_read(mode: str, name: str) -> None:
    with read_only_folder() as folder:
        path = made_without_ozelot(folder.path / name)
        query(path, f"PRAGMA journal_mode = {mode}")
        before = path.read_bytes()
        assert not Path(f"{path}-wal").exists()
        done = folder.run(READ, path)
        assert done.returncode == 0, done.stderr
        assert path.read_bytes() == before
        assert list(folder.path.iterdir()) == [path]


WRITE = """
import sys
import sqlalchemy as sa
from ozelot.client import Client
database = Client(params={"driver": "sqlite", "database": sys.argv[1]})
sys.stdin.readline()
for number in range(200):
    with database.transaction() as session:
        highest = session.scalar(sa.text("SELECT max(id) FROM unit"))
        session.execute(sa.text("INSERT INTO unit (name) VALUES (:name)"), {"name": f"{sys.argv[2]} {number}"})
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def test_processes_that_write_at_once_in_transactions_that_read_first_lose_nothing(tmp_path: Path) -> None:
    path = made_without_ozelot(tmp_path / "shared.db")
    processes = [start(WRITE, path, writer) for writer in range(4)]
    outputs = [process.communicate("go\n", timeout=240)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, outputs
    assert not any("locked" in output or "Traceback" in output for output in outputs), outputs
    assert query(path, "SELECT count(*), count(DISTINCT name) FROM unit") == [(801, 801)]


HOLD = """
import sys
import sqlalchemy as sa
from ozelot.client import Client
database = Client(params={"driver": "sqlite", "database": sys.argv[1]})
with database.transaction() as session:
    session.execute(sa.text("INSERT INTO unit (name) VALUES ('held')"))
    print("holding", flush=True)
    sys.stdin.readline()
"""
WAIT = """
import sys
import sqlalchemy as sa
from ozelot.client import Client
database = Client(params={"driver": "sqlite", "database": sys.argv[1]})
print("waiting", flush=True)
with database.transaction() as session:
    session.execute(sa.text("INSERT INTO unit (name) VALUES ('waited')"))
"""


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A database that another process is writing to, and that process."""
    path = made_without_ozelot(tmp_path / "held.db")
    holder = start(HOLD, path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "holding\n"
    yield path, holder
    holder.kill()
    holder.communicate()


def started_waiting(path: Path) -> subprocess.Popen[str]:
    process = start(WAIT, path)
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    with pytest.raises(subprocess.TimeoutExpired):  # it does wait
        process.wait(1.5)
    return process


def test_waiting_writer_is_interrupted_at_once(held: tuple[Path, subprocess.Popen[str]]) -> None:
    path, _ = held
    waiting = started_waiting(path)
    waiting.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in waiting.communicate(timeout=10)[1]
    assert waiting.returncode != 0
    assert query(path, "SELECT name FROM unit") == [("a",)]


def test_waiting_writer_goes_on_when_the_holder_is_killed(held: tuple[Path, subprocess.Popen[str]]) -> None:
    path, holder = held
    waiting = started_waiting(path)
    holder.kill()
    output = waiting.communicate(timeout=30)[1]
    assert waiting.returncode == 0, output
    assert query(path, "SELECT name FROM unit") == [("a",), ("waited",)]


def test_waiting_writer_goes_on_when_the_holder_commits(held: tuple[Path, subprocess.Popen[str]]) -> None:
    path, holder = held
    waiting = started_waiting(path)
    holder.communicate("go on\n", timeout=30)
    output = waiting.communicate(timeout=30)[1]
    assert waiting.returncode == 0, output
    assert query(path, "SELECT name FROM unit") == [("a",), ("held",), ("waited",)]


def test_readers_do_not_wait_for_a_writer(held: tuple[Path, subprocess.Popen[str]]) -> None:
    path, _ = held
    database = open_client(path)
    with database.create_session() as session:
        assert session.scalars(sa.text("SELECT name FROM unit")).all() == ["a"]
    database.engine.dispose()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_database_in_memory_works_for_one_worker(url: str) -> None:
    database = Client(connection_string=url)
    client_module.set_client(database)
    Base.create_all(database)
    assert build(staff.LoadStaff())
    with database.create_session() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Employee)) == 12
    Base.drop_all(database)
    database.engine.dispose()


def test_database_in_memory_survives_a_fork() -> None:
    database = Client(connection_string="sqlite://")
    with database.transaction() as session:
        session.execute(sa.text("CREATE TABLE t (n INTEGER)"))
        session.execute(sa.text("INSERT INTO t VALUES (1)"))
    if (child := os.fork()) == 0:
        status = 1
        try:
            with database.create_session() as session:
                status = 0 if session.scalar(sa.text("SELECT n FROM t")) == 1 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with database.create_session() as session:
        assert session.scalar(sa.text("SELECT n FROM t")) == 1
    database.engine.dispose()


def test_uri_form_opens_the_file_that_it_names(tmp_path: Path) -> None:
    path = made_without_ozelot(tmp_path / "with space.db")
    quoted = str(path).replace(" ", "%20")
    database = Client(connection_string=f"sqlite:///file:{quoted}?uri=true")
    database.check_connection()
    with database.transaction() as session:
        session.add(Unit(name="b"))
    database.engine.dispose()
    assert query(path, "SELECT name FROM unit") == [("a",), ("b",)]
    assert [file.name for file in tmp_path.iterdir()] == ["with space.db"]


def test_uri_form_in_read_only_mode_refuses_to_write(tmp_path: Path) -> None:
    path = made_without_ozelot(tmp_path / "read.db")
    database = Client(connection_string=f"sqlite:///file:{path}?mode=ro&uri=true")
    with database.create_session() as session:
        assert session.scalars(sa.select(Unit.name)).all() == ["a"]
    with pytest.raises(sa.exc.OperationalError, match="readonly"), database.transaction() as session:
        session.add(Unit(name="b"))
    database.engine.dispose()


def test_uri_form_in_memory_is_shared_within_the_process() -> None:
    database = Client(connection_string="sqlite:///file:shared?mode=memory&cache=shared&uri=true")
    with database.transaction() as session:
        session.execute(sa.text("CREATE TABLE t (n INTEGER)"))
    found: list[Any] = []

    def look() -> None:
        with database.create_session() as session:
            found.append(session.scalar(sa.text("SELECT count(*) FROM t")))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [0]
    database.engine.dispose()


@pytest.mark.parametrize("name", ["a?b", "a%20b", "a#b", "a b", "a@b:c", "ä"])
def test_temporary_client_works_in_any_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    with temporary_client(folder) as database:
        assert client_module.get_client() is database
        assert build(staff.LoadUnits())
    assert query(folder / "test.db", "SELECT count(*) FROM unit") == [(3,)]
    assert client_module.current_client() is None


@pytest.mark.parametrize("name", ["sqlite:///dropped.db", "sqlite://"])
def test_client_that_is_dropped_closes_its_connections_without_a_warning(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", warned.append)
    database = Client(connection_string=name)
    database.check_connection()
    thread = threading.Thread(target=database.check_connection)
    thread.start()
    thread.join()
    del database, thread
    gc.collect()
    assert warned == []


def test_file_that_may_only_be_read_closes_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warned: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", warned.append)
    dropped = sqlite_file.connect_read_only(made_without_ozelot(tmp_path / "dropped.db"))
    assert dropped.execute("SELECT count(*) FROM unit").fetchone() == (1,)
    del dropped
    gc.collect()
    assert warned == []


def test_file_that_cannot_be_opened_is_one_error_and_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", warned.append)
    with pytest.raises(DatabaseUnavailable):
        Client(connection_string=f"sqlite:///{tmp_path}/none/there.db").check_connection()
    gc.collect()
    assert warned == []
