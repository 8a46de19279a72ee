"""Bad configuration gives one clear line that names what to change, and an exit code; never a traceback."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests import quick

LOG = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - ozelot - INFO - ")

CHECK = """
from ozelot.client import get_client
from ozelot.errors import exit_on_error
with exit_on_error():
    get_client().check_connection()
print("connected")
"""
CACHE = """
from ozelot.cache import get_request_cache
from ozelot.errors import exit_on_error
with exit_on_error():
    get_request_cache().get("http://127.0.0.1:9/")
"""
DIAGRAM = """
from ozelot.errors import exit_on_error
from ozelot.orm.base import render_diagram
with exit_on_error():
    render_diagram("schema")
"""


def run(folder: Path, script: str, *, imports: bool = False, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a script in that folder; where the test is about its imports, in a new interpreter."""
    path = folder / "script.py"
    path.write_text(script)
    environment = {**os.environ, **{f"OZELOT_{name}": value for name, value in settings.items()}}
    command = [sys.executable, path.name] if imports else quick.python(path.name)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def the_error(done: subprocess.CompletedProcess[str]) -> str:
    """The one line on stderr besides log lines, of a script that ended as it should."""
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if not LOG.match(line)]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert done.returncode == 3
    return lines[0]


def test_good_configuration_exits_with_0(tmp_path: Path) -> None:
    done = run(tmp_path, CHECK)
    assert (done.returncode, done.stdout) == (0, "connected\n"), done.stderr


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("nosuch://user@host/db", "No database driver 'nosuch': use sqlite, postgresql+psycopg or mysql+pymysql"),
        ("postgresql+nosuch://user@host/db", "No database driver 'postgresql+nosuch'"),
        ("sqlite+nosuch:///x.db", "No database driver 'sqlite+nosuch'"),
        ("not a url", "DATABASE_URL (or --database) is not a database URL: write it like postgresql+psycopg://"),
        ("postgresql+psycopg://u:a@b@h/d", "DATABASE_URL has more than one '@'"),
        ("postgresql+psycopg://u@h:port/d", "DATABASE_URL (or --database) is not a database URL"),
        ("weather.db", "'weather.db' is not a database URL: for an SQLite file, write sqlite:///weather.db"),
        ("sqlite://x.db", "DATABASE_URL does not fit its driver: Invalid SQLite URL"),
        ("mysql+pymysql://root@127.0.0.1/x?nonsense=1", "nonsense"),
        ("postgresql+psycopg://postgres@127.0.0.1/x?nonsense=1", "nonsense"),
        ("postgresql+psycopg://postgres@127.0.0.1:99999999/x", "DATABASE_URL"),
        ("mysql+pymysql://root@127.0.0.1:99999999/x", "DATABASE_URL"),
    ],
)
def test_wrong_url(tmp_path: Path, url: str, named: str) -> None:
    assert named in the_error(run(tmp_path, CHECK, DATABASE_URL=url))


@pytest.mark.parametrize(
    ("driver", "module", "package"),
    [
        ("postgresql+psycopg", "psycopg", "ozelot[postgres]"),
        ("postgresql+psycopg2", "psycopg2", "psycopg2-binary"),
        ("mysql+pymysql", "pymysql", "ozelot[mysql]"),
        ("mysql", "MySQLdb", "mysqlclient"),
    ],
)
def test_missing_package_of_a_driver(tmp_path: Path, driver: str, module: str, package: str) -> None:
    missing = f"import sys\nsys.modules[{module!r}] = None\n"
    error = the_error(run(tmp_path, missing + CHECK, imports=True, DATABASE_URL=f"{driver}://user@host/db"))
    assert f"The driver '{driver}' needs a package: pip install '{package}'" in error


@pytest.mark.parametrize("module", ["pandas", "keyring"])
def test_missing_package_of_a_feature(tmp_path: Path, module: str) -> None:
    script = f"""
import sys
sys.modules[{module!r}] = None
import sqlalchemy as sa
from ozelot.client import Client, get_client
from ozelot.errors import exit_on_error
with exit_on_error():
    if {module!r} == "pandas":
        get_client().df_query(sa.select(sa.literal(1)))
    Client(params={{"driver": "postgresql+psycopg", "host": "h", "user": "u", "database": "d"}})
"""
    assert f"pip install 'ozelot[{module}]'" in the_error(run(tmp_path, script, imports=True))


@pytest.mark.parametrize("driver", ["postgresql+psycopg", "mysql+pymysql"])
@pytest.mark.parametrize("host", ["127.0.0.1:9", "localhost:9", "no-such-host.invalid"])
def test_unreachable_server(tmp_path: Path, driver: str, host: str) -> None:
    error = the_error(run(tmp_path, CHECK, DATABASE_URL=f"{driver}://user:geheim@{host}/db"))
    assert f"Cannot connect to {driver}://user:[password hidden]@{host}/db (" in error
    assert "check that the server runs, and host, port, user, password and database in DATABASE_URL" in error
    assert "geheim" not in error


Servers = dict[str, tuple[sa.Engine | None, str]]


def server_url(servers: Servers, name: str, **changes: Any) -> str:
    engine, reason = servers[name]
    if engine is None:
        pytest.skip(reason)
    return engine.url.set(**changes).render_as_string(hide_password=False)


@pytest.mark.parametrize("name", ["postgresql", "mariadb"])
def test_no_such_database(tmp_path: Path, servers: Servers, name: str) -> None:
    error = the_error(run(tmp_path, CHECK, DATABASE_URL=server_url(servers, name, database="no_such_database")))
    assert "no_such_database" in error
    assert "DATABASE_URL" in error


@pytest.mark.parametrize("name", ["postgresql", "mariadb"])
def test_no_such_user(tmp_path: Path, servers: Servers, name: str) -> None:
    url = server_url(servers, name, username="no_such_user", password="geheim")
    error = the_error(run(tmp_path, CHECK, DATABASE_URL=url))
    assert "no_such_user" in error
    assert "geheim" not in error


def test_parameters_of_the_file_are_checked_in_the_same_way(tmp_path: Path) -> None:
    (tmp_path / "project_config.py").write_text("DEFAULT_DB_PARAMS = {'driver': 'sqlite'}")
    assert "Field 'database'" in the_error(run(tmp_path, CHECK))


@pytest.mark.parametrize("text", ["DATABASE_URL = \n", "import nothing_like_this\n", "raise ValueError('a\\nb')\n"])
def test_broken_project_config(tmp_path: Path, text: str) -> None:
    path = tmp_path / "project_config.py"
    path.write_text(text)
    assert f"Cannot read {path} (line 1): " in the_error(run(tmp_path, CHECK))


def test_folder_project_config(tmp_path: Path) -> None:
    (tmp_path / "project_config").mkdir()
    assert "rename the folder" in the_error(run(tmp_path, CHECK))


def test_folder_where_the_sqlite_file_should_be(tmp_path: Path) -> None:
    (tmp_path / "ozelot.db").mkdir()
    error = the_error(run(tmp_path, CHECK))
    assert "The database ozelot.db is a folder: name a file in DATABASE_URL" in error


def test_missing_parent_folder_of_the_sqlite_file(tmp_path: Path) -> None:
    error = the_error(run(tmp_path, CHECK, DATABASE_URL="sqlite:///missing/x.db"))
    assert f"No folder {tmp_path / 'missing'} for the database x.db: create it, or change DATABASE_URL" in error
    assert not (tmp_path / "missing").exists()


def test_file_that_is_no_database_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "diary.txt"
    path.write_text("Dear diary, " * 1000)
    error = the_error(run(tmp_path, CHECK, DATABASE_URL="sqlite:///diary.txt"))
    assert "Cannot open the database diary.txt (file is not a database)" in error
    assert path.read_text() == "Dear diary, " * 1000


def test_log_level_that_is_none(tmp_path: Path) -> None:
    assert "LOG_LEVEL is 'loud': use DEBUG, INFO" in the_error(run(tmp_path, CHECK, LOG_LEVEL="loud"))


def test_folder_where_the_request_cache_should_be(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    error = the_error(run(tmp_path, CACHE, REQUEST_CACHE_PATH="pages"))
    assert "The request cache pages is a folder: name a file in REQUEST_CACHE_PATH" in error


def test_request_cache_that_is_no_database_or_a_foreign_one(tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("Dear diary, " * 1000)
    error = the_error(run(tmp_path, CACHE, REQUEST_CACHE_PATH="diary.txt"))
    assert "diary.txt is no request cache" in error
    assert "name another file in REQUEST_CACHE_PATH" in error
    connection = sqlite3.connect(tmp_path / "movies.db")
    connection.execute("CREATE TABLE movie (id INTEGER)")
    connection.close()
    assert "movies.db is no request cache" in the_error(run(tmp_path, CACHE, REQUEST_CACHE_PATH="movies.db"))


def test_dot_executable_that_is_no_program(tmp_path: Path) -> None:
    error = the_error(run(tmp_path, DIAGRAM, DOT_EXECUTABLE="no-such-dot"))
    assert "DOT_EXECUTABLE names no program: no-such-dot" in error
    assert (tmp_path / "schema.dot").exists()
