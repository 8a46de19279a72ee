"""One SQLite file under several names: links, folders, URLs. Its lock file is one, and live runs are seen by all."""

from __future__ import annotations

import io
import itertools
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import luigi
import pytest
import sqlalchemy as sa

from ozelot import client as client_module
from ozelot.client import Client
from ozelot.errors import ClearRefused, DatabaseFileError
from ozelot.etl import tasks
from ozelot.etl.completion import clear_plan
from ozelot.etl.status import recorded, status
from ozelot.state import lineage
from tests.cli.calling import environment
from tests.etl.heroes import build
from tests.own_values import OwnValue, Waits
from tests.sqlite_files import made_without_ozelot, read_only_folder
from tests.tables import create_tables

WAITS = """
import sys
import luigi
from ozelot.etl import tasks
from tests.own_values import Waits
assert luigi.build([Waits()], local_scheduler=True)
"""


@contextmanager
def running(url: str) -> Iterator[subprocess.Popen[str]]:
    """A process in which the task is running, until it is told to end."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-c", WAITS],
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        text=True,
        env=environment(OZELOT_DATABASE_URL=url),
    )
    try:
        assert process.stdout is not None
        while (line := process.stdout.readline()) != "running\n":
            assert line, process.communicate()[1]
        yield process
        process.communicate("go on\n", timeout=60)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "a.db"
    path.parent.mkdir()
    database = Client(connection_string=f"sqlite:///{path}")
    create_tables(database, OwnValue)
    database.engine.dispose()
    return path


@contextmanager
def by(url: str) -> Iterator[Client]:
    database = Client(connection_string=url)
    client_module.set_client(database)
    luigi.task_register.Register.clear_instance_cache()
    yield database
    database.engine.dispose()


def link(path: Path) -> str:
    Path("l.db").symlink_to(path)
    return "sqlite:///l.db"


def link_to_link(path: Path) -> str:
    link(path)
    Path("ll.db").symlink_to("l.db")
    return "sqlite:///ll.db"


def folder(path: Path) -> str:
    Path("here").symlink_to(path.parent)
    return f"sqlite:///here/{path.name}"


NAMES: dict[str, Callable[[Path], str]] = {
    "link": link,
    "link to a link": link_to_link,
    "linked folder": folder,
    "relative": lambda path: f"sqlite:///data/{path.name}",
    "dots": lambda path: f"sqlite:///data/../data/./{path.name}",
    "uri": lambda path: f"sqlite:///file:data/{path.name}?uri=true",
    "absolute uri": lambda path: f"sqlite:///file://localhost{path}?mode=rw&uri=true",
    "quoted uri": lambda path: f"sqlite:///file:{str(path).replace('a.db', '%2561.db')}?uri=true",
    "uri of a link": lambda path: link(path).replace("///", "///file:") + "?cache=private&uri=true",
    "parameters": lambda path: f"sqlite:///data/{path.name}?timeout=3&check_same_thread=false",
    "read-only uri": lambda path: f"sqlite:///file:{path}?mode=ro&uri=true",
}


@pytest.mark.parametrize("name", NAMES)
def test_live_run_is_seen_by_another_name_and_not_cleared(file: Path, name: str) -> None:
    with by(NAMES[name](file)) as database:
        with running(f"sqlite:///{file}"):
            assert status(Waits())[-1].last == "running"
            assert recorded()[-1].why.startswith("running since")
            with database.create_session() as session:
                assert [entry.state for entry in lineage.runs(session)] == ["running"]
                assert [entry.key for entry in lineage.alive(session)] != []
            with pytest.raises(ClearRefused, match=r"Waits \{\} is running, since"):
                clear_plan(Waits(), [Waits()]).refuse_running()
            if "read-only" not in name:
                with pytest.raises(ClearRefused, match=r"Waits \{\} is running, since"):
                    clear_plan(Waits(), [Waits()]).apply()
        assert status(Waits())[-1].is_complete
    assert sorted(path.name for path in Path().rglob("*-claims")) == ["a.db-claims"]


@pytest.mark.parametrize("name", ["link", "linked folder", "uri of a link"])
def test_run_by_another_name_is_seen_by_the_first(file: Path, name: str) -> None:
    with running(NAMES[name](file)), by(f"sqlite:///{file}"):
        assert status(Waits())[-1].last == "running"
    assert sorted(path.name for path in Path().rglob("*-claims")) == ["a.db-claims"]


def test_task_that_changes_the_folder_keeps_the_lock_file_where_it_is(file: Path, tmp_path: Path) -> None:
    class ChangesFolder(tasks.ORMTask):
        creates = ()

        def run(self) -> None:
            (tmp_path / "data" / "data").mkdir()
            os.chdir(tmp_path / "data")

    with by("sqlite:///data/a.db"):
        assert build(ChangesFolder())
        assert status(ChangesFolder())[-1].is_complete
        assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*-claims")] == ["data/a.db-claims"]


@pytest.mark.parametrize("target", ["other.txt", "none.txt"])
def test_lock_file_is_not_opened_through_a_link(file: Path, target: str) -> None:
    Path("other.txt").write_text("theirs")
    Path(f"{file}-claims").symlink_to(Path(target).absolute())
    with by(f"sqlite:///{file}"), pytest.raises(DatabaseFileError, match=r"a\.db-claims is a symbolic link: delete it"):
        Waits().run()
    assert Path("other.txt").read_text() == "theirs"
    assert not Path("none.txt").exists()


def test_hard_link_is_refused_for_writing(file: Path) -> None:
    Path("hard.db").hardlink_to(file)
    for name in ("hard.db", file):
        with by(f"sqlite:///{name}") as database:
            message = r"has a second name \(a hard link\), and SQLite keeps a log of its own for each name"
            with pytest.raises(DatabaseFileError, match=message), database.transaction() as session:
                session.execute(sa.delete(OwnValue))
            with pytest.raises(DatabaseFileError, match=message), database.transaction() as session:
                sa.inspect(session.connection()).get_table_names()
            assert database.df_query(sa.select(OwnValue)).empty
    Path("hard.db").unlink()
    with by(f"sqlite:///{file}"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.StringIO("go on\n"))
        assert build(Waits())


def test_live_run_is_not_called_interrupted_by_a_hard_link(file: Path) -> None:
    with running(f"sqlite:///{file}"):
        checkpoint(file)
        Path("hard.db").hardlink_to(file)
        with by("sqlite:///hard.db") as database:
            (entry,) = recorded()
            assert entry.last == "running"
            assert "cannot be seen" in entry.why
            assert "a hard link" in entry.why
            with database.create_session() as session:
                assert [run.state for run in lineage.runs(session)] == ["running"]
            with pytest.raises(ClearRefused, match="cannot be seen here"):
                clear_plan(Waits(), [Waits()]).refuse_running()
        Path("hard.db").unlink()


def checkpoint(file: Path) -> None:
    """Bring the file up to date, as the other name has no log."""
    with by(f"sqlite:///{file}") as database, database.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").fetchone() is not None


LOOK = """
import os, sys
import importlib.metadata, sqlalchemy.orm, ozelot.client, ozelot.etl.status, ozelot.state.lineage, ozelot.cli.app
importlib.metadata.version("ozelot")
ozelot.client.Client(connection_string="sqlite://").check_connection()
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
ozelot.client.set_client(ozelot.client.Client(connection_string=sys.argv[1]))
(entry,) = ozelot.etl.status.recorded()
print(entry.last, "|", entry.why)
"""


@pytest.mark.parametrize(("mode", "found"), [(0o644, "running | running since"), (0o600, "cannot be seen")])
def test_another_user_sees_live_runs_or_is_told_why_not(file: Path, mode: int, found: str) -> None:
    if os.getuid() != 0:
        mode = 0o000 if mode == 0o600 else 0o444  # as another user would have it
    with running(f"sqlite:///{file}"):
        folders = itertools.takewhile(lambda path: path != Path(tempfile.gettempdir()), file.parents)
        for path in folders if file.is_relative_to(tempfile.gettempdir()) else ():
            path.chmod(path.stat().st_mode | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
        Path(f"{file}-claims").chmod(mode)
        done = subprocess.run(
            [sys.executable, "-c", LOOK, f"sqlite:///{file}"], capture_output=True, text=True, timeout=60, check=False
        )
        assert found in done.stdout, done.stderr
        Path(f"{file}-claims").chmod(0o644)


LOOKS = """
import sys
from ozelot.db.locks import is_held
from ozelot.client import Client
with Client(connection_string=sys.argv[1]).engine.connect() as connection:
    print("ready", flush=True)
    sys.stdin.readline()
    print(sum(is_held(connection, "nobody's") for _ in range(20_000)))
"""


def test_two_that_look_at_once_do_not_take_each_other_for_a_run(file: Path) -> None:
    Path(f"{file}-claims").touch()
    command = [sys.executable, "-c", LOOKS, f"sqlite:///{file}"]
    pipe = subprocess.PIPE
    processes = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate(timeout=60)[0] for process in processes] == ["0\n", "0\n"]


READ = """
import sqlalchemy as sa
database = ozelot.client.Client(params={"driver": "sqlite", "database": sys.argv[1]})
with database.create_session() as session:
    print(session.scalar(sa.text("SELECT name FROM unit")))
"""


def test_read_only_file_is_read_with_its_log_by_a_link() -> None:
    with read_only_folder() as folder, read_only_folder() as elsewhere:
        path = made_without_ozelot(folder.path / "read.db")
        writer = sqlite3.connect(path)
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("UPDATE unit SET name = 'only in the log'")
        writer.commit()
        (elsewhere.path / "link.db").symlink_to(path)
        done = folder.run(READ, elsewhere.path / "link.db")
        assert done.stdout == "only in the log\n", done.stderr
        writer.close()
