"""A task's rows and its marker are there together, or not at all; and once, however many run it."""

from __future__ import annotations

from collections.abc import Collection, Generator
from pathlib import Path
from typing import Any

import luigi
import pytest
import sqlalchemy as sa

from ozelot import client as client_module
from ozelot.client import Client
from ozelot.errors import TransactionError
from ozelot.etl import tasks
from tests.etl import staff
from tests.etl.heroes import build
from tests.etl.made_tasks import run_once
from tests.etl.staff import THREE, Unit, markers, units
from tests.etl.staff_processes import eight_at_once, start
from tests.tables import create_tables


@pytest.fixture(autouse=True)
def tables(db: Client) -> None:
    create_tables(db, Unit)


STYLES = [staff.LoadUnits, staff.LoadUnitsAsIn02, staff.LoadUnitsMarkedFirst]


@pytest.mark.parametrize("task", STYLES, ids=lambda cls: cls.__name__)
def test_run_leaves_rows_and_marker(db: Client, task: type[tasks.ORMTask]) -> None:
    assert build(task())
    assert units(db) == THREE
    assert markers(db) == [task.__name__]


@pytest.mark.parametrize("task", STYLES, ids=lambda cls: cls.__name__)
def test_exception_after_the_last_row_leaves_nothing(db: Client, task: type[tasks.ORMTask]) -> None:
    class Failing(task):  # type: ignore[valid-type, misc]
        def run(self) -> None:
            super().run()
            raise ValueError("too late")

    with pytest.raises(ValueError, match="too late"):
        Failing().run()
    assert units(db) == []
    assert markers(db) == []


def test_super_run_does_not_complete_the_task_early(db: Client) -> None:
    seen: list[list[str]] = []

    class Longer(staff.LoadUnitsAsIn02):
        def run(self) -> None:
            super().run()
            seen.append(markers(db))
            self.session.add(Unit(name="unit 3"))

    assert build(Longer())
    assert seen == [[]]
    assert units(db) == [*THREE, "unit 3"]
    assert markers(db) == ["Longer"]


def test_work_after_done_commits_with_it(db: Client) -> None:
    class DoneInTheMiddle(tasks.ORMTask):
        creates = [Unit]

        def run(self) -> None:
            self.session.add(Unit(name="before"))
            self.done()
            self.session.add(Unit(name="after"))

    assert build(DoneInTheMiddle())
    assert units(db) == ["after", "before"]


@pytest.mark.parametrize("edge", ["row", "commit"])
@pytest.mark.slow
def test_kill_before_the_commit_leaves_nothing(db: Client, edge: str) -> None:
    process = start(db, "LoadUnitsAndDie", edge=edge)
    process.communicate(timeout=60)
    assert process.returncode == -9
    assert units(db) == []
    assert markers(db) == []
    assert build(staff.LoadUnitsAndDie(edge="none"))
    assert units(db) == THREE


@pytest.mark.slow
def test_kill_right_after_the_commit_leaves_rows_and_marker(db: Client) -> None:
    process = start(db, "LoadUnitsAndDie", edge="after")
    process.communicate(timeout=60)
    assert process.returncode == -9
    assert units(db) == THREE
    assert markers(db) == ["LoadUnitsAndDie"]
    assert staff.LoadUnitsAndDie(edge="none").complete()


@pytest.mark.parametrize("task", [*STYLES, staff.LoadUnitsByGenerator], ids=lambda cls: cls.__name__)
@pytest.mark.slow
def test_eight_processes_at_once_load_once(db: Client, task: type[tasks.ORMTask], tmp_path: Path) -> None:
    output = eight_at_once(db, task.__name__, tmp_path)
    assert output.count("This progress looks :)") == 8
    assert "Traceback" not in output and "WARNING - Waiting" not in output
    assert units(db) == THREE
    assert markers(db).count(task.__name__) == 1


def test_generator_that_yields_requirements_loads_once(db: Client) -> None:
    assert build(staff.LoadUnitsByGenerator())
    assert units(db) == THREE
    assert markers(db) == ["LoadUnitsByGenerator", "Note", "Note", "Note"]


def test_generator_never_waits_inside_a_transaction(db: Client) -> None:
    task = staff.LoadUnitsByGenerator()
    steps = task.run()
    (wanted,) = next(steps)
    assert wanted == staff.Note(text="first")
    with db.transaction() as session:  # would wait forever on SQLite, if the task still held the database
        session.add(Unit(name="someone else's"))
    assert units(db) == ["someone else's"]
    steps.close()
    assert markers(db) == []


def test_generator_that_is_resumed_after_its_requirement_ran_begins_anew(db: Client) -> None:
    for wanted in staff.LoadUnitsByGenerator().run():
        for note in wanted:
            note.run()
    assert units(db) == THREE


def test_subclass_that_returns_or_yields_from_a_generator_loads_once(db: Client) -> None:
    class Returning(staff.LoadUnitsByGenerator):
        def run(self) -> Any:
            self.session.add(Unit(name="own"))
            return super().run()

    class Delegating(staff.LoadUnitsByGenerator):
        creates: Collection[Any] = [staff.Unit]

        def run(self) -> Generator[Any, Any, None]:
            yield from super().run()
            self.session.add(Unit(name="last"))

    assert build(Returning())
    assert units(db) == ["own", *THREE]
    assert build(Delegating())
    assert units(db) == sorted(["own", "last", *THREE, *THREE])
    assert markers(db) == ["Delegating", "Note", "Note", "Note", "Returning"]


def test_a_complete_task_does_not_run_again(db: Client) -> None:
    task = staff.LoadUnits()
    task.run()
    task.run()
    assert units(db) == THREE


def test_a_task_run_inside_another_is_part_of_it(db: Client) -> None:
    class Outer(tasks.ORMTask):
        creates = ()
        fail: bool = luigi.BoolParameter(significant=False)

        def run(self) -> None:
            staff.LoadUnits().run()
            if self.fail:
                raise ValueError

    with pytest.raises(ValueError):
        Outer(fail=True).run()
    assert (units(db), markers(db)) == ([], [])
    Outer(fail=False).run()
    assert (units(db), markers(db)) == (THREE, ["LoadUnits", "Outer"])


def test_a_task_that_fails_inside_another_leaves_nothing_behind(db: Client) -> None:
    class Half(tasks.ORMTask):
        creates = [Unit]

        def run(self) -> None:
            self.session.add(Unit(name="half"))
            self.session.flush()
            raise ValueError

    class Outer(tasks.ORMTask):
        creates: Collection[Any] = [staff.Unit]

        def run(self) -> None:
            with pytest.raises(ValueError):
                Half().run()
            self.session.add(Unit(name="whole"))

    Outer().run()
    assert (units(db), markers(db)) == (["whole"], ["Outer"])


def test_engine_and_sessions_of_the_client_join_the_transaction(db: Client) -> None:
    def body(task: tasks.ORMTask) -> None:
        with client_module.get_client().get_engine().begin() as connection:
            connection.execute(sa.insert(Unit), {"name": "by engine"})
        with client_module.get_client().create_session() as session:
            session.add(Unit(name="by session"))
            session.commit()
        assert units(db) == []

    run_once(body)
    assert units(db) == ["by engine", "by session"]


def test_integrity_error_in_one_session_can_be_caught(db: Client) -> None:
    def body(task: tasks.ORMTask) -> None:
        task.session.add(Unit(id=1, name="first"))
        task.session.commit()
        with client_module.get_client().create_session() as session:
            session.add(Unit(id=1, name="twice"))
            with pytest.raises(sa.exc.IntegrityError):
                session.commit()
            session.rollback()
            session.add(Unit(id=2, name="second"))
            session.commit()

    run_once(body)
    assert units(db) == ["first", "second"]


def test_failing_query_in_one_session_can_be_caught(db: Client) -> None:
    def body(task: tasks.ORMTask) -> None:
        with client_module.get_client().create_session() as session:
            with pytest.raises(sa.exc.DBAPIError):
                session.execute(sa.text("SELECT * FROM nowhere"))
            session.rollback()
            assert session.scalar(sa.text("SELECT 1")) == 1

    run_once(body)


def test_closing_a_session_that_only_read_undoes_nothing(db: Client) -> None:
    def body(task: tasks.ORMTask) -> None:
        reader = client_module.get_client().create_session()
        reader.scalars(sa.select(Unit)).all()
        task.session.add(Unit(name="kept"))
        task.session.flush()
        reader.close()

    run_once(body)
    assert units(db) == ["kept"]


def test_sessions_that_commit_in_any_order_keep_their_rows(db: Client) -> None:
    def body(task: tasks.ORMTask) -> None:
        first, second = (client_module.get_client().create_session() for _ in range(2))
        first.add(Unit(name="first"))
        first.flush()
        second.add(Unit(name="second"))
        second.flush()
        first.commit()
        second.commit()

    run_once(body)
    assert units(db) == ["first", "second"]


def test_rolling_back_a_session_after_another_one_wrote_fails_the_task(db: Client) -> None:
    def body(task: tasks.ORMTask) -> None:
        task.session.add(Unit(name="to be undone"))
        task.session.flush()
        with client_module.get_client().create_session() as session:
            session.add(Unit(name="to be kept"))
            session.commit()
        task.session.rollback()

    with pytest.raises(TransactionError, match="cannot undo the one and keep the other"):
        run_once(body)
    assert units(db) == []


def test_what_a_session_never_commits_is_undone_with_a_warning(db: Client, caplog: pytest.LogCaptureFixture) -> None:
    def body(task: tasks.ORMTask) -> None:
        forgotten.append(client_module.get_client().create_session())
        forgotten[0].add(Unit(name="never committed"))
        forgotten[0].flush()

    forgotten: list[sa.orm.Session] = []
    run_once(body)
    assert units(db) == []
    assert "Once {}: 1 sessions wrote but never committed" in caplog.text
    with pytest.raises(sa.exc.StatementError, match="used after run"):
        forgotten[0].scalars(sa.select(Unit)).all()
    forgotten[0].close()


def test_a_task_that_travels_leaves_its_session_behind(db: Client) -> None:
    import pickle

    task = staff.LoadUnits()
    task.session.scalars(sa.select(Unit)).all()
    copy = pickle.loads(pickle.dumps(task))
    assert copy == task
    assert copy._session is None
    task.close_session()
