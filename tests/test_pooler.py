"""Runs need locks of a session: poolers that assign server connections to transactions are refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import luigi
import pytest
import sqlalchemy as sa

import ozelot
from ozelot import client
from ozelot.client import Client
from ozelot.db.server_errors import refuse_pooler
from ozelot.engine import run_again
from ozelot.errors import ConfigError, DatabaseUnavailable
from ozelot.etl.completion import clear_plan
from ozelot.ui.read_only_client import make_read_only
from tests.databases import only
from tests.engine.steps import EStep, Step, chain, drawn, empty_drawing
from tests.pgbouncer import pgbouncer
from tests.statements import recorded_statements
from tests.tables import create_tables

pytestmark = [pytest.mark.slow, only("postgresql")]

POOLS: dict[str, dict[str, object]] = {
    "transactions": {"pool_mode": "transaction", "default_pool_size": 6},
    "one connection": {"pool_mode": "transaction", "default_pool_size": 1},
    "in turn": {"pool_mode": "transaction", "default_pool_size": 2, "server_round_robin": 1},
    "many in turn": {"pool_mode": "transaction", "min_pool_size": 9, "server_round_robin": 1},
}
SESSIONS: dict[str, dict[str, object]] = {
    "sessions": {"pool_mode": "session"},
    "one session": {"pool_mode": "session", "default_pool_size": 1},
}


@pytest.fixture(autouse=True)
def nothing_drawn() -> Iterator[None]:
    with empty_drawing():
        yield


def pooled(url: str) -> Client:
    """The client of all tasks from now on."""
    found = Client(connection_string=url)
    client.set_client(found)
    return found


def locks(db: Client) -> int:
    with db.engine.connect() as connection:
        query = "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database WHERE locktype = "
        return connection.scalar(sa.text(f"{query} 'advisory' AND datname = current_database()")) or 0


@pytest.mark.parametrize("settings", POOLS.values(), ids=POOLS)
@pytest.mark.parametrize("workers", [1, 3])
def test_a_run_is_refused_where_a_pool_assigns_connections_to_transactions(
    db: Client, tmp_path: Path, settings: dict[str, object], workers: int
) -> None:
    create_tables(db, EStep)
    with pgbouncer(db.url.render_as_string(hide_password=False), tmp_path, **settings) as url:
        through = pooled(url)
        for _ in range(2):
            with pytest.raises(ConfigError, match="pool_mode = session; see the how-to on poolers"):
                ozelot.run(chain(3), workers=workers)
        through.engine.dispose()
    assert drawn.began == []
    assert locks(db) == 0


@pytest.mark.parametrize("settings", POOLS.values(), ids=POOLS)
def test_while_other_clients_use_the_pool(db: Client, tmp_path: Path, settings: dict[str, object]) -> None:
    with pgbouncer(db.url.render_as_string(hide_password=False), tmp_path, **settings) as url:
        others = sa.create_engine(url, pool_size=3)
        connections = [others.connect() for _ in range(3)]
        for connection in connections:
            connection.execute(sa.text("SELECT 1"))
            connection.rollback()
        through = pooled(url)
        with pytest.raises(ConfigError, match="pooler"), through.engine.connect() as connection:
            refuse_pooler(connection)
        for connection in connections:
            connection.close()
        others.dispose()
        through.engine.dispose()


@pytest.mark.parametrize("settings", SESSIONS.values(), ids=SESSIONS)
def test_a_pool_of_sessions_is_as_good_as_the_server(db: Client, tmp_path: Path, settings: dict[str, object]) -> None:
    create_tables(db, EStep)
    with pgbouncer(db.url.render_as_string(hide_password=False), tmp_path, **settings) as url:
        through = pooled(url)
        with through.engine.connect() as connection:
            refuse_pooler(connection)
        if settings.get("default_pool_size") != 1:
            assert ozelot.run(chain(3), workers=2).ok
        through.engine.dispose()


def test_a_pool_of_statements_is_named(db: Client, tmp_path: Path) -> None:
    direct = db.url.render_as_string(hide_password=False)
    expected = pytest.raises(DatabaseUnavailable, match="pool_mode = session; see the how-to on poolers")
    with pgbouncer(direct, tmp_path, pool_mode="statement") as url, expected:
        pooled(url).check_connection()


def test_the_server_itself_is_asked_once_and_by_one_connection(db: Client) -> None:
    said = recorded_statements(db)
    with db.engine.connect() as connection:
        refuse_pooler(connection)
        refuse_pooler(connection)
    assert said == ["SELECT pg_backend_pid()"]


@pytest.mark.parametrize("atomic", [False, True])
def test_nothing_is_cleared_where_it_could_not_be_loaded_again(db: Client, tmp_path: Path, atomic: bool) -> None:
    create_tables(db, EStep)
    assert ozelot.run(chain(2)).ok
    with pgbouncer(db.url.render_as_string(hide_password=False), tmp_path, **POOLS["transactions"]) as url:
        through = pooled(url)
        task = Step(name="0")
        with pytest.raises(ConfigError, match="pooler"):
            run_again(clear_plan(chain(2), [task]), [task], atomic=atomic)
        through.engine.dispose()
    with db.create_session() as session:
        assert session.query(EStep).count() == 2


def test_luigi_is_refused_as_well(db: Client, tmp_path: Path) -> None:
    create_tables(db, EStep)
    failures: list[BaseException] = []
    handler: Any = Step.event_handler(luigi.Event.FAILURE)  # type: ignore[no-untyped-call]
    handler(lambda _task, exc: failures.append(exc))
    with pgbouncer(db.url.render_as_string(hide_password=False), tmp_path, **POOLS["transactions"]) as url:
        through = pooled(url)
        assert not luigi.build([Step(name="0")], local_scheduler=True)
        through.engine.dispose()
    luigi.Task._event_callbacks.pop(Step, None)
    assert [type(exc) for exc in failures] == [ConfigError]
    assert locks(db) == 0


def test_clearing_and_status_need_no_session(db: Client, tmp_path: Path) -> None:
    create_tables(db, EStep)
    root = chain(4)
    assert ozelot.run(root).ok
    with pgbouncer(db.url.render_as_string(hide_password=False), tmp_path, **POOLS["transactions"]) as url:
        for expected in (4, 0):
            through = pooled(url)
            assert len(clear_plan(root, [Step(name="0")]).steps) == 4
            assert clear_plan(root, [Step(name="0")]).deletes.get("estep", 0) == expected
            clear_plan(root, [Step(name="0")]).apply()
            assert ozelot.verify(root) == []
            through.engine.dispose()
    assert locks(db) == 0


def test_no_prepared_statement_is_left_for_other_clients(db: Client, tmp_path: Path) -> None:
    with pgbouncer(db.url.render_as_string(hide_password=False), tmp_path, **POOLS["one connection"]) as url:
        clients = [pooled(url), pooled(url)]
        for number in range(20):
            for each in clients:
                with each.engine.begin() as connection:
                    assert connection.scalar(sa.text("SELECT CAST(:number AS integer)"), {"number": number}) == number
        for each in clients:
            each.engine.dispose()


def test_the_status_page_leaves_no_setting_for_other_clients(db: Client, tmp_path: Path) -> None:
    with pgbouncer(db.url.render_as_string(hide_password=False), tmp_path, **POOLS["one connection"]) as url:
        reader, writer = pooled(url), pooled(url)
        make_read_only(reader, 5)
        with reader.engine.connect() as connection:
            assert connection.scalar(sa.text("SHOW statement_timeout")) == "5s"
        with writer.engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE written (id INTEGER)"))
            assert connection.scalar(sa.text("SHOW statement_timeout")) == "0"
        reader.engine.dispose()
        writer.engine.dispose()
