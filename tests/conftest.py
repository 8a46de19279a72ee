"""Databases for the tests: SQLite always, PostgreSQL and MariaDB where a server answers."""

from __future__ import annotations

import os
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import luigi
import pytest
import sqlalchemy as sa

from ozelot import cache, client
from ozelot.client import Client

EXAMPLES = str(Path(__file__).parents[1] / "examples")

_SERVERS = {
    "postgresql": ("OZELOT_TEST_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"),
    "mariadb": ("OZELOT_TEST_MYSQL_URL", "mysql+pymysql://root@127.0.0.1:3306/"),
}


def _server(name: str) -> tuple[sa.Engine | None, str]:
    variable, default = _SERVERS[name]
    url = os.environ.get(variable, default)
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 3})
    try:
        engine.connect().close()
    except sa.exc.OperationalError:
        if variable in os.environ:
            raise
        return None, f"no {name} answers on 127.0.0.1; name one in {variable}"
    return engine, ""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line each which databases were not there, and what that left out."""
    reasons = Counter(report.longrepr[2] for report in terminalreporter.stats.get("skipped", []))
    for reason, times in reasons.items():
        terminalreporter.write_line(f"{times} tests skipped: {reason.removeprefix('Skipped: ')}")


@pytest.fixture(scope="session")
def servers() -> Iterator[dict[str, tuple[sa.Engine | None, str]]]:
    found = {name: _server(name) for name in _SERVERS}
    yield found
    for engine, _ in found.values():
        if engine is not None:
            engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def database_url(
    request: pytest.FixtureRequest, tmp_path: Path, servers: dict[str, tuple[sa.Engine | None, str]]
) -> Iterator[str]:
    """The URL of a fresh, empty database, once for each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'test.db'}"
        return
    server, reason = servers[request.param]
    if server is None:
        if os.environ.get("OZELOT_TEST_ALL_DATABASES"):
            pytest.fail(reason)
        pytest.skip(reason)
    name = f"ozelot_{uuid.uuid4().hex[:12]}"
    with server.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield server.url.set(database=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        force = " WITH (FORCE)" if request.param == "postgresql" else ""
        connection.execute(sa.text(f"DROP DATABASE {name}{force}"))


@pytest.fixture
def db(database_url: str) -> Iterator[Client]:
    """A client on a fresh, empty database, which all tasks use; the test runs once on each kind of database."""
    with _shared(Client(connection_string=database_url)) as found:
        yield found


@pytest.fixture
def sqlite_db(tmp_path: Path) -> Iterator[Client]:
    """A client on a fresh SQLite database, which all tasks use."""
    with _shared(Client(connection_string=f"sqlite:///{tmp_path / 'test.db'}")) as found:
        yield found


class _shared:  # noqa: N801 - used as a function
    def __init__(self, found: Client) -> None:
        self.found = found

    def __enter__(self) -> Client:
        client.set_client(self.found)
        luigi.task_register.Register.clear_instance_cache()
        return self.found

    def __exit__(self, *_: object) -> None:
        client.set_client(None)
        self.found.engine.dispose()


@pytest.fixture(autouse=True)
def nothing_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test begins without settings, in a folder of its own."""
    for name in [name for name in os.environ if name.startswith("OZELOT_") and "TEST" not in name]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if not folder.startswith(EXAMPLES)])
    monkeypatch.delitem(sys.modules, "project_config", raising=False)
    yield
    client.set_client(None)
    cache.reset_request_cache()
