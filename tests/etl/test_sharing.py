"""What code inside run() may do to the one transaction that it shares, and what it may not."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Collection, Generator
from pathlib import Path
from typing import Any

import luigi
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from ozelot import client as client_module
from ozelot.client import Client
from ozelot.errors import LeftoverRows, TableMissing, TransactionError
from ozelot.etl import tasks
from ozelot.orm.base import Base
from tests.etl import staff
from tests.etl.made_tasks import run_once
from tests.etl.staff import Unit, markers, units
from tests.tables import create_tables


@pytest.fixture(autouse=True)
def tables(db: Client) -> None:
    create_tables(db, Unit)


def new_session() -> Session:
    return client_module.get_client().create_session()


def add(session: Session, *names: str) -> None:
    session.add_all(Unit(name=name) for name in names)
    session.flush()


def test_a_streaming_read_goes_on_while_another_session_writes(db: Client) -> None:
    with db.transaction() as session:
        add(session, *(f"old {n}" for n in range(300)))

    def body(task: tasks.ORMTask) -> None:
        with new_session() as reader:
            for unit in reader.scalars(sa.select(Unit).execution_options(yield_per=10)):
                task.session.add(Unit(name=unit.name.replace("old", "new")))
                task.session.flush()

    run_once(body)
    assert len(units(db)) == 600


@pytest.mark.parametrize("way", ["connection", "engine"])
def test_the_isolation_level_cannot_be_changed(db: Client, way: str) -> None:
    def body(task: tasks.ORMTask) -> None:
        add(task.session, "lost")
        engine = task.client.engine
        options: dict[str, Any] = {"isolation_level": "AUTOCOMMIT"}
        if way == "engine":
            engine = engine.execution_options(**options)
        with engine.connect() as connection:
            if way == "connection":
                connection = connection.execution_options(**options)
            connection.execute(sa.insert(Unit), {"name": "too early"})

    with pytest.raises(TransactionError, match="isolation level cannot be changed"):
        run_once(body)
    assert units(db) == []


@pytest.mark.parametrize(
    "statement", ["COMMIT", "ROLLBACK", " begin", "/* a */ COMMIT", "-- a\n /* b\n */COMMIT", "# a\ncommit", "ABORT"]
)
def test_statements_that_end_the_transaction_are_refused(db: Client, statement: str) -> None:
    def body(task: tasks.ORMTask) -> None:
        add(task.session, "lost")
        task.session.execute(sa.text(statement))

    with pytest.raises(TransactionError, match="would end the transaction"):
        run_once(body)
    assert units(db) == []


def test_creating_a_table_in_a_run_is_atomic_or_refused(db: Client) -> None:
    def body(task: tasks.ORMTask) -> None:
        add(task.session, "lost")
        task.session.execute(sa.text("CREATE TABLE extra (id INTEGER)"))
        raise ValueError

    with pytest.raises(TransactionError if db.engine.dialect.name == "mysql" else ValueError):
        run_once(body)
    assert units(db) == []
    assert "extra" not in sa.inspect(db.engine).get_table_names()


def test_a_raw_cursor_is_part_of_the_transaction(db: Client) -> None:
    def write(task: tasks.ORMTask) -> Any:
        connection = task.client.engine.raw_connection()
        connection.cursor().execute("INSERT INTO unit (name) VALUES ('raw')")
        return connection

    def fail(task: tasks.ORMTask) -> None:
        write(task).commit()
        raise ValueError

    with pytest.raises(ValueError):
        run_once(fail)
    assert units(db) == []
    run_once(lambda task: write(task).rollback())
    assert units(db) == []


def test_a_savepoint_that_fails_does_not_take_along_what_another_session_committed(db: Client) -> None:
    def body(task: tasks.ORMTask) -> None:
        with pytest.raises(ZeroDivisionError), task.session.begin_nested():
            add(task.session, "undone")
            with new_session() as helper:
                add(helper, "committed by a helper")
                helper.commit()
            _ = 1 / 0

    with pytest.raises(TransactionError, match="cannot undo the one and keep the other"):
        run_once(body)
    assert units(db) == []


def test_savepoints_of_several_sessions_do_not_clash(db: Client) -> None:
    def body(task: tasks.ORMTask) -> None:
        with task.session.begin_nested(), new_session() as helper:
            with helper.begin_nested():
                add(helper, "helper")
            inner = helper.begin_nested()
            add(helper, "undone")
            inner.rollback()
            helper.commit()
        add(task.session, "task")

    run_once(body)
    assert units(db) == ["helper", "task"]


def test_a_session_that_began_before_the_run_may_not_write_in_it(db: Client) -> None:
    before = new_session()
    before.scalars(sa.select(Unit)).all()

    def body(task: tasks.ORMTask) -> None:
        add(before, "astray")

    try:
        with pytest.raises(TransactionError, match="in use before an open transaction began"):
            run_once(body)
    finally:
        before.close()
    assert units(db) == []


def test_a_thread_that_writes_by_itself_is_warned_of(db: Client, caplog: pytest.LogCaptureFixture) -> None:
    def write() -> None:
        with new_session() as session:
            add(session, "by a thread")
            session.commit()

    def body(task: tasks.ORMTask) -> None:
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()

    run_once(body)
    assert "A thread writes to the database by itself while Once() is running" in caplog.text
    assert units(db) == ["by a thread"]


def test_a_task_runs_as_part_of_a_transaction_of_the_user(db: Client) -> None:
    with pytest.raises(ZeroDivisionError), db.transaction() as session:
        staff.LoadUnits().run()
        add(session, "mine")
        assert staff.LoadUnits().complete()
        _ = 1 / 0
    assert (units(db), markers(db)) == ([], [])
    with db.transaction() as session:
        staff.LoadUnits().run()
        add(session, "mine")
    assert (units(db), markers(db)) == (["mine", "unit 0", "unit 1", "unit 2"], ["LoadUnits"])


def logged(run: Callable[[Any], None]) -> Callable[[Any], None]:
    @functools.wraps(run)
    def wrapper(task: Any) -> None:
        with new_session() as session:
            add(session, "before")
            session.commit()
        run(task)
        add(task.session, "after")

    return wrapper


class Decorated(staff.LoadUnits):
    run = logged(staff.LoadUnits.run)


class ByPartial(tasks.ORMTask):
    creates: Collection[Any] = [staff.Unit]

    def fill(self, name: str) -> None:
        add(self.session, name)

    run = functools.partialmethod(fill, "partial")


class RunMixin:
    def run(self) -> None:
        add(self.session, "mixin")  # type: ignore[attr-defined]


class First(RunMixin, tasks.ORMTask):
    creates: Collection[Any] = [staff.Unit]


class SecondMixin(RunMixin):
    def run(self) -> None:
        add(self.session, "second mixin")  # type: ignore[attr-defined]
        super().run()


class Second(First, SecondMixin):
    pass


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (Decorated, ["after", "before", "unit 0", "unit 1", "unit 2"]),
        (ByPartial, ["partial"]),
        (First, ["mixin"]),
        (Second, ["mixin", "second mixin"]),
    ],
)
def test_run_may_be_decorated_partial_or_inherited(
    db: Client, task: type[tasks.ORMTask], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: tasks.ORMTask) -> None:
        raise ValueError

    with monkeypatch.context() as patch, pytest.raises(ValueError):
        patch.setattr(tasks.ORMTask, "mark_complete", fail)
        task().run()
    assert units(db) == []
    task().run()
    assert units(db) == expected
    assert task().complete()


class Unchecked(luigi.Task):
    def complete(self) -> bool:
        raise ValueError("nobody knows")


def test_what_a_generator_does_at_its_end_is_rolled_back_with_the_rest(db: Client) -> None:
    class Tidy(tasks.ORMTask):
        creates: Collection[Any] = [staff.Unit]

        def run(self) -> Generator[Any, Any, None]:
            try:
                add(self.session, "half")
                yield Unchecked()  # type: ignore[no-untyped-call]
            finally:
                self.done()

    with pytest.raises(ValueError, match="nobody knows"):
        list(Tidy().run())
    assert (units(db), markers(db)) == ([], [])


def test_a_marker_of_0_2_is_seen_under_the_claim(db: Client) -> None:
    with db.engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO ormtargetmarker (name, params) VALUES ('LoadUnits', '{}')"))
    staff.LoadUnits().run()
    assert units(db) == []
    assert markers(db) == ["LoadUnits"]


class WithFile(tasks.ORMTask):
    creates = ()

    def output(self) -> Any:
        return [*super().output(), luigi.LocalTarget("extra.txt")]

    def run(self) -> None:
        Path("extra.txt").write_text("there")


def test_a_task_whose_other_output_is_gone_says_what_to_do(db: Client) -> None:
    assert WithFile.build()
    Path("extra.txt").unlink()
    with pytest.raises(
        LeftoverRows, match=r"not its other output extra.txt: clear it with 'ozelot clear WithFile' or its"
    ):
        WithFile().run()
    WithFile.clear()
    assert WithFile.build()


def test_a_run_sees_what_another_runner_completes_in_the_meantime(db: Client) -> None:
    seen: list[int] = []

    def body(task: tasks.ORMTask) -> None:
        assert task.session.scalar(sa.select(sa.func.count()).select_from(Unit)) == 0
        other = threading.Thread(target=staff.LoadUnits().run)
        other.start()
        other.join()
        seen.append(task.session.scalar(sa.select(sa.func.count()).select_from(Unit)) or 0)

    run_once(body)
    assert seen == [3]


def test_a_table_that_nobody_created_is_named_with_what_to_do(db: Client) -> None:
    Base.drop_all(db)
    with pytest.raises(TableMissing, match=r"LoadUnits {} needs the table unit, .*Base.create_all\(get_client\(\)\)"):
        staff.LoadUnits().run()
