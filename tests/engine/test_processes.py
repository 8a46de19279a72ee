"""Tasks in processes of their own: they come back, they die, they take too long."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

import ozelot
from ozelot.client import Client
from ozelot.engine import Event, Kind, RunResult
from ozelot.errors import TimedOut, WorkerError
from tests.engine.contents import contents, library, markers, runs
from tests.engine.library import (
    LIBRARY,
    Forever,
    Impatient,
    LoadAuthors,
    LoadBooks,
    LoadLibrary,
    LoadReviews,
    Many,
    Patient,
    Small,
    create_tables,
)

pytestmark = pytest.mark.slow


def run(*roots: Any, events: list[Event] | None = None, workers: int = 2, **how: Any) -> RunResult:
    heard = [] if events is None else events
    return ozelot.run(roots, **{"executor": "process", "workers": workers, "progress": heard.append, **how})


def came_by(name: str) -> list[int]:
    """The processes in which a task began."""
    path = Path(f"came by {name}")
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def test_all_is_loaded_once_in_other_processes(db: Client, database_url: str) -> None:
    create_tables(db)
    result = run(LoadLibrary())
    assert result.ok and sorted(result.ran) == sorted(LIBRARY)
    assert contents(database_url) == library()
    used = {pid for name in ("LoadAuthors", "RateAuthors", "LoadReviews") for pid in came_by(name)}
    assert os.getpid() not in used


def test_a_task_whose_process_died_runs_again_and_its_rows_are_there_once(db: Client, database_url: str) -> None:
    create_tables(db)
    Path("wish LoadBooks 1990").write_text("die once")
    events: list[Event] = []
    result = run(LoadLibrary(), events=events)
    assert result.ok, result.failed
    assert contents(database_url) == library()
    (again,) = (event for event in events if event.kind is Kind.RETRY)
    assert again.label == "LoadBooks {'year': '1990'}" and again.text.startswith("its worker died")
    assert len(set(came_by("LoadBooks 1990"))) == 2
    assert all(len(came_by(name)) == 1 for name in ("LoadAuthors", "RateAuthors", "LoadBooks 1991", "LoadReviews"))


def test_a_task_whose_process_dies_each_time_fails_in_words_and_others_go_on(sqlite_db: Client) -> None:
    create_tables(sqlite_db)
    Path("wish LoadBooks 1990").write_text("die")
    result = run(LoadLibrary())
    assert list(result.failed) == ["LoadBooks {'year': '1990'}"]
    failure = result.failed["LoadBooks {'year': '1990'}"]
    assert failure.reason.startswith("its worker died") and isinstance(failure.exception, WorkerError)
    assert len(set(came_by("LoadBooks 1990"))) == 4
    assert result.not_reached == dict.fromkeys(["LoadReviews {}", "LoadLibrary {}"], "LoadBooks {'year': '1990'}")
    assert all(len(came_by(name)) == 1 for name in ("LoadAuthors", "RateAuthors", "LoadBooks 1991", "LoadBooks 1992"))
    found = contents(str(sqlite_db.url))
    assert "LoadBooks {'year': '1990'}" not in markers(found)
    assert not [row for row in found if row[0] == "book" and "1990" in row[1]]
    assert {("author", "author 1", "1"), ("book", "book 0 of 1992 by author 1", "")} <= found.keys()


def test_one_that_ends_its_process_takes_none_of_its_batch_along(sqlite_db: Client) -> None:
    create_tables(sqlite_db)
    Path("wish Small 15").write_text("die")
    events: list[Event] = []
    result = run(Many(number=40), events=events, workers=1)
    assert list(result.failed) == ["Small {'number': '15'}"]
    again = [event.label for event in events if event.kind is Kind.RETRY]
    assert len(again) > 4  # others were in that batch
    assert sorted([*result.ran, *result.elsewhere]) == sorted(
        f"Small {{'number': '{n}'}}" for n in range(40) if n != 15
    )
    assert all(again.count(label) == 1 for label in {*again} - {"Small {'number': '15'}"})


def test_a_process_that_dies_between_two_tasks_is_replaced(sqlite_db: Client) -> None:
    create_tables(sqlite_db)

    def kill(event: Event) -> None:
        if event.kind is Kind.DONE and event.label == "LoadAuthors {}":
            (pid,) = came_by("LoadAuthors")
            os.kill(pid, signal.SIGKILL)

    result = ozelot.run(LoadLibrary(), executor="process", workers=1, progress=kill)
    assert result.ok, result.failed
    assert contents(str(sqlite_db.url)) == library()


def test_a_task_that_takes_too_long_is_ended_and_its_rows_are_rolled_back(db: Client, database_url: str) -> None:
    create_tables(db)
    result = run(Impatient(), LoadLibrary())
    assert list(result.failed) == ["Impatient {'number': '0'}"]
    failure = result.failed["Impatient {'number': '0'}"]
    assert failure.reason == "took longer than 1 s, and was ended" and isinstance(failure.exception, TimedOut)
    assert Path("forever").exists()
    assert contents(database_url) == library()


def test_the_limit_of_a_class_goes_before_that_of_the_run(sqlite_db: Client) -> None:
    create_tables(sqlite_db)
    assert ozelot.run(LoadAuthors()).ok
    events: list[Event] = []
    result = run(Forever(number=1), Patient(number=2), timeout=0.5, events=events)
    assert {label: failure.reason for label, failure in result.failed.items()} == {
        "Forever {'number': '1'}": "took longer than 0.5 s, and was ended"
    }
    assert set(result.ran) == {"Patient {'number': '2'}"}


def test_starting_a_process_and_importing_does_not_count(sqlite_db: Client) -> None:
    create_tables(sqlite_db)
    lines = ["import time", "from tests.engine.library import Small", "time.sleep(1)", "class Slow(Small): ..."]
    Path("slow.py").write_text("\n".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path.cwd()))
        slow: Any = importlib.import_module("slow")
        patch.setitem(sys.modules, "slow", slow)
        assert run(slow.Slow(number=1), timeout=0.9).ok


def test_an_error_that_cannot_travel_is_told_in_words(sqlite_db: Client) -> None:
    create_tables(sqlite_db)
    Path("wish LoadReviews").write_text("fail oddly")
    failure = run(LoadReviews()).failed["LoadReviews {}"]
    assert failure.reason == "Unpicklable: an error, which no other process can have"
    assert failure.exception is None
    assert "happens(" in failure.traceback
    (told,) = (reason for label, state, reason in runs(str(sqlite_db.url)) if state == "failed")
    assert told.endswith(failure.reason)


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_a_task_that_ends_the_program_fails(sqlite_db: Client, executor: str) -> None:
    create_tables(sqlite_db)
    Path("wish LoadBooks 1990").write_text("exit")
    result = run(LoadBooks(year=1990), LoadBooks(year=1991), executor=executor)
    assert {label: failure.reason for label, failure in result.failed.items()} == {
        "LoadBooks {'year': '1990'}": "SystemExit: 0"
    }
    assert "LoadBooks {'year': '1991'}" in result.ran


class AtOnce(Executor):
    """Runs what it is handed before it returns, and counts."""

    def __init__(self) -> None:
        self.number = 0

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.number += 1
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as exc:  # noqa: BLE001 - as executors do
            future.set_exception(exc)
        return future


def test_any_executor_will_do(db: Client, database_url: str) -> None:
    create_tables(db)
    at_once = AtOnce()
    assert run(LoadBooks(year=1992), executor=at_once, workers=3).ok
    assert at_once.number >= 2
    with ThreadPoolExecutor(2) as threads:
        assert run(LoadBooks(year=1990), LoadBooks(year=1991), executor=threads).ok
        assert threads.submit(int).result() == 0  # it is the caller's, and goes on
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        assert run(LoadLibrary(), executor=processes).ok
        assert processes.submit(os.getpid).result() in {*came_by("RateAuthors"), *came_by("LoadReviews")}
    assert contents(database_url) == library()


def test_an_executor_that_takes_no_more_tasks_lets_them_fail_in_words(sqlite_db: Client) -> None:
    create_tables(sqlite_db)
    Path("wish LoadAuthors").write_text("die")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
        broken = run(LoadBooks(year=1990), executor=processes)
    assert broken.failed["LoadAuthors {}"].reason.startswith("its worker died (BrokenProcessPool: ")
    with ProcessPoolExecutor(1) as processes:
        pass
    shut = run(LoadBooks(year=1990), executor=processes)
    assert "shutdown" in shut.failed["LoadAuthors {}"].reason
    assert not contents(str(sqlite_db.url))


def test_an_executor_that_drops_what_it_took_lets_tasks_fail_in_words(sqlite_db: Client) -> None:
    create_tables(sqlite_db)
    Path("wish LoadAuthors").write_text("wait")
    with ThreadPoolExecutor(1) as threads:

        def drop(event: Event) -> None:
            if event.kind is Kind.STARTED:
                threads.shutdown(wait=False, cancel_futures=True)
                Path("wish LoadAuthors").unlink()

        result = run(LoadAuthors(), Small(number=1), Many(number=1), executor=threads, progress=drop)
    assert result.ran.keys() == {"LoadAuthors {}"}
    assert {failure.reason for failure in result.failed.values()} == {
        "RuntimeError: cannot schedule new futures after shutdown"
    }
