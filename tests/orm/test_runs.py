"""Runs are recorded, rows know the run that made them, and clearing takes exactly a task's own."""

from __future__ import annotations

import os
import signal
import subprocess
import traceback
from collections.abc import Collection, Generator
from typing import Any

import luigi
import pytest
import sqlalchemy as sa
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from ozelot.client import Client
from ozelot.db.locks import is_held
from ozelot.errors import LeftoverRows, NoRun
from ozelot.etl import tasks
from ozelot.orm.base import Base
from ozelot.orm.run import Run, current_run_id
from ozelot.state.runs import last_runs, reason_of, run_edge, utc_now
from tests import quick
from tests.etl import staff
from tests.etl.flights import (
    Cruise,
    Delay,
    Ferry,
    Flight,
    Journey,
    LoadFerries,
    LoadJourneys,
    LoadMonth,
    LoadYear,
    Tug,
    Vessel,
)
from tests.etl.heroes import build
from tests.etl.staff_processes import start
from tests.folders import ROOT
from tests.recorded_runs import runs
from tests.tables import create_tables


class Notes(Base):
    """Its table is called as what a run says beside its rows."""

    code: Mapped[str] = mapped_column(String(10), unique=True)
    next_id: Mapped[int | None] = mapped_column(ForeignKey("notes.id"))


class LoadNotes(tasks.ORMTask):
    creates = [Notes]

    def run(self) -> None:
        self.load(Notes, [{"code": "a"}, {"code": "b"}])
        self.load(Notes, [{"code": "c", "next": "z"}], refs={"next": Notes.code}, missing="null")


@pytest.fixture(autouse=True)
def tables(db: Client) -> None:
    create_tables(db, Delay, Flight, Journey, Vessel, staff.Unit)


def months(db: Client) -> dict[int, int]:
    with db.engine.connect() as connection:
        query = sa.select(Flight.month, sa.func.count()).group_by(Flight.month)
        return {row.month: row[1] for row in connection.execute(query)}


def test_rows_know_their_run_however_they_were_added(db: Client) -> None:
    assert build(LoadYear())
    with db.create_session() as session:
        query = sa.select(Flight.month, Flight.carrier, Run.name, Run.params).join(Run, Flight.run_id == Run.id)
        found = session.execute(query).all()
    assert len(found) == 15
    assert {(row.name, row.params) for row in found} == {("LoadMonth", f"{{'month': '{m}'}}") for m in (1, 2, 3)}
    assert all(row.params == f"{{'month': '{row.month}'}}" for row in found)


def test_clearing_takes_exactly_the_rows_of_the_task(db: Client) -> None:
    assert build(LoadYear())
    LoadMonth(month=2).clear()
    assert months(db) == {1: 5, 3: 5}
    assert [run.state for run in runs(db) if run.params == "{'month': '2'}"] == ["cleared"]
    assert build(LoadYear())
    assert months(db) == {1: 5, 2: 5, 3: 5}


def test_clearing_a_plan_takes_the_rows_of_all_its_tasks(db: Client) -> None:
    assert build(LoadYear(), LoadMonth(month=4))
    LoadMonth(month=1).mark_incomplete()
    LoadMonth(month=3).mark_incomplete()
    tasks.check_completion(LoadYear(), clear=True)
    assert months(db) == {2: 5, 4: 5}


def test_own_leftovers_are_cleared_before_the_task_runs_again(db: Client) -> None:
    assert build(LoadYear())
    LoadMonth(month=2).mark_incomplete()
    assert build(LoadYear())
    assert months(db) == {1: 5, 2: 5, 3: 5}


def test_own_leftovers_that_others_refer_to_stop_the_run(db: Client) -> None:
    assert build(LoadMonth(month=1))
    with db.transaction() as session:
        session.add(Delay(flight_id=session.scalar(sa.select(Flight.id))))
    LoadMonth(month=1).mark_incomplete()
    assert not build(LoadMonth(month=1))
    assert months(db) == {1: 5}


def test_inherited_rows_are_cleared_by_their_run(db: Client) -> None:
    assert build(LoadJourneys(n=1), LoadJourneys(n=2))
    LoadJourneys(n=1).clear()
    with db.create_session() as session:
        assert list(session.scalars(sa.select(Cruise.ship))) == ["ship 2"]
        assert session.scalar(sa.select(sa.func.count()).select_from(Journey)) == 2


def test_rows_that_belong_to_no_run_are_refused(db: Client) -> None:
    with (
        pytest.raises(sa.exc.StatementError, match=r"add them inside its run\(\)") as caught,
        db.transaction() as session,
    ):
        session.add(Flight(month=1, carrier="nobody"))
    assert isinstance(caught.value.orig, NoRun)
    with pytest.raises(sa.exc.DBAPIError), db.engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO flight (month, carrier) VALUES (1, 'raw')"))


def test_raw_sql_may_name_the_run_itself(db: Client) -> None:
    class LoadRaw(tasks.ORMTask):
        creates: Collection[Any] = [Flight]

        def run(self) -> None:
            insert = sa.text("INSERT INTO flight (month, carrier, run_id) VALUES (7, 'raw', :run)")
            self.session.execute(insert, {"run": current_run_id()})

    assert build(LoadRaw())
    assert months(db) == {7: 1}


def test_one_value_of_a_task_with_unowned_rows_does_not_run_on_its_own_leftovers(db: Client) -> None:
    class LoadPart(tasks.ORMTask):
        creates: Collection[Any] = [staff.Unit]
        part: int = luigi.IntParameter()

        def run(self) -> None:
            self.session.add(staff.Unit(name=f"unit {self.part}"))

    assert build(LoadPart(part=1), LoadPart(part=2))
    LoadPart(part=2).mark_incomplete()
    with pytest.raises(LeftoverRows):
        LoadPart(part=2).run()


def test_a_run_records_when_where_and_how_many_rows(db: Client) -> None:
    assert build(LoadMonth(month=1))
    (found,) = runs(db)
    assert (found.name, found.params, found.state) == ("LoadMonth", "{'month': '1'}", "done")
    assert found.row_counts == {"flight": 5}
    assert found.finished is not None and found.finished >= found.started
    assert found.process == os.getpid()


def test_a_run_records_what_it_was_built_on_also_what_turned_up_while_it_ran(db: Client) -> None:
    class Late(tasks.ORMTask):
        creates = ()

        def requires(self) -> Any:
            return [LoadMonth(month=1)]

        def run(self) -> Generator[Any, Any, None]:
            yield LoadMonth(month=2)

    assert build(Late())
    found = {run.id: f"{run.name} {run.params}" for run in runs(db)}
    with db.engine.connect() as connection:
        edges = [(found[run], found[other]) for run, other in connection.execute(sa.select(run_edge))]
    assert sorted(edges) == [("Late {}", "LoadMonth {'month': '1'}"), ("Late {}", "LoadMonth {'month': '2'}")]


def test_a_failure_is_recorded_after_the_rollback(db: Client) -> None:
    class Failing(tasks.ORMTask):
        creates: Collection[Any] = [Flight]

        def run(self) -> None:
            self.session.add(Flight(month=1, carrier="lost"))
            self.session.flush()
            raise ValueError("no more")

    assert not build(Failing())
    (found,) = runs(db)
    assert found.state == "failed"
    assert found.error is not None and "ValueError: no more" in found.error
    assert months(db) == {}


@pytest.mark.parametrize(
    "text, reason",
    [
        ("a\0b", "ValueError: a\\0b"),
        ("name \udcff", "ValueError: name \\udcff"),
        ("two\n\n  lines", "ValueError: two"),
        ("long " * 100_000 + "end", "ValueError: long"),
    ],
    ids=["nul", "surrogate", "lines", "long"],
)
def test_a_failure_is_recorded_whatever_it_says(db: Client, text: str, reason: str) -> None:
    error = ValueError(text)
    error.add_note("and a note")

    class Failing(tasks.ORMTask):
        creates = ()

        def run(self) -> None:
            raise error

    with pytest.raises(ValueError) as raised:
        Failing().run()
    assert raised.value is error
    (found,) = runs(db)
    assert found.state == "failed"
    assert found.error is not None and found.error.endswith("and a note\n")
    assert found.reason.startswith(reason)


def test_the_reason_of_a_failure_in_the_database_is_named(db: Client) -> None:
    class Failing(tasks.ORMTask):
        creates: Collection[Any] = [Flight]

        def run(self) -> None:
            self.session.add(Flight(carrier="no month"))

    with pytest.raises(sa.exc.SQLAlchemyError):
        Failing().run()
    assert runs(db)[0].reason.startswith("IntegrityError: ")


def test_the_reason_of_a_group_of_failures_is_that_of_a_failure(db: Client) -> None:
    class Failing(tasks.ORMTask):
        creates = ()

        def run(self) -> None:
            try:
                raise ValueError("one")
            except ValueError as exc:
                raise ExceptionGroup("several", [exc]) from None

    with pytest.raises(ExceptionGroup):
        Failing().run()
    assert runs(db)[0].reason == "ValueError: one"


def test_a_run_whose_runner_died_is_known_by_its_claim_and_shown_as_aborted(db: Client) -> None:
    process = start(db, "LoadUnitsAndDie", edge="row")
    process.communicate(timeout=60)
    (found,) = runs(db)
    assert found.state == "running"
    with db.engine.connect() as connection:
        assert not is_held(connection, found.key)
    assert build(staff.LoadUnitsAndDie(edge="none"))
    assert [run.state for run in runs(db)] == ["aborted", "done"]


def test_a_claim_is_seen_by_others_while_its_holder_lives(db: Client) -> None:
    code = (
        "import sys; from ozelot.client import Client; from ozelot.db.locks import claimed\n"
        "with Client(connection_string=sys.argv[1]).engine.connect() as c, claimed(c, 'x'):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    url = db.url.render_as_string(hide_password=False)
    process = subprocess.Popen(
        quick.python("-c", code, url), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdin is not None
    with process, db.engine.connect() as connection:
        assert process.stdout.readline() == "held\n"
        assert is_held(connection, "x")
        assert not is_held(connection, "y")
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        while is_held(connection, "x"):  # a server takes a moment to see that the connection is gone
            pass


def test_inherited_rows_count_for_their_run(db: Client) -> None:
    assert build(LoadJourneys(n=1), LoadJourneys(n=2))
    assert [run.row_counts for run in runs(db)] == [{"cruise": 1, "journey": 2}] * 2


def test_derived_rows_that_know_their_run_take_their_base_rows_along(db: Client) -> None:
    assert build(LoadFerries(n=1), LoadFerries(n=2))
    LoadFerries(n=1).clear()
    with db.create_session() as session:
        assert list(session.scalars(sa.select(Ferry.n))) == [2, 2]
        assert session.scalar(sa.select(sa.func.count()).select_from(Vessel.__table__)) == 2


def test_base_rows_that_know_their_run_no_way_or_by_several_derived_tables_go_too(db: Client) -> None:
    class LoadFleet(tasks.ORMTask):
        creates: Collection[Any] = [Vessel, Ferry, Tug]

        def run(self) -> None:
            self.session.add_all([Vessel(), Ferry(n=1), Tug(n=2), Tug(n=3)])

    assert build(LoadFleet())
    assert runs(db)[0].row_counts == {"vessel": 4, "ferry": 1, "tug": 2}
    LoadFleet.clear()
    with db.create_session() as session:
        counts = [session.scalar(sa.select(sa.func.count()).select_from(m.__table__)) for m in (Vessel, Ferry, Tug)]
    assert counts == [0, 0, 0]


@pytest.mark.parametrize("rule", ["", " ON DELETE CASCADE", " ON DELETE SET NULL"])
def test_tables_that_are_no_models_are_not_changed_by_clearing(db: Client, rule: str) -> None:
    assert build(LoadMonth(month=1), LoadMonth(month=2))
    with db.engine.begin() as connection:
        connection.execute(
            sa.text(
                f"CREATE TABLE stranger (id INTEGER PRIMARY KEY, flight_id INTEGER, "
                f"FOREIGN KEY (flight_id) REFERENCES flight (id){rule})"
            )
        )
        first = connection.scalar(sa.select(sa.func.min(Flight.id)).where(Flight.month == 1))
        connection.execute(sa.text("INSERT INTO stranger VALUES (1, :id)"), {"id": first})
    LoadMonth(month=1).clear()
    assert months(db) == {1: 5, 2: 5}
    LoadMonth(month=2).clear()
    assert months(db) == {1: 5}
    with db.engine.begin() as connection:
        assert connection.execute(sa.text("SELECT id, flight_id FROM stranger")).all() == [(1, first)]
        connection.execute(sa.text("DROP TABLE stranger"))


class Several(ValueError):
    """Of a message with several lines."""


@pytest.mark.parametrize(
    ("exc", "reason"),
    [
        (ValueError("no more"), "ValueError: no more"),
        (Several("first\n  second\nthird"), "Several: first"),
        (sa.exc.OperationalError("INSERT", {}, Exception("no column named snow")), "OperationalError: (builtins.Exc"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (AssertionError(), "AssertionError: raise exc from cause"),
        (AssertionError("too few"), "AssertionError: too few"),
        (OSError("a.b: c"), "OSError: a.b: c"),
    ],
    ids=repr,
)
def test_the_reason_of_a_failure_is_the_first_line_of_the_last_exception(exc: BaseException, reason: str) -> None:
    try:
        try:
            raise LookupError("before")
        except LookupError as cause:
            raise exc from cause
    except BaseException as raised:  # noqa: BLE001 - of any kind
        trace = "".join(traceback.format_exception(raised))
    assert reason_of(trace).startswith(reason)
    assert "\n" not in reason_of(trace)


def test_a_text_that_is_no_traceback_is_told_by_its_last_line() -> None:
    assert reason_of("killed\nby signal 9\n") == "by signal 9"
    assert reason_of("") == ""


def test_rows_of_any_table_are_told_apart_from_what_loads_left_out(db: Client) -> None:
    create_tables(db, Notes)
    LoadNotes().run()
    with db.create_session() as session:
        run = session.scalars(sa.select(Run)).one()
    assert (run.row_counts, run.notes) == ({"notes": 3}, {"notes with NULL (next)": 1})


@pytest.mark.parametrize("keys", [None, ["a", "b", "c", "gone"]])
def test_the_last_run_of_each_task_is_found_and_its_last_one_that_is_done(db: Client, keys: list[str] | None) -> None:
    create_tables(db)
    wanted = {"a": "done done cleared failed", "b": "done", "c": "failed aborted", "d": "failed done done"}
    here = {"params": "{}", "started": utc_now(), "host": "here", "process": 1}
    with db.engine.begin() as connection:
        for key, states in wanted.items():
            for state in states.split():
                connection.execute(sa.insert(Run).values(key=key, name=key, state=state, rows=None, **here))
    with db.create_session() as session:
        found = [(one.key, one.state) for one in session.scalars(last_runs(keys))]
        ids = [one.id for one in session.scalars(last_runs(None))]
    expected = [("a", "done"), ("a", "failed"), ("b", "done"), ("c", "aborted"), ("d", "done")]
    assert found == (expected if keys is None else expected[:-1])
    assert ids == [2, 4, 5, 7, 10]
