"""Status as data: state, reason, time and rows of every task."""

from __future__ import annotations

import subprocess
from collections.abc import Collection
from typing import Any

import luigi
import sqlalchemy as sa

from ozelot.client import Client
from ozelot.etl import tasks
from ozelot.etl.status import State, status
from tests.etl import staff
from tests.etl.heroes import build
from tests.etl.staff_processes import start
from tests.statements import recorded_statements
from tests.tables import create_tables


def told(root: luigi.Task) -> dict[str, tuple[State, str]]:
    return {found.label: (found.state, found.why) for found in status(root)}


class Failing(tasks.ORMTask):
    creates: Collection[Any] = [staff.Unit]

    def run(self) -> None:
        raise ValueError("no more")


def test_an_empty_database_says_that_nothing_ever_ran(db: Client) -> None:
    assert told(staff.LoadStaff()) == {
        "LoadUnits {}": (State.INCOMPLETE, "it never ran"),
        "LoadEmployees {}": (State.INCOMPLETE, "it never ran"),
        "LoadStaff {}": (State.INCOMPLETE, "it never ran"),
    }
    assert sa.inspect(db.engine).get_table_names() == []


def test_complete_tasks_have_rows_and_times(db: Client) -> None:
    create_tables(db, staff.Unit)
    assert build(staff.LoadStaff())
    found = {entry.label: entry for entry in status(staff.LoadStaff())}
    assert [entry.state for entry in found.values()] == [State.COMPLETE] * 3
    assert found["LoadUnits {}"].rows == {"unit": 3}
    assert found["LoadEmployees {}"].rows == {"employee": 12}
    assert found["LoadStaff {}"].rows == {}
    assert all(entry.when is not None and entry.seconds is not None for entry in found.values())
    assert (found["LoadUnits {}"].name, found["LoadUnits {}"].params) == ("LoadUnits", "{}")
    assert {entry.last for entry in found.values()} == {"done"}


def test_what_stands_on_something_incomplete_says_on_what(db: Client) -> None:
    create_tables(db, staff.Unit)
    assert build(staff.LoadStaff())
    staff.LoadUnits.mark_incomplete()
    assert told(staff.LoadStaff()) == {
        "LoadUnits {}": (State.INCOMPLETE, "its marker was removed, what it loaded is still there"),
        "LoadEmployees {}": (State.ON_INCOMPLETE, "requires LoadUnits {}, which is not complete"),
        "LoadStaff {}": (State.ON_INCOMPLETE, "requires LoadUnits {}, which is not complete"),
    }
    tasks.check_completion(staff.LoadStaff(), clear=True)
    assert set(told(staff.LoadStaff()).values()) == {(State.INCOMPLETE, "it was cleared")}


def test_a_failure_is_told_in_its_own_words(db: Client) -> None:
    create_tables(db, staff.Unit)
    assert not build(Failing())
    assert told(Failing()) == {"Failing {}": (State.INCOMPLETE, "failed: ValueError: no more")}
    assert status(Failing())[0].last == "failed"


def test_a_run_whose_runner_died_is_told_from_one_that_lives(db: Client) -> None:
    create_tables(db, staff.Unit)
    process: subprocess.Popen[str] = start(db, "LoadUnitsAndDie", edge="row")
    process.communicate(timeout=60)
    assert told(staff.LoadUnitsAndDie(edge="none"))["LoadUnitsAndDie {}"] == (
        State.INCOMPLETE,
        "it was interrupted, or its runner died",
    )

    class Asking(tasks.ORMTask):
        creates = ()

        def run(self) -> None:
            seen.append(told(self)["Asking {}"])

    seen: list[tuple[State, str]] = []
    Asking().run()
    assert seen[0][0] == State.INCOMPLETE
    assert seen[0][1].startswith("running since 20")


def test_the_number_of_queries_does_not_grow(sqlite_db: Client) -> None:
    class Leaf(tasks.ORMTask):
        creates = ()
        n: int = luigi.IntParameter()

    class Root(tasks.ORMWrapperTask):
        size: int = luigi.IntParameter()

        def requires(self) -> Any:
            return [Leaf(n=n) for n in range(self.size)]

    assert build(Root(size=3))
    statements = recorded_statements(sqlite_db)
    counts = []
    for size in (3, 3000):
        statements.clear()
        assert len(status(Root(size=size))) == size + 1
        counts.append(len(statements))
    assert counts[0] == counts[1] <= 14


def test_files_that_are_missing_are_told_so(db: Client) -> None:
    class File(tasks.InputFileTask):
        input_file = "nowhere.csv"

    assert told(File()) == {"File {}": (State.INCOMPLETE, "there is no file nowhere.csv")}
