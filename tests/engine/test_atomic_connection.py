"""A refresh in one transaction, where the server ends that transaction half-way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from ozelot.client import Client
from tests.databases import only
from tests.engine.contents import contents, engine_for, library
from tests.engine.library import LoadReviews, load_all_again, load_once
from tests.waiting import until

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
    load_once(db)


def meanwhile(act: Callable[[], None]) -> threading.Thread:
    """Do something while a task is in the middle, then let it go on."""
    Path("wish LoadBooks 1990").write_text("wait")

    def wait_and_act() -> None:
        try:
            until(Path("came by LoadBooks 1990").exists, "the task in the middle")
            act()
        finally:
            Path("wish LoadBooks 1990").unlink()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    return thread


@only("postgresql", "mariadb")
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
        result = load_all_again()
    finally:
        thread.join()
    assert cut
    assert not result.ok and not result.ran and "LoadBooks {'year': '1990'}" in result.failed
    assert contents(database_url) == library()
    assert load_all_again().ok and contents(database_url) == library("v2")


@only("mariadb")  # elsewhere a deadlock ends no more than a savepoint
def test_a_deadlock_on_mariadb_which_ends_all_of_the_transaction_leaves_what_was_there(
    db: Client, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = sa.create_engine(database_url, poolclass=sa.NullPool)
    waits = "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"

    def hold() -> None:
        heavy.execute(sa.text("UPDATE author SET name = name"))

    def reach_across(_task: LoadReviews) -> None:
        """The task has locks on the authors, and asks for those of the other, which waits for the authors."""
        holder.start()
        with engine_for(database_url).connect() as looking:
            until(lambda: looking.scalar(sa.text(waits)), "the one that waits for the authors", pause=0.01)
        with db.create_session() as session:
            session.execute(sa.text("UPDATE ballast SET weight = 2"))

    with others.begin() as heavy:
        heavy.execute(sa.text("CREATE TABLE ballast (weight INTEGER)"))
        heavy.execute(sa.text("INSERT INTO ballast VALUES (0)"))
    with others.connect() as heavy:  # the lighter one of two is what MariaDB ends
        heavy.execute(sa.text("INSERT INTO ballast VALUES (1)" + ", (1)" * 5000))
        heavy.execute(sa.text("UPDATE ballast SET weight = 1"))
        holder = threading.Thread(target=hold)
        monkeypatch.setattr(LoadReviews, "run", reach_across)
        try:
            result = load_all_again()
        finally:
            if holder.is_alive():
                holder.join()
            heavy.rollback()
    assert list(result.failed) == ["LoadReviews {}"]
    assert "Deadlock" in result.failed["LoadReviews {}"].traceback
    assert contents(database_url) == library()
