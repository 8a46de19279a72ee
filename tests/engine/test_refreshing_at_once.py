"""Two that load the same again at the same moment, each in one transaction: nothing is lost."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ozelot.client import Client
from ozelot.engine import RunResult
from tests.databases import only
from tests.engine.contents import contents, engine_for, library
from tests.engine.library import load_all_again, load_once
from tests.waiting import until

#: For how many seconds a connection to this database has been waiting for another one; MariaDB looks anew every 0.1 s,
#: unless it is asked more often.
WAITING = {
    "postgresql": "SELECT extract(epoch FROM clock_timestamp() - state_change) FROM pg_stat_activity "
    "WHERE datname = current_database() AND wait_event_type = 'Lock'",
    "mysql": "SELECT timestampdiff(SECOND, trx_wait_started, now()) FROM information_schema.innodb_trx "
    "JOIN information_schema.processlist ON id = trx_mysql_thread_id WHERE db = database() AND trx_state = 'LOCK WAIT'",
}


def until_one_waits(url: str, running: Future[RunResult], seconds: float) -> None:
    engine = engine_for(url)
    query = sa.text(WAITING[engine.dialect.name])
    with engine.connect() as connection:
        until(
            lambda: any(waited >= seconds for waited in connection.scalars(query)),
            "a transaction that waits for another one",
            unless=running.done,
            pause=0.2,
        )


def twice(url: str, seconds: float = 0) -> None:
    """Load all again, and when nearly all is loaded, once more; the first ends when the second waits for it.

    Args:
        url: of the database.
        seconds: for how long the second has to wait.
    """
    Path("wish LoadReviews").write_text("wait")
    with ThreadPoolExecutor(2) as pool:
        try:
            first = pool.submit(load_all_again)
            until(Path("came by LoadReviews").exists, "the first one to load reviews", unless=first.done)
            second = pool.submit(load_all_again)
            until_one_waits(url, second, seconds)
            assert contents(url) == library()
        finally:
            Path("wish LoadReviews").write_text("")
        assert first.result(60).ok and second.result(60).ok


@only("postgresql", "mariadb")
def test_the_second_one_waits_and_loads_again_what_the_first_one_left(
    db: Client, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    load_once(db)
    twice(database_url)
    assert contents(database_url) == library("v2")
    assert "Waiting until another transaction that clears has ended" in caplog.text


@only("mariadb")
@pytest.mark.slow
def test_it_waits_for_longer_than_mariadb_lets_others_wait(db: Client, database_url: str) -> None:
    @sa.event.listens_for(db.engine, "connect")
    def _impatient(connection: Any, _record: object) -> None:
        connection.cursor().execute("SET SESSION innodb_lock_wait_timeout = 1")

    load_once(db)
    twice(database_url, seconds=2)
    assert contents(database_url) == library("v2")
    with db.engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT @@SESSION.innodb_lock_wait_timeout")) == 1
