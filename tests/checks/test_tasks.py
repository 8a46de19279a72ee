"""Checks of tasks: what they stop, what they roll back, and what is kept of them."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Iterator, Sequence
from typing import Any

import luigi
import pytest
import sqlalchemy as sa

import ozelot
from ozelot.checks import Check, between, holds, matches, not_null, references, row_count, unique
from ozelot.client import Client
from ozelot.engine import RunResult
from ozelot.errors import CheckFailed
from ozelot.etl import tasks
from ozelot.orm.run import Run
from tests.checks.voyages import GOOD, BothKinds, Liner, Ship, Voyage, WithMessage, WithoutMessage
from tests.cli.calling import called
from tests.tables import count_rows, create_tables

pytestmark = pytest.mark.usefixtures("nothing_left_behind")

_rows: list[dict[str, Any]] = []


class LoadShips(tasks.ORMTask):
    creates = [Ship]
    checks = [row_count(Ship, 2, 2), unique(Ship.name)]

    def run(self) -> None:
        self.session.add_all([Ship(id=1, name="Ada"), Ship(id=2, name="Grace")])


class LoadVoyages(tasks.ORMTask):
    creates = [Voyage]

    def requires(self) -> Any:
        return [LoadShips()]

    def run(self) -> None:
        self.session.add_all(Voyage(**row) for row in _rows)
        self.check(row_count(Voyage, 1, 100), not_null(Voyage.code))


class CheckVoyages(tasks.ORMTestTask):
    checks = [
        row_count(Voyage, 5, 100),
        between(Voyage.miles, 0, 1000),
        references(Voyage.ship_id, at_least=0.9, severity="warn"),
    ]

    def requires(self) -> Any:
        return [LoadVoyages()]


class CountShips(tasks.ORMTask):
    creates = ()

    def requires(self) -> Any:
        return [CheckVoyages()]

    def run(self) -> None:
        self.check(row_count(Ship))


@pytest.fixture
def sea(db: Client) -> Iterator[Client]:
    """Tables, and good voyages to load."""
    create_tables(db, Ship, Liner, Voyage)
    _rows[:] = [dict(row) for row in GOOD]
    yield db
    _rows.clear()


def reasons(result: RunResult) -> dict[str, str]:
    return {label.partition(" ")[0]: failure.reason for label, failure in result.failed.items()}


def run_of(db: Client, task: str) -> Run:
    with db.create_session() as session:
        found = session.scalars(sa.select(Run).where(Run.name == task).order_by(Run.id.desc())).first()
        assert found is not None
        return found


def test_results_are_kept_with_the_run_and_count_as_no_rows(sea: Client, caplog: pytest.LogCaptureFixture) -> None:
    _rows[:5] = [{**row, "ship_id": None} for row in _rows[:5]]

    assert ozelot.run(CountShips()).ok

    run = run_of(sea, "CheckVoyages")
    assert (run.state, run.row_counts, run.notes) == ("done", {}, {})
    assert run.checks == [
        {"name": "row_count(Voyage)", "ok": True, "expected": "5 to 100 rows", "found": "20"},
        {"name": "between(Voyage.miles)", "ok": True, "expected": "0 to 1000", "found": "0 of 20 rows otherwise"},
        {
            "name": "references(Voyage.ship_id)",
            "ok": False,
            "expected": "at least 90 % of rows",
            "found": "75 % (15 of 20 rows)",
        },
    ]
    (warning,) = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert warning.startswith("CheckVoyages {}: references(Voyage.ship_id): expected at least 90 % of rows, found 75 %")
    assert [check["name"] for check in run_of(sea, "LoadShips").checks] == ["row_count(Ship)", "unique(Ship.name)"]
    assert [check["name"] for check in run_of(sea, "CountShips").checks] == ["row_count(Ship)"]
    loaded = run_of(sea, "LoadVoyages")
    assert (loaded.row_counts, len(loaded.checks)) == ({"checks_voyage": 20}, 2)


def test_history_shows_how_many_hold_and_which_do_not(sea: Client) -> None:
    _rows[:5] = [{**row, "ship_id": None} for row in _rows[:5]]
    assert ozelot.run(CheckVoyages()).ok

    shown = " ".join(called("history", "CheckVoyages").out.split())
    assert "done 2 ok; references(Voyage.ship_id): 75 % (15 of 20 rows)" in shown
    (told,) = json.loads(called("history", "CheckVoyages", "--json").out)
    assert told["checks"] == run_of(sea, "CheckVoyages").checks
    assert told["rows"] == {}


def test_a_task_whose_checks_fail_is_incomplete_and_its_downstream_waits(sea: Client) -> None:
    _rows[0]["miles"] = -1.0

    result = ozelot.run(CountShips())

    reason = (
        "CheckFailed: 1 of 3 checks: between(Voyage.miles): expected 0 to 1000, found 1 of 20 rows otherwise, "
        "such as (id 1, miles -1.0)"
    )
    assert reasons(result) == {"CheckVoyages": reason}
    assert result.not_reached == {"CountShips {}": "CheckVoyages {}"}
    assert not CheckVoyages().complete()
    assert count_rows(sea, Voyage) == 20
    run = run_of(sea, "CheckVoyages")
    assert (run.state, run.reason) == ("failed", reason)
    assert reason in " ".join(called("history", "CheckVoyages").out.split())

    with sea.transaction() as session:
        session.execute(sa.update(Voyage).where(Voyage.miles < 0).values(miles=1.0))
    assert ozelot.run(CountShips()).ok


def test_a_check_that_fails_while_a_task_loads_rolls_its_rows_back(sea: Client) -> None:
    _rows[3]["code"] = None

    result = ozelot.run(LoadVoyages())

    assert "not_null(Voyage.code): expected a value, found 1 of 20 rows" in reasons(result)["LoadVoyages"]
    assert not LoadVoyages().complete()
    assert (count_rows(sea, Ship), count_rows(sea, Voyage)) == (2, 0)


def test_declared_checks_of_a_task_that_loads_see_all_that_it_commits(sea: Client) -> None:
    class LoadByOtherSessions(tasks.ORMTask):
        creates = [Ship]
        checks = [row_count(Ship, 2, 2)]
        number: int = luigi.IntParameter()

        def run(self) -> None:
            self.session.add(Ship(name="of the task"))
            self.session.commit()
            with self.client.create_session() as session:
                session.add_all(Ship(name=f"of another {n}") for n in range(self.number))
                session.commit()
            forgotten = self.client.create_session()
            forgotten.add(Ship(name="never committed"))
            forgotten.flush()

    assert reasons(ozelot.run(LoadByOtherSessions(number=2))) == {
        "LoadByOtherSessions": "CheckFailed: row_count(Ship): expected 2 rows, found 3"
    }
    assert count_rows(sea, Ship) == 0
    assert ozelot.run(LoadByOtherSessions(number=1)).ok
    assert count_rows(sea, Ship) == 2


def test_checks_may_depend_on_parameters_and_come_after_requirements_found_while_running(sea: Client) -> None:
    class CheckShips(tasks.ORMTestTask):
        least: int = luigi.IntParameter()

        @property  # type: ignore[misc]
        def checks(self) -> Sequence[Check]:  # type: ignore[override]
            return [row_count(Ship, self.least)]

        def run(self) -> Iterator[Any]:
            yield LoadShips()

    result = ozelot.run([CheckShips(least=2), CheckShips(least=3)])
    assert reasons(result) == {"CheckShips": "CheckFailed: row_count(Ship): expected at least 3 rows, found 2"}
    assert CheckShips(least=2).complete()


def test_luigi_stops_at_a_check_too(sea: Client) -> None:
    _rows[0]["miles"] = -1.0
    assert not luigi.build([CountShips()], local_scheduler=True, workers=1, log_level="ERROR")
    assert (LoadVoyages().complete(), CheckVoyages().complete(), CountShips().complete()) == (True, False, False)


def test_a_task_may_go_on_after_a_check(sea: Client) -> None:
    class LoadAnyway(tasks.ORMTask):
        creates = [Ship]

        def run(self) -> None:
            try:
                self.check(row_count(Ship))
            except CheckFailed:
                self.session.add(Ship(name="the first"))

    assert ozelot.run(LoadAnyway()).ok
    assert count_rows(sea, Ship) == 1


def test_something_else_among_the_checks_is_told(sea: Client) -> None:
    class CheckNothing(tasks.ORMTestTask):
        checks = [row_count]  # type: ignore[list-item]

    assert reasons(ozelot.run(CheckNothing()))["CheckNothing"].startswith("TypeError: Not a check: <function row_count")


def test_plain_asserts_of_a_test_task_are_told_with_their_message_or_their_line(sea: Client) -> None:
    assert reasons(ozelot.run([WithMessage(), WithoutMessage(), BothKinds()])) == {
        "WithMessage": "AssertionError: no ships",
        "WithoutMessage": "AssertionError: assert count == 3",
    }
    assert run_of(sea, "WithoutMessage").reason == "AssertionError: assert count == 3"
    assert run_of(sea, "BothKinds").state == "done"
    assert len(run_of(sea, "BothKinds").checks) == 1


def test_a_failure_travels_between_processes(sqlite_db: Client) -> None:
    create_tables(sqlite_db, Ship, Liner, Voyage)
    with sqlite_db.create_session() as session, pytest.raises(CheckFailed) as caught:
        ozelot.checks.checked(session, [row_count(Ship), matches(Ship.name, "^A"), holds(Ship.id > 0)])
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.results) == (str(caught.value), caught.value.results)
