"""Scripts of users, which start processes by ``ozelot.run``; and what becomes of those when the script is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ozelot.client import Client
from tests import quick
from tests.cli.calling import Called, environment
from tests.engine.contents import contents, library, markers
from tests.engine.library import PIPELINE, create_tables
from tests.waiting import until

pytestmark = pytest.mark.slow

BEGIN = """
from ozelot import client, run
client.set_client(client.Client(connection_string={url!r}))
print("the script begins")
"""


def script(url: str, text: str) -> Called:
    Path("script.py").write_text(BEGIN.format(url=url) + text)
    done = subprocess.run(
        quick.python("script.py"), env=environment(), capture_output=True, text=True, check=False, timeout=60
    )
    return Called(done.returncode, done.stdout, done.stderr)


def test_a_script_that_does_not_ask_for_its_name_runs_once(sqlite_db: Client) -> None:
    create_tables(sqlite_db)
    text = """
from tests.engine.library import LoadLibrary
print(run(LoadLibrary(), executor="process", workers=2).ok)
"""
    done = script(str(sqlite_db.url), text)
    assert done.out.split("\n") == ["the script begins", "True", ""], done.err
    assert "Traceback" not in done.err
    assert contents(str(sqlite_db.url)) == library()


def test_tasks_of_the_script_itself_run_in_its_threads_and_a_line_says_why(sqlite_db: Client) -> None:
    create_tables(sqlite_db)
    text = """
import os
from ozelot.etl.tasks import ORMTask
from tests.engine.library import Author, LoadAuthors

class Here(ORMTask):
    creates = ()
    def requires(self):
        return [LoadAuthors()]
    def run(self):
        print("in the script's process:", os.getpid() == here)

here = os.getpid()
print(run(Here(), executor="process", workers=2).ok)
"""
    done = script(str(sqlite_db.url), text)
    assert done.out.split("\n") == ["the script begins", "in the script's process: True", "True", ""], done.err
    (why,) = [line for line in done.err.splitlines() if "WARNING" in line]
    assert why.endswith(
        "Here is defined in the script itself (__main__), which other processes cannot import: it runs in a thread "
        "of this process"
    )
    assert markers(contents(str(sqlite_db.url))) == {"Here {}", "LoadAuthors {}"}


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended, and that nobody asked for, does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def started(folder: Path, url: str) -> tuple[subprocess.Popen[str], int]:
    """A command with two processes, one of which waits in the middle of a task; and the number of that one."""
    Path("wish LoadReviews").write_text("wait")
    options = ("--pipeline", PIPELINE, "--database", url, "run", "--processes")
    child = subprocess.Popen(
        [sys.executable, "-m", "ozelot", *options, "--workers", "2"],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    log = Path("came by LoadReviews")
    until(
        lambda: log.exists() and log.read_text().endswith("\n"),
        "a process in the middle of the task",
        unless=lambda: child.poll() is not None,
    )
    return child, int(log.read_text())


def without_reviews(url: str) -> None:
    """What is in the database when the task in the middle was ended."""
    found = contents(url)
    assert not [row for row in found if row[0] == "review"]
    assert markers(found).isdisjoint({"LoadReviews {}", "LoadLibrary {}"})
    assert {"LoadAuthors {}", "LoadBooks {'year': '1990'}"} <= markers(found)


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")
def test_processes_end_with_the_one_that_started_them(db: Client, database_url: str, tmp_path: Path) -> None:
    create_tables(db)
    child, worker = started(tmp_path, database_url)
    with child:
        child.kill()
        child.communicate()
    until(lambda: not alive(worker), "the end of the process")
    without_reviews(database_url)


def ctrl_c(child: subprocess.Popen[str]) -> None:
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does: to all processes


def is_told_to_press_again(child: subprocess.Popen[str]) -> bool:
    """Whether that is printed; lines on the progress may come before it."""
    return child.stdout is not None and any("Press Ctrl-C again" in line for line in iter(child.stdout.readline, ""))


def test_the_first_ctrl_c_lets_processes_end_their_tasks(sqlite_db: Client, tmp_path: Path) -> None:
    create_tables(sqlite_db)
    database_url = str(sqlite_db.url)
    child, worker = started(tmp_path, database_url)
    with child:
        ctrl_c(child)
        assert is_told_to_press_again(child)
        assert alive(worker)
        Path("wish LoadReviews").unlink()
        out, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert "Traceback" not in err
    assert "LoadReviews" in out
    assert "LoadReviews {}" in markers(contents(database_url))
    assert "LoadLibrary {}" not in markers(contents(database_url))
    assert not alive(worker)


def test_the_second_ctrl_c_ends_them(db: Client, database_url: str, tmp_path: Path) -> None:
    create_tables(db)
    child, worker = started(tmp_path, database_url)
    with child:
        ctrl_c(child)
        assert is_told_to_press_again(child)
        ctrl_c(child)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert "rolled back" in err and "Traceback" not in err
    until(lambda: not alive(worker), "the end of the process")
    without_reviews(database_url)


def test_ctrl_c_while_processes_start_shows_no_traceback(sqlite_db: Client, tmp_path: Path) -> None:
    create_tables(sqlite_db)
    text = f"""
import os, signal, sys
from ozelot import client, run
from ozelot.engine import Kind
from tests.engine.library import LoadLibrary
client.set_client(client.Client(connection_string={str(sqlite_db.url)!r}))

def at_once(event):
    if event.kind is Kind.STARTED:
        os.killpg(0, signal.SIGINT)

run(LoadLibrary(), executor="process", workers=2, progress=at_once)
"""
    Path("script.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "script.py"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        start_new_session=True,
    )
    assert "Interrupted: the run was interrupted" in done.stderr
    assert done.stderr.count("Traceback") == 1  # of the script
    assert "LoadLibrary {}" not in markers(contents(str(sqlite_db.url)))
