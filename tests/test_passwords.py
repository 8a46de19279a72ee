"""Passwords: in no log line, representation, message or traceback, whichever way they came in."""

from __future__ import annotations

import copy
import logging
import pickle
import traceback
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import keyring
import keyring.backend
import keyring.errors
import luigi
import pytest
import sqlalchemy as sa

from ozelot import client as client_module
from ozelot import config
from ozelot.client import Client
from ozelot.errors import ConfigError, DatabaseUnavailable
from ozelot.etl import tasks
from ozelot.orm.run import Run
from tests.ports import refusing_port

#: Each holds this part, so that a piece of one that leaks is found, too.
CORE = "geheim"
PASSWORDS = [
    f"{CORE}",
    f"a@{CORE}@b",
    f"a/{CORE}/b",
    f"a:{CORE}:b",
    f"100%{CORE}%41%",
    f"#{CORE}#",
    f" {CORE} with spaces ",
    f"?x={CORE}&y=[z]",
    f"{CORE}'\"\\",
    f"ü{CORE}漢",
]


def quoted(password: str) -> str:
    return "".join(c if c.isalnum() and c.isascii() else "".join(f"%{b:02X}" for b in c.encode()) for c in password)


def by_params(server: sa.URL, password: str) -> Client:
    return Client(
        params={
            "driver": server.drivername,
            "host": server.host,
            "port": server.port,
            "user": server.username,
            "password": password,
            "database": server.database,
        }
    )


def by_url(server: sa.URL, password: str) -> Client:
    start, _, end = server.set(username="USER").render_as_string().partition("USER")
    return Client(connection_string=f"{start}{server.username}:{quoted(password)}{end}")


def by_url_object(server: sa.URL, password: str) -> Client:
    return Client(connection_string=server.set(password=password))


def by_query(server: sa.URL, password: str) -> Client:
    return Client(connection_string=f"{server.render_as_string()}?password={quoted(password)}")


FORMS: list[Callable[[sa.URL, str], Client]] = [by_params, by_url, by_url_object, by_query]


@pytest.fixture
def refusing(unused_port: int) -> dict[str, sa.URL]:
    return {
        driver: sa.URL.create(driver, "somebody", None, "127.0.0.1", unused_port, "db")
        for driver in ("postgresql+psycopg", "mysql+pymysql")
    }


@pytest.fixture
def unused_port() -> Iterator[int]:
    with refusing_port() as port:
        yield port


def shown_by(action: Callable[[], object]) -> str:
    """All that is shown of an action that must fail: messages, representations, traceback."""
    try:
        action()
    except Exception as exc:  # noqa: BLE001 - whatever it is
        told = traceback.format_exc()
        while exc is not None:
            told += f"{exc}{exc!r}{exc.args}"
            exc = exc.__cause__ or exc.__context__  # type: ignore[assignment]
        return told
    raise AssertionError("did not fail")


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("driver", ["postgresql+psycopg", "mysql+pymysql"])
@pytest.mark.parametrize("form", FORMS)
def test_failing_connection_never_shows_the_password(
    refusing: dict[str, sa.URL],
    form: Callable[[sa.URL, str], Client],
    driver: str,
    password: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    client = form(refusing[driver], password)
    client_module.set_client(client)
    assert client.url.password == password
    told = shown_by(client.check_connection)
    assert "[password hidden]" in told
    told += shown_by(lambda: client.create_session().execute(sa.text("SELECT 1")))
    told += shown_by(lambda: client.get_engine().connect())
    told += shown_by(lambda: client.df_query(sa.select(sa.literal(1))))
    told += shown_by(lambda: client.transaction().__enter__())
    told += shown_by(lambda: pickle.dumps(client))
    told += (
        f"{client!r}{client}{client.url!r}{client.url}{client.engine!r}{client.engine.url}{client.create_session()!r}"
    )
    told += caplog.text
    assert CORE not in told
    assert quoted(password) not in told
    assert "Client connecting to: " + driver + "://somebody:[password hidden]@127.0.0.1" in caplog.text


class Load(tasks.ORMTask):
    creates = ()

    def run(self) -> None:
        self.session.execute(sa.text("SELECT 1"))


@pytest.mark.parametrize("form", FORMS)
def test_luigi_build_on_an_unreachable_database_never_shows_the_password(
    refusing: dict[str, sa.URL],
    form: Callable[[sa.URL, str], Client],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="luigi-interface")  # the first build in a process sets it for all later ones
    for server in refusing.values():
        client_module.set_client(form(server, f"a@{CORE}/b"))
        assert not luigi.build([Load()], local_scheduler=True)
        assert not luigi.build([Load()], local_scheduler=True, no_lock=True, workers=2)
    out, err = capfd.readouterr()
    assert "OperationalError" in caplog.text + out + err
    assert CORE not in caplog.text + out + err


@pytest.mark.parametrize("password", PASSWORDS)
def test_why_a_task_failed_is_recorded_without_the_password(
    sqlite_db: Client, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = sqlite_db.engine.url.set(username="somebody", password=password)
    monkeypatch.setattr(sqlite_db.engine, "url", full)

    class Failing(tasks.ORMTask):
        creates = ()

        def run(self) -> None:
            raise ValueError(f"cannot reach {full.render_as_string(hide_password=False)} with {full.password}")

    with pytest.raises(ValueError, match="cannot reach"):
        Failing().run()
    with sqlite_db.create_session() as session:
        (recorded,) = session.scalars(sa.select(Run))
    assert recorded.reason.startswith("ValueError: cannot reach sqlite://somebody:[password hidden]@/")
    assert recorded.reason.endswith("with [password hidden]")


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://user:a@{CORE}@host/db",
        f"postgresql://user:a@{CORE}/b@host/db",
        f"postgresql://user:a@b:{CORE}@host/db",
        f"postgresql://user:a@b?{CORE}=c@host/db",
        f"postgresql:/user:{CORE}@host/db",
        f"user:{CORE}@host/db",
        f"postgresql://user:{CORE}@host:port/db",
        f"nosuchdriver://user:{CORE}@host/db",
        f"postgresql+nosuchdriver://user:{CORE}@host/db",
        f"sqlite://user:{CORE}@host/db",
        "",
        "   ",
    ],
)
def test_malformed_url_is_not_shown(
    url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = shown_by(lambda: Client(connection_string=url))
    monkeypatch.setitem(vars(config), "DATABASE_URL", url or " ")
    told += shown_by(client_module.get_client)
    assert "ConfigError" in told
    assert CORE not in told + caplog.text


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("form", FORMS)
def test_postgresql_is_given_the_password_as_it_is(form: Callable[[sa.URL, str], Client], password: str) -> None:
    server = sa.URL.create("postgresql+psycopg", "somebody", None, "127.0.0.1", 5432, "db")
    client = form(server, password)
    _, arguments = client.engine.dialect.create_connect_args(client.url)
    assert arguments["password"] == password
    assert (arguments["user"], arguments["host"], arguments["dbname"]) == ("somebody", "127.0.0.1", "db")


class _Account:
    def __init__(self, server: sa.Engine, host: str) -> None:
        self.server, self.host = server, host
        self.name = f"ozelot_{uuid.uuid4().hex[:8]}"

    def __enter__(self) -> _Account:
        return self

    def set_password(self, password: str) -> None:
        with self.server.connect() as connection:
            connection.execute(sa.text(f"DROP USER IF EXISTS {self.name}@'{self.host}'"))
            connection.execute(
                sa.text(f"CREATE USER {self.name}@'{self.host}' IDENTIFIED BY :password"), {"password": password}
            )

    def __exit__(self, *_: object) -> None:
        with self.server.connect() as connection:
            connection.execute(sa.text(f"DROP USER IF EXISTS {self.name}@'{self.host}'"))


@pytest.fixture
def account(servers: dict[str, tuple[sa.Engine | None, str]]) -> Iterator[_Account]:
    """A user of the MariaDB server, whose password can be set."""
    server, reason = servers["mariadb"]
    if server is None:
        pytest.skip(reason)
    with server.connect() as connection:
        host = str(connection.scalar(sa.text("SELECT substring_index(user(), '@', -1)")))
    with _Account(server, host) as found:
        yield found


@pytest.mark.parametrize("password", PASSWORDS)
def test_mariadb_accepts_the_password_in_every_form_and_refuses_another(account: _Account, password: str) -> None:
    account.set_password(password)
    server = account.server.url.set(username=account.name, database="information_schema")
    for form in FORMS:
        client = form(server, password)
        client.check_connection()
        with client.create_session() as session:
            assert session.scalar(sa.text("SELECT substring_index(user(), '@', 1)")) == account.name
        client.engine.dispose()
    with pytest.raises(DatabaseUnavailable, match="Access denied") as caught:
        by_params(server, f"{password}x").check_connection()
    assert CORE not in str(caught.value)


class Memory(keyring.backend.KeyringBackend):
    """A keyring that forgets everything when the test ends."""

    priority = 1

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.passwords: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.passwords.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.passwords[service, username] = password


class Locked(Memory):
    """A keyring that does not open."""

    def get_password(self, service: str, username: str) -> str | None:
        raise keyring.errors.KeyringLocked("locked")


@pytest.fixture
def memory() -> Iterator[Memory]:
    before, found = keyring.get_keyring(), Memory()
    keyring.set_keyring(found)
    yield found
    keyring.set_keyring(before)


PARAMS: dict[str, Any] = {
    "driver": "postgresql+psycopg",
    "host": "my.server.com",
    "port": 5432,
    "user": "myuser",
    "password": None,
    "database": "mydb",
}


def test_password_none_is_asked_from_the_keyring(memory: Memory) -> None:
    Client.store_password(PARAMS, f"a@{CORE}")
    assert memory.passwords == {("my.server.com:postgresql+psycopg", "myuser"): f"a@{CORE}"}
    client = Client(params=PARAMS)
    assert client.url.password == f"a@{CORE}"
    assert CORE not in repr(client)
    without = {name: value for name, value in PARAMS.items() if name != "password"}
    assert Client(params=without).url.password == f"a@{CORE}"


def test_password_that_is_nowhere_says_where_to_put_it(memory: Memory) -> None:
    with pytest.raises(RuntimeError, match=r"No password for user 'myuser' on my\.server\.com.*store_password"):
        Client(params=PARAMS)


def test_empty_password_means_none_and_asks_nobody(memory: Memory) -> None:
    Client.store_password(PARAMS, CORE)
    assert Client(params={**PARAMS, "password": ""}).url.password is None
    assert Client(params={**PARAMS, "user": None}).url.password is None


def test_keyring_that_does_not_open_says_so(memory: Memory) -> None:
    keyring.set_keyring(Locked())
    with pytest.raises(ConfigError, match=r"keyring does not give the password of user 'myuser'.*KeyringLocked"):
        Client(params=PARAMS)


@pytest.mark.parametrize(
    ("changes", "hidden", "shown"),
    [
        (
            {"password": "pw"},
            "postgresql+psycopg://myuser:[password hidden]@my.server.com:5432/mydb",
            "postgresql+psycopg://myuser:pw@my.server.com:5432/mydb",
        ),
        (
            {"password": "a@b/c", "port": None},
            "postgresql+psycopg://myuser:[password hidden]@my.server.com/mydb",
            "postgresql+psycopg://myuser:a%40b%2Fc@my.server.com/mydb",
        ),
        (
            {"password": ""},
            "postgresql+psycopg://myuser@my.server.com:5432/mydb",
            "postgresql+psycopg://myuser@my.server.com:5432/mydb",
        ),
        (
            {"user": None},
            "postgresql+psycopg://my.server.com:5432/mydb",
            "postgresql+psycopg://my.server.com:5432/mydb",
        ),
        ({"driver": "sqlite", "host": None, "user": None, "database": "x.db"}, "sqlite:///x.db", "sqlite:///x.db"),
        ({"driver": "sqlite", "host": None, "user": None, "database": "/a/x.db"}, *["sqlite:////a/x.db"] * 2),
    ],
)
def test_connection_string_with_and_without_the_password(changes: dict[str, Any], hidden: str, shown: str) -> None:
    params = {**PARAMS, **changes}
    before = copy.deepcopy(params)
    assert Client.get_connection_string(params) == hidden
    assert Client.get_connection_string(params, hide_password=False) == shown
    assert params == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"database": None}, "Field 'database' of the connection parameters cannot be None"),
        ({"driver": None}, "Field 'driver' of the connection parameters is missing"),
        ({"password": "pw", "port": "x"}, "Field 'port' of the connection parameters is 'x'"),
    ],
)
def test_parameters_that_do_not_describe_a_database_say_so(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Client.get_connection_string({**PARAMS, **changes})


def test_secrets_in_the_query_of_a_url_are_hidden_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    client = Client(connection_string=f"postgresql+psycopg://u@h/d?sslpassword={CORE}&application_name=etl")
    assert CORE not in caplog.text + repr(client)
    assert "?sslpassword=[password hidden]&application_name=etl" in caplog.text
