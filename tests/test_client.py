"""The client: transactions, queries to data frames, threads and forks."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ozelot import client as client_module
from ozelot.client import Client, get_client, set_client
from ozelot.errors import ConfigError
from tests import quick
from tests.databases import only
from tests.etl.staff import Employee, Unit, units
from tests.folders import ROOT
from tests.tables import create_tables

pytestmark = pytest.mark.servers


@pytest.fixture
def staffed(db: Client) -> Client:
    create_tables(db, Unit)
    return db


def test_transaction_commits_once_at_the_end(staffed: Client) -> None:
    with staffed.transaction() as session:
        session.add(Unit(name="first"))
        session.commit()
        session.add(Unit(name="second"))
        session.flush()
        assert units(staffed) == []
    assert units(staffed) == ["first", "second"]


@pytest.mark.parametrize("exception", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_transaction_rolls_back_on_any_exception(staffed: Client, exception: type[BaseException]) -> None:
    with pytest.raises(exception), staffed.transaction() as session:
        session.add(Unit(name="first"))
        session.commit()
        raise exception
    assert units(staffed) == []
    with staffed.transaction() as session:
        session.add(Unit(name="second"))
    assert units(staffed) == ["second"]


def test_nested_transaction_is_part_of_the_outer_one(staffed: Client) -> None:
    with pytest.raises(ValueError), staffed.transaction() as outer:
        outer.add(Unit(name="outer"))
        with staffed.transaction() as inner:
            inner.add(Unit(name="inner"))
        raise ValueError
    assert units(staffed) == []


def test_nested_transaction_can_fail_by_itself(staffed: Client) -> None:
    with staffed.transaction() as outer:
        outer.add(Unit(id=1, name="outer"))
        outer.flush()
        with pytest.raises(sa.exc.IntegrityError), staffed.transaction() as inner:
            inner.add(Unit(id=2, name="undone"))
            inner.flush()
            inner.add(Unit(id=1, name="twice"))
        with staffed.transaction() as inner:
            inner.add(Unit(id=2, name="inner"))
        outer.add(Unit(id=3, name="outer again"))
    assert units(staffed) == ["inner", "outer", "outer again"]


def test_sessions_and_engine_join_the_open_transaction(staffed: Client) -> None:
    with pytest.raises(ValueError), staffed.transaction():
        with staffed.create_session() as session:
            session.add(Unit(name="by session"))
            session.commit()
        with staffed.get_engine().begin() as connection:
            connection.execute(sa.insert(Unit), {"name": "by engine"})
        raise ValueError
    assert units(staffed) == []


def test_df_query_of_query_and_select(staffed: Client) -> None:
    with staffed.transaction() as session:
        session.add_all(Unit(name=name) for name in ("b", "a"))
    with staffed.create_session() as session:
        for query in (session.query(Unit.name, Unit.id).order_by(Unit.name), sa.select(Unit.name, Unit.id)):
            found = staffed.df_query(query)
            assert list(found.columns) == ["name", "id"]
            assert set(found["name"]) == {"a", "b"}
        filtered = staffed.df_query(session.query(Unit).filter(Unit.name == "a"))
        assert list(filtered.columns) == ["id", "name"]
        assert filtered["name"].tolist() == ["a"]
    assert staffed.df_query(sa.select(Unit).where(Unit.name == "%s of 100% :x")).empty


def test_df_query_with_labels_tells_columns_of_the_same_name_apart(staffed: Client) -> None:
    with staffed.transaction() as session:
        session.add(Unit(id=7, name="unit"))
        session.flush()
        session.add(Employee(id=8, name="employee", unit_id=7))
    with staffed.create_session() as session:
        old = session.query(Unit.name, Employee.name).filter(Unit.id == Employee.unit_id)
        new = sa.select(Unit.name, Employee.name).join_from(Unit, Employee)
        for query in (old, new):
            found = staffed.df_query(query, with_labels=True)
            assert found.to_dict("records") == [{"unit_name": "unit", "employee_name": "employee"}]
        whole = staffed.df_query(session.query(Unit, Employee).filter(Unit.id == Employee.unit_id), with_labels=True)
        assert list(whole.columns) == ["unit_id", "unit_name", "employee_id", "employee_name", "employee_unit_id"]
    union = sa.union_all(sa.select(Unit.name), sa.select(Employee.name))
    assert sorted(staffed.df_query(union)["name"]) == ["employee", "unit"]


def test_df_query_in_an_open_transaction_sees_its_uncommitted_rows(staffed: Client) -> None:
    with pytest.raises(ValueError), staffed.transaction() as session:
        session.add(Unit(name="flushed"))
        session.flush()
        assert staffed.df_query(sa.select(Unit.name))["name"].tolist() == ["flushed"]
        session.add(Unit(name="pending"))
        assert sorted(staffed.df_query(session.query(Unit.name))["name"]) == ["flushed", "pending"]
        assert units(staffed) == []
        raise ValueError
    assert staffed.df_query(sa.select(Unit)).empty


def test_sessions_on_threads_are_apart(staffed: Client) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for step in range(10):
                with staffed.transaction() as session:
                    session.add(Unit(name=f"{number} {step}"))
                with staffed.create_session() as session:
                    assert session.scalar(sa.select(sa.func.count()).where(Unit.name == f"{number} {step}")) == 1
        except BaseException as exc:  # noqa: BLE001 - to be seen by the test
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(units(staffed)) == 80


def test_a_thread_does_not_join_the_transaction_of_another(staffed: Client) -> None:
    seen: list[list[str]] = []
    with staffed.transaction() as session:
        session.add(Unit(name="uncommitted"))
        session.flush()
        thread = threading.Thread(target=lambda: seen.append(staffed.df_query(sa.select(Unit.name))["name"].tolist()))
        thread.start()
        thread.join()
    assert seen == [[]]


def test_threads_share_the_one_client_of_the_program() -> None:
    found: list[Client] = []
    barrier = threading.Barrier(16)

    def get() -> None:
        barrier.wait()
        found.append(get_client())

    threads = [threading.Thread(target=get) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert len(set(map(id, found))) == 1


def test_get_client_returns_what_was_set_or_makes_one() -> None:
    assert client_module.current_client() is None
    made = get_client()
    assert get_client() is made is client_module.current_client()
    other = Client(connection_string="sqlite://")
    set_client(other)
    assert get_client() is other
    set_client(None)
    assert get_client() is not made


@pytest.mark.parametrize(
    "arguments",
    [{}, {"params": {"driver": "sqlite", "database": "x.db"}, "connection_string": "sqlite:///x.db"}],
)
def test_client_takes_exactly_one_description(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="Please give a client either 'params' or 'connection_string'"):
        Client(**arguments)


@pytest.mark.parametrize("travel", [pickle.dumps, copy.copy, copy.deepcopy])
def test_client_does_not_travel_and_says_so(sqlite_db: Client, travel: Any) -> None:
    with pytest.raises(TypeError, match="does not travel to another process: each makes its own with get_client"):
        travel(sqlite_db)


def test_connection_is_checked(db: Client) -> None:
    db.check_connection()


FORK = """
import gc, json, os, sys
import multiprocessing
import sqlalchemy as sa
from ozelot.client import Client, get_client, set_client
from ozelot.errors import TransactionError

fork = multiprocessing.get_context("fork")
set_client(Client(connection_string=sys.argv[1]))
say, done, go = fork.Queue(), fork.Queue(), fork.Event()


def write(name):
    with get_client().transaction() as session:
        session.execute(sa.text("INSERT INTO unit (name) VALUES (:name)"), {"name": name})


def count():
    with get_client().create_session() as session:
        return session.scalar(sa.text("SELECT count(*) FROM unit"))


def run(child):
    process = fork.Process(target=child)
    process.start()
    return process


def used():
    write("parent, before")
    def child():
        for number in range(5):
            write(f"child {number}")
        assert count() >= 6
    children = [run(child) for _ in range(3)]
    for number in range(5):
        write(f"parent {number}")
    for process in children:
        process.join()
        assert process.exitcode == 0
    assert count() == 21


def reading():
    # The parent closes its session, and all of its connections, while the child is at work.
    session = get_client().create_session()
    session.execute(sa.text("SELECT count(*) FROM unit")).all()
    def child():
        write("child, first")
        say.put(1)
        assert go.wait(30)
        write("child, second")
        assert count() == 2
        os._exit(0)  # as one that is killed
    process = run(child)
    say.get(timeout=30)
    session.close()
    del session
    get_client().engine.dispose()
    gc.collect()
    go.set()
    process.join()
    assert process.exitcode == 0
    assert count() == 2


def goes_on():
    session = get_client().create_session()
    assert session.scalar(sa.text("SELECT count(*) FROM unit")) == 0
    process = run(lambda: write("child"))
    process.join()
    session.rollback()
    session.execute(sa.text("INSERT INTO unit (name) VALUES ('parent')"))
    session.commit()
    session.close()
    assert process.exitcode == 0
    assert count() == 2


def writing():
    # The child drops the session that it inherited, which must not end the parent's transaction.
    session = get_client().create_session()
    session.execute(sa.text("INSERT INTO unit (name) VALUES ('parent')"))
    def child():
        try:
            session.execute(sa.text("SELECT 1"))
        except Exception as exc:
            assert "belongs to the parent process" in str(exc), exc
        else:
            sys.exit("used the parent's session")
        session.rollback()
        session.close()
        gc.collect()
        assert count() == 0
    process = run(child)
    process.join()
    assert process.exitcode == 0
    session.commit()
    session.close()
    assert count() == 1


def transaction():
    def child():
        inherited.rollback()
        inherited.close()
        own = get_client().create_session()
        assert own.scalar(sa.text("SELECT count(*) FROM unit")) == 0
        own.close()
    with get_client().transaction() as inherited:
        inherited.execute(sa.text("INSERT INTO unit (name) VALUES ('parent')"))
        process = run(child)
        process.join()
        assert process.exitcode == 0
        inherited.execute(sa.text("INSERT INTO unit (name) VALUES ('parent again')"))
    assert count() == 2


globals()[sys.argv[2]]()
"""


@pytest.mark.parametrize("how", ["used", "reading", "goes_on", "writing", "transaction"])
@pytest.mark.slow
def test_engine_survives_a_fork(staffed: Client, how: str) -> None:
    url = staffed.url.render_as_string(hide_password=False)
    staffed.engine.dispose()  # SQLite: whoever closes the file last tidies up, which is to be the script
    done = subprocess.run(quick.python("-c", FORK, url, how), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    expected = {"used": 21, "reading": 2, "goes_on": 2, "writing": 1, "transaction": 2}
    assert len(units(staffed)) == expected[how]


@pytest.mark.slow
def test_tasks_that_luigi_forks_use_connections_of_their_own(staffed: Client, tmp_path: Path) -> None:
    script = f"""
import sys, json
sys.path.insert(0, {str(ROOT)!r})
import luigi, sqlalchemy as sa
from ozelot.client import Client, get_client, set_client
from tests.etl import staff
from tests.tables import create_tables
set_client(Client(connection_string=sys.argv[1]))
session = get_client().create_session()
session.execute(sa.text("SELECT count(*) FROM unit")).all()
notes = [staff.Note(text=str(n)) for n in range(12)]
assert luigi.build([staff.LoadUnits(), *notes], workers=4, local_scheduler=True)
session.close()
assert all(note.complete() for note in notes)
print(json.dumps(get_client().df_query(sa.text("SELECT name FROM unit"))["name"].tolist()))
"""
    url = staffed.url.render_as_string(hide_password=False)
    done = subprocess.run(
        quick.python("-c", script, url), cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["unit 0", "unit 1", "unit 2"]


@only("postgresql", "mariadb")
def test_a_connection_that_broke_before_it_is_given_back_is_told_in_one_line(
    db: Client, caplog: pytest.LogCaptureFixture
) -> None:
    given = db.engine.raw_connection()
    cursor = given.cursor()
    cursor.execute("SELECT pg_backend_pid()" if db.engine.dialect.name == "postgresql" else "SELECT connection_id()")
    (number,) = cursor.fetchone() or (None,)
    with sa.create_engine(db.url, poolclass=sa.NullPool).connect() as other:
        ends = "SELECT pg_terminate_backend(%s)" if db.engine.dialect.name == "postgresql" else "KILL %s"
        other.exec_driver_sql(ends, (number,))

    given.close()

    (line,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert line.getMessage().startswith("A connection broke before it was given back: ")
    assert not any(record.exc_info for record in caplog.records)
