"""What was built on what is known from the runs: for other roots, late requirements, and tasks that are no more."""

from __future__ import annotations

from collections.abc import Collection, Generator
from typing import Any

import luigi
import pytest
import sqlalchemy as sa

from ozelot.client import Client
from ozelot.errors import ClearRefused, RowsChanged
from ozelot.etl import tasks
from ozelot.etl.completion import clear_plan
from ozelot.etl.status import State, recorded, status
from ozelot.orm.base import Base
from ozelot.orm.run import Run
from ozelot.pipeline import declarations
from ozelot.state import lineage
from tests.etl import staff
from tests.etl.flights import Flight, LoadMonth
from tests.etl.heroes import build
from tests.recorded_runs import runs
from tests.tables import count_rows_each, create_tables


@pytest.fixture(autouse=True)
def tables(db: Client) -> None:
    create_tables(db, Flight, staff.Unit)


class Report(tasks.ORMTask):
    """Finds its requirement while it runs."""

    creates: Collection[Any] = [staff.Unit]

    def run(self) -> Generator[Any, Any, None]:
        yield LoadMonth(month=1)
        self.session.add(staff.Unit(name="report"))


class Summary(tasks.ORMTask):
    creates: Collection[Any] = [staff.Employee]

    def requires(self) -> Any:
        return [Report()]

    def run(self) -> None:
        unit = self.session.scalars(sa.select(staff.Unit)).one()
        self.session.add(staff.Employee(name="summary", unit_id=unit.id))


def labels(root: luigi.Task, *cleared: luigi.Task) -> list[str]:
    return [step.label for step in clear_plan(root, cleared or None).steps]


def test_a_late_requirement_is_known_to_be_upstream(db: Client) -> None:
    assert build(Summary())
    everything = ["Summary {}", "Report {}", "LoadMonth {'month': '1'}"]
    assert labels(LoadMonth(month=1), LoadMonth(month=1)) == everything
    LoadMonth(month=1).mark_incomplete()
    found = {entry.label: (entry.state, entry.why) for entry in status(Summary())}
    assert found == {
        "LoadMonth {'month': '1'}": (State.INCOMPLETE, "its marker was removed, what it loaded is still there"),
        "Report {}": (State.ON_INCOMPLETE, "was built on LoadMonth {'month': '1'}, which is not complete"),
        "Summary {}": (State.ON_INCOMPLETE, "requires Report {}, which is not complete"),
    }
    assert not tasks.check_completion(Summary(), clear=True)
    assert count_rows_each(db, staff.Unit, staff.Employee) == [0, 0]
    assert count_rows_each(db, Flight) == [5]  # incomplete, but not in the graph of the root
    assert build(Summary())
    assert count_rows_each(db, Flight, staff.Unit, staff.Employee) == [5, 1, 1]


def test_tasks_of_other_roots_are_cleared_with_what_they_were_built_on(db: Client) -> None:
    assert build(staff.LoadStaff())
    _, stats = tasks.check_completion(staff.LoadUnits(), return_stats=True)
    assert stats == {"Complete tasks": 1}
    plan = clear_plan(staff.LoadUnits(), [staff.LoadUnits()])
    assert [(step.label, step.deletes) for step in plan.steps] == [
        ("LoadStaff {}", {}),
        ("LoadEmployees {}", {"employee": 12}),
        ("LoadUnits {}", {"unit": 3}),
    ]
    plan.apply()
    assert count_rows_each(db, staff.Unit, staff.Employee) == [0, 0]


def test_only_the_task_itself_can_be_asked_for(db: Client) -> None:
    assert build(Summary())
    plan = clear_plan(Summary(), [Summary()], downstream=False)
    assert [step.label for step in plan.steps] == ["Summary {}"]
    with pytest.raises(ClearRefused, match=r"1 row of employee \(created by Summary {}\) refers to unit"):
        clear_plan(Summary(), [Report()], downstream=False).apply()
    assert count_rows_each(db, staff.Unit, staff.Employee) == [1, 1]


def test_what_is_downstream_is_found_at_any_depth_and_in_any_number(sqlite_db: Client) -> None:
    create_tables(sqlite_db, Flight, staff.Unit)

    class Link(tasks.ORMTask):
        creates = ()
        n: int = luigi.IntParameter()

        def run(self) -> Generator[Any, Any, None]:
            if self.n:
                yield Link(n=self.n - 1)

    class Wide(tasks.ORMTask):
        creates = ()
        n: int = luigi.IntParameter()

        def run(self) -> Generator[Any, Any, None]:
            yield Link(n=0)

    for n in range(30):
        list(Link(n=n).run())
    for n in range(700):
        list(Wide(n=n).run())
    found = labels(Link(n=0), Link(n=0))
    assert len(found) == 730
    assert [label for label in found if label.startswith("Link")] == [f"Link {{'n': '{n}'}}" for n in range(29, -1, -1)]


def gone(monkeypatch: pytest.MonkeyPatch, *classes: type[tasks.ORMTask]) -> None:
    """As if these classes had been removed from the code."""
    known = {cls: None for cls in declarations.task_classes if cls not in classes}
    monkeypatch.setattr(declarations, "task_classes", known)


def test_a_task_that_is_no_more_is_cleared_by_what_its_run_recorded(
    db: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert build(Summary())
    gone(monkeypatch, Summary)
    plan = clear_plan(Report(), [Report()])
    assert [(step.label, step.deletes) for step in plan.steps] == [
        ("Summary {}", {"employee": 1}),
        ("Report {}", {"unit": 1}),
    ]
    plan.apply()
    assert count_rows_each(db, staff.Unit, staff.Employee) == [0, 0]
    assert not Summary().complete()
    assert {run.name: run.state for run in runs(db) if run.name != "LoadMonth"} == {
        "Report": "cleared",
        "Summary": "cleared",
    }


def test_rows_of_a_task_that_is_no_more_are_not_taken_for_those_of_another(
    db: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Other(tasks.ORMTask):
        creates: Collection[Any] = [staff.Employee]

        def run(self) -> None:
            unit = self.session.scalars(sa.select(staff.Unit)).one()
            self.session.add(staff.Employee(name="other", unit_id=unit.id))

    assert build(Summary())
    assert build(Other())
    gone(monkeypatch, Summary, Other)
    with pytest.raises(
        ClearRefused, match=r"Summary {} was built on .* its rows in employee cannot be told from those of"
    ):
        clear_plan(Report(), [Report()])
    assert count_rows_each(db, staff.Unit, staff.Employee) == [1, 2]


def test_rows_of_a_complete_task_whose_class_was_not_imported_are_not_cleared_with_those_of_another(
    db: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Elsewhere(tasks.ORMTask):
        creates: Collection[Any] = [staff.Unit]

        def run(self) -> None:
            self.session.add(staff.Unit(name="elsewhere"))

    assert build(staff.LoadUnits(), Elsewhere())
    gone(monkeypatch, *(cls for cls in declarations.task_classes if cls.get_name() == "Elsewhere"))
    for clear in (staff.LoadUnits.clear, clear_plan(staff.LoadUnits(), [staff.LoadUnits()]).apply):
        with pytest.raises(ClearRefused, match=r"Elsewhere {} is complete, and its run left something in unit"):
            clear()
    assert count_rows_each(db, staff.Unit) == [4]
    assert staff.LoadUnits().complete()
    Elsewhere().mark_incomplete()
    staff.LoadUnits.clear()
    assert count_rows_each(db, staff.Unit) == [0]


def test_a_plan_that_has_become_old_is_not_carried_out(db: Client) -> None:
    assert build(staff.LoadStaff())
    plan = clear_plan(staff.LoadStaff(), [staff.LoadUnits()])
    with db.transaction() as session:
        session.execute(sa.delete(staff.Employee).where(staff.Employee.name == "employee 0"))
    with pytest.raises(RowsChanged, match=r"employee changed: LoadEmployees {} has 9 rows there, not 12"):
        plan.apply()
    assert count_rows_each(db, staff.Unit, staff.Employee) == [3, 9]
    assert staff.LoadUnits().complete()


def test_a_running_task_is_not_cleared(db: Client) -> None:
    class Running(tasks.ORMTask):
        creates: Collection[Any] = [staff.Unit]

        def run(self) -> None:
            self.session.add(staff.Unit(name="new"))
            with pytest.raises(ClearRefused, match=r"Running {} is running, since 20.*: wait until it ends"):
                clear_plan(self, [self]).apply()

    Running().run()
    assert count_rows_each(db, staff.Unit) == [1]


def test_the_database_alone_can_tell_what_it_holds(db: Client) -> None:
    assert build(Summary())
    LoadMonth(month=1).mark_incomplete()

    class Failing(tasks.ORMTask):
        creates = ()

        def run(self) -> None:
            raise ValueError("no more")

    assert not build(Failing())
    found = {entry.label: (entry.state, entry.why, entry.rows) for entry in recorded()}
    assert found == {
        "Report {}": (
            State.ON_INCOMPLETE,
            "was built on LoadMonth {'month': '1'}, which is not complete",
            {"unit": 1},
        ),
        "Summary {}": (
            State.ON_INCOMPLETE,
            "was built on Report {}, which stands on something incomplete",
            {"employee": 1},
        ),
        "LoadMonth {'month': '1'}": (
            State.INCOMPLETE,
            "its marker was removed, what it loaded is still there",
            {},
        ),
        "Failing {}": (State.INCOMPLETE, "failed: ValueError: no more", {}),
    }


def test_a_file_of_0_2_can_tell_what_is_complete(db: Client) -> None:
    Base.drop_all(db)
    with db.engine.begin() as connection:
        connection.execute(
            sa.text(
                "CREATE TABLE ormtargetmarker "
                "(id INTEGER PRIMARY KEY, name VARCHAR(256), params VARCHAR(256), created TIMESTAMP NULL)"
            )
        )
        connection.execute(sa.text("INSERT INTO ormtargetmarker VALUES (1, 'LoadUnits', '{}', '2018-05-28 11:18:11')"))
    (found,) = recorded()
    assert (found.label, found.state, str(found.when)) == ("LoadUnits {}", State.COMPLETE, "2018-05-28 11:18:11")
    assert "ozelot_run" not in sa.inspect(db.engine).get_table_names()


def test_old_runs_are_forgotten_but_not_those_that_rows_or_others_need(db: Client) -> None:
    class Failing(tasks.ORMTask):
        creates = ()
        n: int = luigi.IntParameter()

        def run(self) -> None:
            raise ValueError("no more")

    for _ in range(4):
        with pytest.raises(ValueError):
            Failing(n=1).run()
    with pytest.raises(ValueError):
        Failing(n=2).run()
    for _ in range(3):
        LoadMonth(month=1).run()
        LoadMonth(month=1).clear()
    LoadMonth(month=1).run()
    list(Report().run())
    LoadMonth(month=1).mark_incomplete()
    LoadMonth(month=1).run()  # Report was built on the run before, which is cleared
    assert count_rows_each(db, Flight) == [5]
    with db.engine.begin() as connection:
        assert lineage.prunable(connection, 1) == {"cleared": 3, "failed": 3}
        assert lineage.prune(connection, 1) == 6
        assert lineage.prunable(connection, 1) == {}
    with db.create_session() as session:
        left = [(run.name, run.state) for run in lineage.runs(session)]
        assert left == [
            ("LoadMonth", "done"),
            ("Report", "done"),
            ("LoadMonth", "cleared"),
            ("Failing", "failed"),
            ("Failing", "failed"),
        ]
        assert [run.name for run in lineage.runs(session, name="Failing", params="{'n': '1'}")] == ["Failing"]
        assert [run.name for run in lineage.runs(session, last=2)] == ["LoadMonth", "Report"]
        assert session.scalar(sa.select(sa.func.count()).select_from(Run)) == 5
    assert build(Report())
    assert labels(LoadMonth(month=1), LoadMonth(month=1)) == ["Report {}", "LoadMonth {'month': '1'}"]


def test_history_of_a_database_without_runs_is_empty(db: Client) -> None:
    Base.drop_all(db)
    with db.create_session() as session:
        assert lineage.runs(session) == []
        assert lineage.prunable(session.connection(), 3) == {}
        assert lineage.prune(session.connection(), 3) == 0
    assert recorded() == []
