"""A refresh in one transaction, where the server ends that transaction half-way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

import ozelot
from ozelot.client import Client
from ozelot.engine import RunResult, run_again
from ozelot.etl.completion import clear_plan
from tests.engine.contents import contents, engine_for, library
from tests.engine.library import LoadAuthors, LoadLibrary, create_tables

_OURS = {
    "postgresql": "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL "
    "AND pid <> pg_backend_pid()",
    "mysql": "SELECT p.id FROM information_schema.processlist p JOIN information_schema.innodb_trx t "
    "ON t.trx_mysql_thread_id = p.id WHERE p.db = DATABASE() AND p.id <> CONNECTION_ID()",
}
_END = {"postgresql": "SELECT pg_terminate_backend({})", "mysql": "KILL {}"}


@pytest.fixture(autouse=True)
def loaded(db: Client) -> None:
    """The library, complete; what is loaded from now on is of another version."""
    if db.engine.dialect.name == "sqlite":
        pytest.skip("a file has no server that could end a transaction")
    create_tables(db)
    assert ozelot.run(LoadLibrary()).ok
    Path("wish version").write_text("v2")
    Path("came by LoadBooks 1990").unlink()


def again() -> RunResult:
    roots = [LoadAuthors()]
    return run_again(clear_plan(LoadLibrary(), roots), roots, atomic=True)


def meanwhile(act: Callable[[], None]) -> threading.Thread:
    """Do something while a task is in the middle, then let it go on."""
    Path("wish LoadBooks 1990").write_text("wait")

    def wait_and_act() -> None:
        deadline = time.monotonic() + 60
        while not Path("came by LoadBooks 1990").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        try:
            act()
        finally:
            Path("wish LoadBooks 1990").unlink()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    return thread


def test_a_connection_that_is_cut_leaves_what_was_there(db: Client, database_url: str) -> None:
    dialect = db.engine.dialect.name
    cut: list[int] = []

    def end_it() -> None:
        with engine_for(database_url).connect() as connection:
            for (number,) in connection.execute(sa.text(_OURS[dialect])).all():
                connection.execute(sa.text(_END[dialect].format(number)))
                cut.append(number)

    thread = meanwhile(end_it)
    try:
        result = again()
    finally:
        thread.join()
    assert cut
    assert list(result.failed) == ["LoadBooks {'year': '1990'}"]
    assert contents(database_url) == library()
    assert again().ok and contents(database_url) == library("v2")
