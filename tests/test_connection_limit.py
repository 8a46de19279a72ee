"""Limits of a server: more workers than connections, idle time-outs; the message names the setting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

import ozelot
from ozelot import client
from ozelot.client import Client
from ozelot.engine import Event, Kind, RunResult, dispatcher
from ozelot.errors import DatabaseUnavailable
from tests import databases
from tests.engine.steps import EStep, Step, drawn, empty_drawing, label, rows
from tests.own_servers import OwnServer, wanted_server
from tests.tables import create_tables

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[OwnServer]:
    with wanted_server(request.param) as found:
        found.start("max_connections=20", *([] if request.param == "mariadb" else ["superuser_reserved_connections=3"]))
        yield found


@pytest.fixture
def admin(server: OwnServer) -> Iterator[sa.Engine]:
    found = sa.create_engine(server.url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    yield found
    with found.connect() as connection:  # as it was
        if server.kind == "postgresql":
            connection.execute(sa.text("ALTER ROLE app CONNECTION LIMIT -1"))
            connection.execute(sa.text("ALTER ROLE app RESET ALL"))
        else:
            connection.execute(sa.text("ALTER USER app WITH MAX_USER_CONNECTIONS 0"))
            connection.execute(sa.text("SET GLOBAL wait_timeout = DEFAULT, GLOBAL max_statement_time = DEFAULT"))


@pytest.fixture
def database(server: OwnServer, admin: sa.Engine) -> Iterator[Client]:
    """A new database with the tables of the steps, for the user ``app``."""
    with empty_drawing(), databases.fresh(admin) as url, admin.connect() as connection:
        name = sa.make_url(url).database
        if server.kind == "postgresql":
            exists = connection.scalar(sa.text("SELECT count(*) FROM pg_roles WHERE rolname = 'app'"))
            connection.execute(sa.text("SELECT 1" if exists else "CREATE ROLE app LOGIN"))
            connection.execute(sa.text(f"ALTER DATABASE {name} OWNER TO app"))
        else:
            connection.execute(sa.text("CREATE USER IF NOT EXISTS app"))
            connection.execute(sa.text(f"GRANT ALL ON {name}.* TO app"))
        found = Client(connection_string=sa.make_url(url).set(username="app"))
        create_tables(found, EStep)
        found.engine.dispose()
        client.set_client(found)
        yield found
        client.set_client(None)
        found.engine.dispose()


def set_up(admin: sa.Engine, postgresql: str, mariadb: str) -> None:
    with admin.connect() as connection:
        connection.execute(sa.text(postgresql if admin.dialect.name == "postgresql" else mariadb))


def limit_connections(admin: sa.Engine, number: int) -> None:
    set_up(admin, f"ALTER ROLE app CONNECTION LIMIT {number}", f"ALTER USER app WITH MAX_USER_CONNECTIONS {number}")


LIMIT = {"postgresql": "CONNECTION LIMIT of the role", "mariadb": "MAX_USER_CONNECTIONS"}


def test_more_workers_than_connections_wait_for_each_other(
    server: OwnServer, database: Client, admin: sa.Engine
) -> None:
    limit_connections(admin, 3)
    told: list[Event] = []
    names = [f"{number:02}" for number in range(40)]
    result = ozelot.run([Step(name=name) for name in names], workers=8, progress=told.append)
    assert result.ok, result.failed
    assert rows(database) == names
    for event in told:
        if event.kind is Kind.MESSAGE:
            assert LIMIT[server.kind] in event.text
            assert "check that the server runs" not in event.text


def test_without_any_connection_the_message_names_the_limit_of_the_user(
    server: OwnServer, database: Client, admin: sa.Engine
) -> None:
    limit_connections(admin, 1)
    expected = pytest.raises(DatabaseUnavailable, match=LIMIT[server.kind])
    with sa.create_engine(database.url, poolclass=sa.NullPool).connect(), expected:
        database.check_connection()


def test_the_message_names_the_limit_of_the_server(database: Client) -> None:
    others: list[sa.Connection] = []
    engine = sa.create_engine(database.url, poolclass=sa.NullPool)
    with pytest.raises(sa.exc.OperationalError):
        others.extend(engine.connect() for _ in range(25))
    with pytest.raises(DatabaseUnavailable, match="max_connections of the server"):
        database.check_connection()
    for other in others:
        other.close()


def test_a_limit_that_stays_ends_the_run_and_is_named(
    server: OwnServer, database: Client, admin: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "_PATIENCE", 0.3)

    def act(_step: Any) -> None:
        database.engine.dispose()
        limit_connections(admin, 1)
        others.append(sa.create_engine(database.url, poolclass=sa.NullPool).connect())

    others: list[sa.Connection] = []
    drawn.acts["0"] = lambda step: end_own(step, admin, act)
    result = ozelot.run([Step(name="0"), Step(name="1")])
    others[0].close()
    assert LIMIT[server.kind] in result.failed[next(iter(result.failed))].reason


def end_own(step: Any, admin: sa.Engine, then: Any) -> None:
    """End the connection of a step, after which ``then`` is called."""
    postgresql = step.client.engine.dialect.name == "postgresql"
    number = step.session.scalar(sa.text("SELECT pg_backend_pid()" if postgresql else "SELECT connection_id()"))
    set_up(admin, f"SELECT pg_terminate_backend({number}, 10000)", f"KILL {number}")
    then(step)


def run_idle(database: Client, admin: sa.Engine) -> RunResult:
    """Run a task that is idle in its transaction until the server has ended its connection."""
    postgresql = database.engine.dialect.name == "postgresql"

    def act(step: Any) -> None:
        own = "SELECT pg_backend_pid()" if postgresql else "SELECT connection_id()"
        number = step.session.scalar(sa.text(own))
        table = "pg_stat_activity WHERE pid" if postgresql else "information_schema.processlist WHERE id"
        with admin.connect() as connection:
            while connection.scalar(sa.text(f"SELECT count(*) FROM {table} = {number}")):
                pass

    drawn.acts["0"] = act
    return ozelot.run(Step(name="0"))


def test_an_idle_time_out_is_named(database: Client, admin: sa.Engine) -> None:
    set_up(admin, "ALTER ROLE app SET idle_in_transaction_session_timeout = 300", "SET GLOBAL wait_timeout = 1")
    database.engine.dispose()
    result = run_idle(database, admin)
    assert len(drawn.began) == 4
    reason = result.failed[label("0")].reason
    expected = {"postgresql": "idle_in_transaction_session_timeout of the server", "mysql": "its wait_timeout"}
    assert expected[database.url.get_backend_name()] in reason


def test_a_time_out_of_statements_is_named(server: OwnServer, database: Client, admin: sa.Engine) -> None:
    set_up(admin, "ALTER ROLE app SET statement_timeout = 300", "SET GLOBAL max_statement_time = 0.3")
    database.engine.dispose()
    slow = {
        "postgresql": "SELECT pg_sleep(20)",
        "mariadb": "SELECT sum(a.seq * b.seq) FROM seq_1_to_1000000 a JOIN seq_1_to_1000000 b",
    }
    drawn.acts["0"] = lambda step: step.session.execute(sa.text(slow[server.kind])).all()
    result = ozelot.run(Step(name="0"))
    expected = {"postgresql": "statement_timeout of the server", "mariadb": "max_statement_time of the server"}
    assert expected[server.kind] in result.failed[label("0")].reason
