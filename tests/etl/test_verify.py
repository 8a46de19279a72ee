"""What somebody changed behind the package's back is found, and nothing else is."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any

import luigi
import pytest
import sqlalchemy as sa

import ozelot
from ozelot.client import Client, set_client
from ozelot.etl import tasks
from ozelot.etl.verify import Kind
from ozelot.model.base import table_of
from ozelot.orm.base import Base
from ozelot.orm.run import Run
from ozelot.orm.target import ORMTargetMarker
from ozelot.pipeline import declarations
from tests.etl import heroes, staff
from tests.etl.flights import Cruise, Flight, Journey, LoadFerries, LoadJourneys, LoadMonth, LoadYear, Vessel
from tests.etl.heroes import build
from tests.tables import create_tables


@pytest.fixture(autouse=True)
def tables(db: Client) -> None:
    create_tables(db, staff.Unit, Flight, Journey, Vessel, *heroes.TABLES)
    heroes.write_inputs()


def found(root: luigi.Task) -> list[tuple[str, str]]:
    return [(finding.kind, finding.where) for finding in ozelot.verify(root)]


def execute(db: Client, statement: Any) -> None:
    with db.engine.begin() as connection:
        connection.execute(statement)


def test_an_untouched_database_is_clean(db: Client) -> None:
    assert found(staff.LoadStaff()) == []
    assert build(heroes.LoadEverything(), LoadYear(), LoadJourneys(n=1), LoadFerries(n=1), staff.LoadStaff())
    assert found(heroes.LoadEverything()) == []
    LoadMonth(month=2).clear()
    LoadJourneys(n=1).clear()
    heroes.LoadMovies.mark_incomplete()
    tasks.check_completion(heroes.LoadEverything(), clear=True)
    assert found(heroes.LoadEverything()) == []


def test_an_empty_database_without_tables_is_clean(db: Client) -> None:
    Base.drop_all(db)
    assert found(staff.LoadStaff()) == []
    assert sa.inspect(db.engine).get_table_names() == []


def test_rows_that_are_gone_are_missed(db: Client) -> None:
    assert build(staff.LoadStaff(), LoadYear())
    execute(db, sa.delete(staff.Employee).where(staff.Employee.name == "employee 0"))
    execute(db, sa.delete(Flight).where(Flight.month == 2, Flight.carrier == "ORM"))
    assert [(finding.kind, finding.what) for finding in ozelot.verify(staff.LoadStaff())] == [
        (Kind.MISSING, "LoadMonth {'month': '2'} left 5 rows in flight, but there are 4"),
        (Kind.MISSING, "LoadEmployees {} left 12 rows in employee, but there are 9"),
    ]
    (month, employees) = ozelot.verify(staff.LoadStaff())
    assert month.do == "clear it, and run it again: ozelot clear 'LoadMonth(month=2)', then ozelot run"
    assert employees.do == "clear it, and run it again: ozelot clear LoadEmployees, then ozelot run"


def test_rows_that_were_added_are_noticed(db: Client) -> None:
    assert build(staff.LoadStaff(), LoadYear())
    execute(db, sa.insert(staff.Unit).values(name="by hand"))
    with db.engine.begin() as connection:
        run_id = connection.scalar(sa.select(sa.func.min(Flight.run_id)).where(Flight.month == 1))
        connection.execute(sa.insert(Flight).values(month=1, carrier="by hand", run_id=run_id))
    assert found(staff.LoadStaff()) == [(Kind.ADDED, "LoadMonth {'month': '1'}"), (Kind.ADDED, "LoadUnits {}")]


def test_rows_of_no_complete_task_are_found(db: Client) -> None:
    assert build(staff.LoadUnits(), LoadYear())
    staff.LoadUnits.mark_incomplete()
    LoadMonth(month=3).mark_incomplete()
    with db.engine.begin() as connection:
        run_id = connection.scalar(sa.select(Flight.run_id).where(Flight.month == 2).limit(1))
    LoadMonth(month=2).clear()
    execute(db, sa.insert(Flight).values(month=2, carrier="by hand", run_id=run_id))
    assert sorted(found(LoadYear())) == [
        (Kind.LEFT, "LoadMonth {'month': '2'}"),
        (Kind.LEFT, "LoadMonth {'month': '3'}"),
        (Kind.LEFT, "unit"),
    ]
    LoadMonth(month=2).clear()
    LoadMonth(month=3).clear()
    staff.LoadUnits.clear()
    assert found(LoadYear()) == []


def test_values_that_became_null_are_missed(db: Client) -> None:
    assert build(heroes.LoadEverything())
    execute(db, sa.update(heroes.HMovie).values(budget_inflation_adjusted=None).where(heroes.HMovie.id == 1))
    assert [finding.what for finding in ozelot.verify(heroes.LoadEverything())] == [
        "InflationAdjustMovieBudgets {} set 5 values in hmovie.budget_inflation_adjusted, but 4 are there"
    ]


def test_inherited_rows_are_counted_in_all_their_tables(db: Client) -> None:
    assert build(LoadJourneys(n=1), LoadJourneys(n=2), LoadFerries(n=1))
    execute(db, sa.delete(table_of(Cruise)).where(Cruise.ship == "ship 1"))
    assert found(LoadJourneys(n=1)) == [(Kind.MISSING, "LoadJourneys {'n': '1'}")]
    with db.engine.begin() as connection:
        run_id = connection.scalar(sa.select(sa.func.min(Journey.run_id)))
        connection.execute(sa.delete(table_of(Journey)).where(Journey.run_id == run_id))
    assert len(found(LoadJourneys(n=1))) == 2


def test_markers_that_nobody_earned_are_found(db: Client) -> None:
    with db.create_session() as session:
        session.add(ORMTargetMarker(name="LoadUnits", params="{}", key=staff.LoadUnits().output()[0].keys[0]))
        session.add(ORMTargetMarker(name="NoSuchTask", params="{}", key="1"))
        session.commit()
    assert found(staff.LoadUnits()) == [(Kind.UNKNOWN, "NoSuchTask {}"), (Kind.MISSING, "LoadUnits {}")]
    staff.LoadUnits.clear()
    staff.LoadUnits.build()
    staff.LoadUnits.clear()
    staff.LoadUnits().mark_complete()
    assert found(staff.LoadUnits()) == [(Kind.UNKNOWN, "NoSuchTask {}"), (Kind.MARKER, "LoadUnits {}")]


def test_a_marker_of_a_task_that_takes_other_parameters_by_now_is_found(db: Client) -> None:
    class Changing(tasks.ORMTask):
        creates = ()

    assert build(Changing())

    class Changed(tasks.ORMTask):
        creates = ()
        version = luigi.IntParameter(default=1)
        hidden = luigi.Parameter(default="", visibility=luigi.parameter.ParameterVisibility.HIDDEN)
        small = luigi.IntParameter(default=1, significant=False)

        @classmethod
        def get_name(cls) -> str:
            return "Changing"

    declarations.task_classes.pop(Changing)
    assert build(Changed())
    assert [(finding.kind, finding.what) for finding in ozelot.verify(Changed())] == [
        (Kind.UNKNOWN, "Changing {} is marked complete, but Changing takes other parameters by now")
    ]


def test_markers_of_0_2_are_taken_for_true(db: Client) -> None:
    with db.engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO ormtargetmarker (name, params) VALUES ('LoadUnits', '{}')"))
        connection.execute(sa.insert(staff.Unit).values(name="of 0.2"))
    assert found(staff.LoadUnits()) == []


def test_references_to_nothing_are_found(sqlite_db: Client, tmp_path: Path) -> None:
    create_tables(sqlite_db, staff.Unit, Flight, Journey, Vessel, *heroes.TABLES)
    assert build(staff.LoadStaff())
    with sqlite3.connect(tmp_path / "test.db") as other:  # foreign keys are off, unless one asks
        other.execute("UPDATE employee SET unit_id = 77 WHERE name = 'employee 0'")
    other.close()
    (finding,) = ozelot.verify(staff.LoadStaff())
    assert (finding.kind, finding.where) == (Kind.DANGLING, "employee")
    assert finding.what == "3 rows of employee refer, by unit_id, to rows of unit that are not there"


def test_verifying_changes_nothing_and_works_on_a_read_only_file(sqlite_db: Client, tmp_path: Path) -> None:
    create_tables(sqlite_db, staff.Unit, Flight, Journey, Vessel, *heroes.TABLES)
    assert build(staff.LoadStaff())
    sqlite_db.engine.dispose()
    path = tmp_path / "test.db"
    before = path.read_bytes()
    path.chmod(0o444)
    reader = Client(connection_string=f"sqlite:///file:{path}?mode=ro&uri=true")
    set_client(reader)
    assert found(staff.LoadStaff()) == []
    reader.engine.dispose()
    assert path.read_bytes() == before


def test_a_run_under_way_is_no_finding(db: Client) -> None:
    class Looking(tasks.ORMTask):
        creates: Collection[Any] = [staff.Unit]

        def run(self) -> None:
            self.session.add(staff.Unit(name="new"))
            self.session.flush()
            self.close_session()
            other = Client(connection_string=db.url)
            set_client(other)
            seen.extend(ozelot.verify(self))
            set_client(db)
            other.engine.dispose()

    seen: list[Any] = []
    Looking().run()
    assert seen == []
    assert Looking().complete()


def test_rows_that_two_classes_create_are_compared_with_what_both_left(db: Client) -> None:
    class Later(tasks.ORMTask):
        creates: Collection[Any] = [staff.Unit]

        def run(self) -> None:
            self.session.add(staff.Unit(name="later"))

    assert build(staff.LoadUnits())
    assert build(Later())
    assert found(Later()) == []
    execute(db, sa.delete(staff.Unit).where(staff.Unit.name == "later"))
    assert found(Later()) == [(Kind.MISSING, "unit")]
    with db.create_session() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Run)) == 2


@pytest.mark.parametrize("first", [1, 3])
def test_rows_that_two_tasks_create_at_the_same_time_are_no_finding(db: Client, first: int) -> None:
    others_turn, its_turn = threading.Event(), threading.Event()

    class Slow(tasks.ORMTask):
        creates: Collection[Any] = [staff.Unit]

        def run(self) -> None:
            others_turn.set()
            assert its_turn.wait(60)
            self.session.add_all(staff.Unit(name="slow") for _ in range(first))

    class Quick(tasks.ORMTask):
        creates: Collection[Any] = [staff.Unit]

        def run(self) -> None:
            self.session.add_all(staff.Unit(name="quick") for _ in range(2))

    class Both(tasks.ORMWrapperTask):
        def requires(self) -> Any:
            return [Slow(), Quick()]

    slow = threading.Thread(target=Slow().run)
    slow.start()
    assert others_turn.wait(60)
    Quick().run()
    its_turn.set()
    slow.join()
    assert found(Both()) == []
    execute(db, sa.delete(staff.Unit).where(staff.Unit.name == "slow"))
    execute(db, sa.delete(staff.Unit).where(staff.Unit.name == "quick"))
    assert [kind for kind, _ in found(Both())] == [Kind.MISSING]
