"""The files of an SQLite database are not opened as files, and a file that went away under a run is an error."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import luigi
import pytest
import sqlalchemy as sa

import ozelot
from ozelot import client
from ozelot import client as client_module
from ozelot.client import Client
from ozelot.diagram import write
from ozelot.errors import ConfigError, DatabaseFileError
from ozelot.etl import tasks
from ozelot.etl.download import DownloadTask
from ozelot.etl.status import status
from tests.cli.calling import environment
from tests.etl.heroes import build
from tests.own_values import (
    HARMLESS,
    NUMBER,
    RELEASE,
    REMOVE,
    WISH,
    LoadFree,
    LoadOwn,
    OwnValue,
    all_tasks,
    back_it_up,
    delete,
    delete_all,
)
from tests.tables import create_tables


def query(path: Path, statement: str) -> list[Any]:
    """What another process sees; this one may have connections that it must not close."""
    code = "import json, sqlite3, sys; print(json.dumps(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchall()))"
    command = [sys.executable, "-c", code, str(path), statement]
    rows = json.loads(subprocess.run(command, check=True, timeout=60, capture_output=True, text=True).stdout)
    return [tuple(row) for row in rows]


def run_again(path: Path) -> None:
    """Run all tasks in a process of their own."""
    code = (
        "import ozelot\nfrom ozelot.client import get_client\n"
        "from tests import own_values\nfrom tests.tables import create_tables\n"
        "create_tables(get_client(), own_values.OwnValue); assert ozelot.run(own_values.all_tasks()).ok"
    )
    env = environment(OZELOT_DATABASE_URL=f"sqlite:///{path}")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=env)


@pytest.fixture
def own(sqlite_db: Client) -> Client:
    create_tables(sqlite_db, OwnValue)
    return sqlite_db


def file_of(database: Client) -> Path:
    return Path(str(database.url.database))


def is_consistent(path: Path) -> bool:
    """Whether rows and markers agree, as whoever opens the file sees it."""
    ((rows, markers),) = query(path, "SELECT (SELECT count(*) FROM ownvalue), (SELECT count(*) FROM ormtargetmarker)")
    return bool(rows == markers and query(path, "PRAGMA integrity_check") == [("ok",)])


HOW: list[dict[str, Any]] = [{}, {"workers": 3}, {"executor": "process", "workers": 2}]


@pytest.mark.parametrize("how", HOW[:2], ids=["one", "threads"])
@pytest.mark.parametrize("what", RELEASE)
def test_task_that_opens_the_database_as_a_file_fails_the_run(own: Client, what: str, how: dict[str, Any]) -> None:
    WISH.write_text(what)
    with pytest.raises(DatabaseFileError, match=r"The log .*test\.db-wal was deleted .* Read a copy instead"):
        ozelot.run(all_tasks(), **how)
    assert is_consistent(file_of(own))
    run_again(file_of(own))
    assert is_consistent(file_of(own))
    assert query(file_of(own), "SELECT count(*) FROM ownvalue") == [(NUMBER,)]


def test_task_in_another_process_that_opens_the_database_as_a_file_loses_nothing(own: Client) -> None:
    WISH.write_text("read_all")
    with own.engine.connect() as connection:  # whose lock keeps the log in its place
        connection.execute(sa.text("SELECT * FROM ownvalue"))
        assert len(ozelot.run(all_tasks(), executor="process", workers=2).ran) == NUMBER
    assert is_consistent(file_of(own))


@pytest.mark.parametrize("how", HOW, ids=["one", "threads", "processes"])
@pytest.mark.parametrize("what", HARMLESS)
def test_what_releases_no_lock_disturbs_no_run(own: Client, what: str, how: dict[str, Any]) -> None:
    WISH.write_text(what)
    assert len(ozelot.run(all_tasks(LoadFree), **how).ran) == NUMBER
    assert is_consistent(file_of(own))


def test_atomic_run_whose_task_opens_the_database_as_a_file_fails(own: Client) -> None:
    WISH.write_text("read_all")
    with pytest.raises(DatabaseFileError, match="-wal was deleted"), own.transaction():
        ozelot.run(all_tasks())
    own.engine.dispose()
    assert is_consistent(file_of(own))


def test_luigi_sees_the_task_fail_that_opens_the_database_as_a_file(own: Client) -> None:
    WISH.write_text("read_all")
    assert not build(LoadOwn(number=NUMBER - 1))
    own.engine.dispose()
    assert is_consistent(file_of(own))


def test_what_others_write_after_the_log_was_deleted_stays(own: Client) -> None:
    WISH.write_text("read_all")
    with pytest.raises(DatabaseFileError):
        ozelot.run(all_tasks())
    path = file_of(own)
    before = query(path, "SELECT max(id) FROM ozelot_run")[0][0]
    code = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('CREATE TABLE theirs (n)');"
        "c.executemany('INSERT INTO theirs VALUES (?)', [(n,) for n in range(5000)]); c.commit()"
    )
    subprocess.run([sys.executable, "-c", code, path], check=True, timeout=60)
    own.engine.dispose()
    client_module.set_client(None)
    assert query(path, "SELECT count(*) FROM theirs") == [(5000,)]
    assert query(path, "SELECT max(id) FROM ozelot_run")[0][0] == before
    assert is_consistent(path)


@pytest.mark.parametrize("how", HOW, ids=["one", "threads", "processes"])
@pytest.mark.parametrize("what", REMOVE)
def test_database_that_goes_away_during_a_run_is_an_error(own: Client, what: str, how: dict[str, Any]) -> None:
    WISH.write_text(what)
    with pytest.raises(DatabaseFileError, match=r"The database .*test\.db was (deleted or moved|replaced)"):
        ozelot.run(all_tasks(LoadFree), **how)
    own.engine.dispose()
    client_module.set_client(None)
    if how:
        return  # another worker may have made the file again before it was noticed
    path = file_of(own)
    if what == "rename":
        Path("renamed.db").rename(path)
    else:
        Path(f"{path}-wal").unlink(missing_ok=True)
        Path(f"{path}-shm").unlink(missing_ok=True)
    if path.exists():
        assert is_consistent(path)
    run_again(path)
    assert query(path, "SELECT count(DISTINCT n) FROM ownvalue") == [(NUMBER,)]


def test_database_that_goes_away_under_a_transaction_is_an_error(own: Client) -> None:
    with pytest.raises(DatabaseFileError, match="deleted or moved"), own.transaction() as session:
        session.execute(sa.text("CREATE TABLE t (n INTEGER)"))
        file_of(own).rename("moved.db")
    Path("moved.db").rename(file_of(own))
    client_module.set_client(Client(connection_string=own.url))
    assert ozelot.run(all_tasks()).ok


def test_database_that_goes_away_after_the_last_task_is_an_error(own: Client) -> None:
    class DeleteIt(luigi.Task):
        def requires(self) -> Any:
            return [LoadOwn(number=0)]

        def complete(self) -> bool:
            return False

        def run(self) -> None:
            delete_all(file_of(own))

    with pytest.raises(DatabaseFileError, match="deleted or moved"):
        ozelot.run(DeleteIt())  # type: ignore[no-untyped-call]


def test_other_journal_mode_is_no_deleted_log(own: Client) -> None:
    with own.engine.connect() as connection:
        connection.execute(sa.text("INSERT INTO ownvalue (n, run_id) SELECT 1, 1 WHERE 0"))
        connection.commit()
        assert connection.exec_driver_sql("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
        connection.commit()
        connection.exec_driver_sql("CREATE TABLE t (n INTEGER)")
        connection.commit()
    assert ozelot.run(all_tasks()).ok


def test_database_in_memory_has_no_file_to_check() -> None:
    database = Client(connection_string="sqlite://")
    client_module.set_client(database)
    before = client.own_files()
    create_tables(database, OwnValue)
    assert len(ozelot.run(all_tasks()).ran) == NUMBER
    assert client.own_files() == before
    database.engine.dispose()


NAMES: dict[str, Callable[[Path], str]] = {
    "absolute": str,
    "relative": lambda path: path.name,
    "dots": lambda path: f"../{path.parent.name}/./{path.name}",
    "log": lambda path: f"{path}-wal",
    "index of the log": lambda path: f"{path}-shm",
    "journal": lambda path: f"{path}-journal",
    "lock file": lambda path: f"{path}-claims",
    "link": lambda path: str(linked(path, "l.db")),
    "link to the log": lambda path: str(linked(Path(f"{path}-wal"), "log.txt")),
    "linked folder": lambda path: str(linked(path.parent, "here") / path.name),
    "hard link": lambda path: str(linked(path, "hard.db", hard=True)),
}


def linked(path: Path, name: str, *, hard: bool = False) -> Path:
    link = Path(name)
    link.hardlink_to(path) if hard else link.symlink_to(path)
    return link


class OwnFile(tasks.InputFileTask):
    path: Any = luigi.Parameter()

    @property  # type: ignore[misc]
    def input_file(self) -> str:  # type: ignore[override]
        return str(self.path)


class OwnOutput(OwnFile):
    def output(self) -> Any:
        return luigi.LocalTarget(self.path)


class OwnDownload(DownloadTask, OwnFile):
    url = "http://127.0.0.1:9/none"


class LuigisOwn(luigi.Task):
    path: Any = luigi.Parameter()

    def output(self) -> Any:
        return {"file": luigi.LocalTarget(self.path)}


class FromOwnFile(tasks.ORMTask):
    creates = [OwnValue]
    kind: Any = luigi.Parameter()
    path: Any = luigi.Parameter()

    def requires(self) -> Any:
        return [KINDS[self.kind](path=self.path), LoadOwn(number=0)]

    def run(self) -> None:
        pass


KINDS: dict[str, type[luigi.Task]] = {cls.__name__: cls for cls in (OwnFile, OwnOutput, OwnDownload, LuigisOwn)}
REFUSED = r"is a file of the database in use\. .* use: sqlite3 .*test\.db '\.backup COPY'"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_file_of_the_database_is_refused_as_input_before_anything_runs(own: Client, name: str, kind: str) -> None:
    with own.engine.connect():  # its log is there for as long
        task = FromOwnFile(kind=kind, path=NAMES[name](file_of(own)))
        with pytest.raises(ConfigError, match=f"^{kind} .*{REFUSED}"):
            ozelot.run(task)
    assert query(file_of(own), "SELECT count(*) FROM ownvalue") == [(0,)]


@pytest.mark.parametrize("kind", ["OwnFile", "OwnDownload"])
def test_file_of_the_database_is_refused_as_input_under_luigi(own: Client, kind: str) -> None:
    assert not build(FromOwnFile(kind=kind, path=str(file_of(own))))
    assert query(file_of(own), "SELECT name FROM ormtargetmarker") == [("LoadOwn",)]
    ((error,),) = query(file_of(own), "SELECT error FROM ozelot_run WHERE state = 'failed'") or [("",)]
    assert "is a file of the database in use" in error


def test_file_of_the_database_is_refused_where_it_is_found_while_a_task_runs(own: Client) -> None:
    class Finds(tasks.ORMTask):
        creates = ()

        def run(self) -> Any:
            yield OwnFile(path=str(file_of(own)))

    result = ozelot.run(Finds())
    assert "is a file of the database in use" in result.failed["Finds {}"].reason


@pytest.mark.parametrize("name", ["test.db", "test.db-wal", "l.db"])
def test_download_and_its_clearing_refuse_files_of_the_database(own: Client, name: str) -> None:
    linked(file_of(own), "l.db")
    task = OwnDownload(path=name)
    with own.engine.connect():
        for act in (task.run, task.clear):
            with pytest.raises(ConfigError, match=REFUSED):
                act()
    assert file_of(own).exists()


def test_diagram_is_not_written_over_a_file_of_the_database(tmp_path: Path) -> None:
    database = Client(connection_string=f"sqlite:///{tmp_path / 'schema.dot'}")
    client_module.set_client(database)
    create_tables(database, OwnValue)
    with pytest.raises(ConfigError, match=r"A diagram: schema\.dot is a file of the database in use"):
        write("digraph {}", "schema")
    assert query(tmp_path / "schema.dot", "SELECT count(*) FROM ownvalue") == [(0,)]
    database.engine.dispose()


def test_file_beside_the_database_is_no_file_of_it(own: Client) -> None:
    Path("test.db.csv").write_text("a")
    assert ozelot.run(FromOwnFile(kind="OwnFile", path="test.db.csv")).ok
    assert status(FromOwnFile(kind="OwnFile", path="test.db.csv"))[-1].is_complete


def test_copy_of_the_database_can_be_an_input(own: Client) -> None:
    back_it_up(file_of(own))
    assert ozelot.run(FromOwnFile(kind="OwnFile", path="backup.db")).ok


def test_file_of_the_request_cache_is_one_of_a_database_in_use(own: Client, tmp_path: Path) -> None:
    cache = ozelot.cache.RequestCache(str(tmp_path / "web_cache.db"))
    cache.put("http://127.0.0.1:9/none", "a")
    with pytest.raises(ConfigError, match=r"web_cache\.db is a file of the database in use"):
        ozelot.run(FromOwnFile(kind="OwnFile", path="web_cache.db"))


def test_connections_of_threads_are_all_watched(own: Client) -> None:
    def write_one(number: int) -> None:
        with own.transaction() as session:
            session.execute(sa.text(f"CREATE TABLE t{number} (n INTEGER)"))

    threads = [threading.Thread(target=write_one, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    delete(file_of(own))
    with pytest.raises(DatabaseFileError):
        write_one(9)
