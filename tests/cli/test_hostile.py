"""Databases that another program wrote to: each command says in one line what is wrong, and none waits forever."""

from __future__ import annotations

import _thread
import shlex
import threading

import pytest
import sqlalchemy as sa

from ozelot import client
from ozelot.cli import status
from ozelot.client import Client
from ozelot.db.time_limit import is_over_the_limit, limit_statements
from ozelot.orm.base import Base
from tests import databases
from tests.cli.calling import Called, called
from tests.etl import staff

PIPELINE = "--pipeline tests.etl.staff:LoadEmployees"
RECORDED = "status"
COMMANDS = [
    RECORDED,
    f"{PIPELINE} status",
    f"{PIPELINE} status LoadUnits",
    "history",
    f"{PIPELINE} history LoadUnits",
    f"{PIPELINE} verify",
    f"{PIPELINE} plan",
    f"{PIPELINE} why LoadUnits",
    f"{PIPELINE} clear LoadUnits",
    f"{PIPELINE} run",
    f"{PIPELINE} diagram pipeline --mermaid",
]


@pytest.fixture
def loaded(db: Client) -> Client:
    Base.create_all(db)
    assert staff.LoadEmployees.build()
    db.engine.dispose()
    return db


def on(database: Client, command: str) -> Called:
    """Call a command on a database."""
    client.set_client(None)
    found = called("--database", database.url.render_as_string(hide_password=False), *shlex.split(command))
    client.get_client().engine.dispose()
    return found


def execute(database: Client, *statements: str) -> None:
    with database.engine.begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))
    database.engine.dispose()


def put(database: Client, table: str, column: str, value: str) -> None:
    """Put a value where it does not belong. On a server, a column that is not text becomes text for that."""
    name = database.engine.dialect.identifier_preparer.quote(column)
    alter = {"postgresql": f"ALTER COLUMN {name} TYPE text", "sqlite": ""}.get(
        database.engine.dialect.name, f"MODIFY {name} TEXT"
    )
    is_text = column in ("name", "params", "state", "rows", "error", "parts")
    statements = [f"ALTER TABLE {table} {alter}"] if alter and not is_text else []
    execute(database, *statements, f"UPDATE {table} SET {name} = {value}")


def is_one_line(done: Called) -> bool:
    """Whether there was no error, or it was told in one line."""
    return done.err == "" or (done.err.startswith("error: ") and done.err.count("\n") == 1)


@pytest.mark.parametrize("value", ["'soon'", "7", "'2018-05-28 99:99'", """'{"a": [1]}'""", "'1e300'"])
def test_a_marker_whose_date_is_none_is_told_in_one_line(loaded: Client, value: str) -> None:
    execute(loaded, "DELETE FROM ozelot_run")  # which say the same, and more exactly
    put(loaded, "ormtargetmarker", "created", value)
    done = on(loaded, RECORDED)
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("error: ormtargetmarker.created expects a date and time; it holds ")
    assert done.err.endswith(". Correct or delete that row, or name another database with --database\n")
    assert is_one_line(done)


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("ozelot_run", "started", "'soon'"),
        ("ozelot_run", "finished", "'[1]'"),
        ("ozelot_run", "process", "'many'"),
        ("ozelot_run", "rows", "'[1]'"),
        ("ozelot_run", "state", "'unheard of'"),
        ("ozelot_run", "error", "'nonsense'"),
        ("ozelot_fingerprint", "parts", "'nonsense'"),
        ("ormtargetmarker", "params", "NULL"),
        ("ormtargetmarker", "name", "NULL"),
    ],
)
def test_no_value_ends_a_command_with_a_traceback(loaded: Client, table: str, column: str, value: str) -> None:
    put(loaded, table, column, value)
    for command in COMMANDS[:9]:
        done = on(loaded, command)
        assert "Traceback" not in done.err, command
        if done.code == 3:
            assert f"{table}.{column} expects" in done.err, command
            assert is_one_line(done), command


def test_a_blob_in_place_of_text_is_told_in_one_line(sqlite_db: Client) -> None:
    Base.create_all(sqlite_db)
    assert staff.LoadEmployees.build()
    for table, column in [("ormtargetmarker", "name"), ("ozelot_run", "started"), ("ozelot_run", "params")]:
        put(sqlite_db, table, column, "x'00ff'")
        for command in COMMANDS[:9]:
            assert is_one_line(done := on(sqlite_db, command)) or done.code < 3, command


ENDLESS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i AS id FROM n WHERE i < 0",
    "postgresql": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i AS id FROM n WHERE i < 0",
    "mysql": "SELECT 1 AS id WHERE SLEEP(1000) = 0",
}


def endless(database: Client, table: str) -> None:
    """Put a view that never ends in place of a table."""
    query = ENDLESS[database.engine.dialect.name.replace("mariadb", "mysql")]
    execute(database, f"ALTER TABLE {table} RENAME TO renamed", f"CREATE VIEW {table} AS {query}")


@pytest.mark.parametrize("table", ["ormtargetmarker", "ozelot_run", "ozelot_version"])
def test_a_view_in_place_of_a_table_of_ozelot_is_refused(loaded: Client, table: str) -> None:
    endless(loaded, table)
    for command in COMMANDS:
        done = on(loaded, command)
        assert (done.code, done.out) == (3, ""), command
        assert done.err.startswith(f"error: {table} in "), command
        assert "is a view, but ozelot keeps its state in a table of that name: drop or rename the view" in done.err
        assert is_one_line(done), command
    execute(loaded, f"DROP VIEW {table}")


@databases.only("postgresql", "mariadb")
def test_a_status_that_takes_too_long_is_given_up(loaded: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "TO_READ", 1.0)
    is_postgresql = loaded.engine.dialect.name == "postgresql"
    lock = "LOCK TABLE ormtargetmarker" if is_postgresql else "LOCK TABLES ormtargetmarker WRITE"
    with loaded.engine.connect() as other:
        other.execute(sa.text(lock))
        done = on(loaded, f"{PIPELINE} status")
    loaded.engine.dispose()
    assert (done.code, done.out) == (3, "")
    assert "takes too long to answer (" in done.err
    assert "): another program may hold a lock, or one of its views does not end. Look at its tables" in done.err
    assert is_one_line(done)


def test_a_statement_that_takes_too_long_is_ended(db: Client) -> None:
    limit_statements(db.engine, 0.5)
    query = ENDLESS[db.engine.dialect.name.replace("mariadb", "mysql")]
    with pytest.raises(sa.exc.DBAPIError) as raised, db.engine.connect() as connection:
        connection.execute(sa.text(query)).all()
    assert is_over_the_limit(raised.value.orig)
    with db.engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT 1")) == 1


@pytest.mark.slow
def test_ctrl_c_ends_a_statement_of_sqlite(sqlite_db: Client) -> None:
    limit_statements(sqlite_db.engine, 60)
    press = threading.Timer(0.5, _thread.interrupt_main)
    press.start()
    with pytest.raises(KeyboardInterrupt), sqlite_db.engine.connect() as connection:
        connection.execute(sa.text(ENDLESS["sqlite"])).all()
    press.join()
    with sqlite_db.engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT 1")) == 1
