"""Databases for the tests: SQLite always, PostgreSQL and MariaDB where a server answers."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import luigi
import pytest

from ozelot import cache, client, config
from ozelot.client import Client
from tests import databases

EXAMPLES = str(Path(__file__).parents[1] / "examples")


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests on PostgreSQL and MariaDB into the slow tier, unless the code that they test branches by database."""
    for item in items:
        if isinstance(item, pytest.Function) and not item.get_closest_marker("servers"):
            parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
            if any(isinstance(value, str) and value in databases.SERVERS for value in parameters):
                item.add_marker(pytest.mark.slow)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line each which databases were not there, and what that left out."""
    reasons = Counter(report.longrepr[2] for report in terminalreporter.stats.get("skipped", []))
    for reason, times in reasons.items():
        terminalreporter.write_line(f"{times} tests skipped: {reason.removeprefix('Skipped: ')}")


@pytest.fixture(scope="session")
def servers() -> Iterator[databases.Servers]:
    found = {kind: databases.server(kind) for kind in databases.SERVERS}
    yield found
    for engine, _ in found.values():
        if engine is not None:
            engine.dispose()


@pytest.fixture(scope="session")
def handed_on(servers: databases.Servers) -> Iterator[databases.Kept | None]:
    """The database of PostgreSQL that the tests of this process share, one after another."""
    server, _ = servers["postgresql"]
    found = None if server is None else databases.Kept(server)
    yield found
    if found is not None:
        found.drop()


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def database_url(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    servers: databases.Servers,
    handed_on: databases.Kept | None,
) -> Iterator[str]:
    """The URL of a fresh, empty database, once for each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'test.db'}"
        return
    server = databases.is_wanted(servers[request.param])
    with handed_on.lent() if request.param == "postgresql" and handed_on else databases.fresh(server) as url:
        yield url


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


@pytest.fixture
def nothing_left_behind(nothing_configured: None) -> Iterator[None]:
    """What commands leave behind that are called within this process is put back."""
    log = logging.getLogger("ozelot")
    level, path = log.level, list(sys.path)
    yield
    log.setLevel(level)
    sys.path[:] = path
    vars(config).pop("PIPELINE", None)


@pytest.fixture
def turns_of_their_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test wait because another one's server, on the same port since, asked to be left alone."""
    folder = tmp_path_factory.mktemp("turns")
    tempfile.gettempdir()  # what this process takes from here on; TMPDIR is for those that it starts
    monkeypatch.setenv("TMPDIR", str(folder))
    for module in ("request_cache", "download"):
        monkeypatch.setattr(f"ozelot.cache.{module}.shared_folder", lambda: folder)
