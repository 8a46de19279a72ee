"""A real Luigi drives the tasks: several workers, a central scheduler, its command line."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import luigi
import sqlalchemy as sa

from ozelot.client import Client
from ozelot.etl import tasks
from tests.etl import heroes, staff
from tests.etl.heroes import FULL, build, counts
from tests.folders import ROOT
from tests.tables import count_rows_each, create_tables


def test_documented_session_with_a_running_luigid(db: Client, luigid: int) -> None:
    create_tables(db, staff.Unit, *heroes.TABLES)
    heroes.write_inputs()
    options: dict[str, Any] = {"scheduler_host": "127.0.0.1", "scheduler_port": luigid, "log_level": "WARNING"}
    assert luigi.build([heroes.LoadEverything()], **options)
    assert counts(db) == FULL
    heroes.LoadMovies.mark_incomplete()
    assert not tasks.check_completion(heroes.LoadEverything(), clear=True)
    assert luigi.build([heroes.LoadEverything()], **options)
    assert counts(db) == FULL
    assert tasks.check_completion(heroes.LoadEverything())


def test_units_and_employees_with_a_running_luigid(db: Client, luigid: int) -> None:
    create_tables(db, staff.Unit, *heroes.TABLES)
    options: dict[str, Any] = {"scheduler_host": "127.0.0.1", "scheduler_port": luigid, "log_level": "WARNING"}
    assert luigi.build([staff.LoadStaff()], **options)
    staff.LoadUnits.mark_incomplete()
    tasks.check_completion(staff.LoadStaff(), clear=True)
    assert count_rows_each(db, staff.Unit, staff.Employee) == [0, 0]
    assert luigi.build([staff.LoadStaff()], **options)
    assert count_rows_each(db, staff.Unit, staff.Employee) == [3, 12]


class OneOfMany(tasks.ORMTask):
    creates = [staff.Unit]
    number: int = luigi.IntParameter()

    def run(self) -> None:
        self.session.add(staff.Unit(name=f"unit {self.number} by {os.getpid()}"))


class Many(tasks.ORMWrapperTask):
    def requires(self) -> Any:
        return [OneOfMany(number=number) for number in range(20)]


def test_four_forked_workers_share_no_connection(db: Client) -> None:
    create_tables(db, staff.Unit, *heroes.TABLES)
    assert not Many().complete()  # the parent has used its connections before it forks
    with db.create_session() as session:
        assert session.scalars(sa.select(staff.Unit)).all() == []
        assert build(Many(), workers=4)
    with db.engine.connect() as connection:
        names = list(connection.scalars(sa.select(staff.Unit.name)))
    assert len(names) == 20
    assert len({name.rpartition(" ")[2] for name in names}) > 1
    assert tasks.check_completion(Many())


def test_luigi_command_runs_a_task(db: Client) -> None:
    create_tables(db, staff.Unit, *heroes.TABLES)
    url = db.url.render_as_string(hide_password=False)
    done = subprocess.run(
        [sys.executable, "-m", "luigi", "--module", "tests.etl.staff", "LoadStaff", "--local-scheduler", "--no-lock"],
        cwd=ROOT,
        env={**os.environ, "OZELOT_DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "This progress looks :)" in done.stderr
    assert count_rows_each(db, staff.Unit, staff.Employee) == [3, 12]


class Failing(tasks.ORMTask):
    creates = [staff.Employee]

    def requires(self) -> Any:
        return [staff.LoadUnits()]

    def run(self) -> None:
        self.session.add(staff.Employee(name="half", unit_id=self.session.scalar(sa.select(staff.Unit.id))))
        raise ValueError("no more")


def test_a_failing_task_leaves_what_was_complete_before_it(db: Client) -> None:
    create_tables(db, staff.Unit, *heroes.TABLES)
    assert not luigi.build([Failing()], local_scheduler=True, log_level="CRITICAL")
    assert count_rows_each(db, staff.Unit, staff.Employee) == [3, 0]
    assert staff.LoadUnits().complete()
    assert not Failing().complete()


def test_build_on_the_class_takes_parameters(db: Client) -> None:
    create_tables(db, staff.Unit, *heroes.TABLES)
    assert OneOfMany.build(number=3)
    assert OneOfMany(number=3).complete()
    assert OneOfMany(number=4).build()
    assert OneOfMany(number=4).complete()


def test_a_wrapper_that_got_a_new_requirement_is_incomplete_for_luigi(db: Client) -> None:
    create_tables(db, staff.Unit, *heroes.TABLES)
    assert build(Many())
    OneOfMany(number=7).mark_incomplete()
    assert not Many().complete()
    _, stats = tasks.check_completion(Many(), return_stats=True)
    assert stats == {"Complete tasks": 19, "Incomplete tasks": 2}


def test_a_parameter_that_a_class_gets_later_counts(db: Client) -> None:
    class Growing(tasks.ORMTask):
        creates = ()

    class Grown(Growing):
        pass

    assert Grown().get_param_string() == "{}"
    late: Any = luigi.Parameter(default="x")
    late.__set_name__(Growing, "late")
    Growing.late = late
    assert Grown().get_param_string() == "{'late': 'x'}"
    assert Grown(late="y").get_param_string() == "{'late': 'y'}"  # type: ignore[call-arg]
    del Growing.late  # type: ignore[attr-defined]
    assert Grown().get_param_string() == "{}"
