"""The command that serves the status page: what it prints, and what it refuses."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ozelot.client import Client
from ozelot.orm.base import Base
from tests import quick
from tests.cli.calling import called
from tests.etl import staff
from tests.folders import ROOT

PIPELINE = ["--pipeline", "tests.etl.staff:LoadEmployees"]


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, running, and the address that it printed."""
    command = quick.ozelot("ui", "--port", "0", *arguments)
    plain = {name: value for name, value in os.environ.items() if not name.startswith("OZELOT_")}
    with subprocess.Popen(
        command, env=plain, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        opened = re.fullmatch(r"Open http://(\S+)\n", process.stdout.readline())
        assert process.stdout.readline() == "It shows what is there, and changes nothing. Stop it with Ctrl-C\n"
        try:
            yield process, opened[1] if opened else ""
        finally:
            process.kill()


def asked(address: str, path: str) -> tuple[int, str]:
    host = address.partition("/")[0]
    connection = http.client.HTTPConnection(host, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    found = answer.status, answer.read().decode()
    connection.close()
    return found


@pytest.mark.slow
def test_it_serves_the_pipeline_until_ctrl_c_also_while_somebody_looks(sqlite_db: Client) -> None:
    Base.create_all(sqlite_db)
    with serving("--database", str(sqlite_db.url), *PIPELINE) as (process, address):
        code, text = asked(address, "/tasks")
        assert code == 200
        assert "LoadEmployees" in text
        watching = http.client.HTTPConnection(address.partition("/")[0], timeout=30)
        watching.request("GET", "/events")
        assert watching.getresponse().readline() == b"retry: 2000\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        watching.close()
    assert (process.returncode, out, err) == (0, "", "")


def test_without_a_pipeline_it_serves_what_the_database_knows_and_leaves_the_file_as_it_is(sqlite_db: Client) -> None:
    Base.create_all(sqlite_db)
    assert staff.LoadEmployees.build()
    sqlite_db.engine.dispose()
    path = Path(str(sqlite_db.url.database))
    before = path.read_bytes()
    with serving("--database", str(sqlite_db.url)) as (_, address):
        for page in ("/", "/tasks", "/runs", "/data", "/data/unit?profile=1", "/graph.json"):
            assert asked(address, page)[0] == 200
        assert "LoadUnits" in asked(address, "/tasks")[1]
    assert path.read_bytes() == before


def test_a_token_is_made_and_printed_in_the_address(sqlite_db: Client) -> None:
    Base.create_all(sqlite_db)
    with serving("--database", str(sqlite_db.url), "--token", "new", *PIPELINE) as (_, address):
        host, _, query = address.partition("/?token=")
        assert len(query) >= 32
        assert asked(host, "/")[0] == 401
        assert asked(host, f"/?token={query}")[0] == 303


def test_what_others_could_reach_needs_a_token(sqlite_db: Client) -> None:
    done = called("ui", "--host", "0.0.0.0", "--database", str(sqlite_db.url))
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: Others could reach 0.0.0.0: add --token SECRET, or --token new, which makes one\n"


def test_a_token_that_can_be_guessed_is_refused_and_not_shown() -> None:
    done = called("ui", "--token", "secret")
    assert done.code == 2
    assert done.err == "error: A token that short can be guessed: take 16 characters or more, or --token new\n"


def test_a_port_that_is_taken_is_one_line(sqlite_db: Client) -> None:
    Base.create_all(sqlite_db)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = called("ui", "--port", str(port), "--database", str(sqlite_db.url), *PIPELINE)
    assert done.code == 3
    assert done.err == (
        f"error: Cannot listen on 127.0.0.1, port {port}: Address already in use. Choose another with --port\n"
    )


def test_a_database_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    done = called("ui", "--database", f"sqlite:///{tmp_path / 'nowhere.db'}")
    assert done.code == 3
    assert done.err.startswith("error: There is no database file")


@pytest.mark.parametrize("package", ["starlette", "jinja2", "uvicorn"])
def test_a_package_that_is_missing_is_one_line(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    done = called("ui")
    assert done.code == 3
    assert done.err == f"error: The status page needs {package}: pip install 'ozelot[ui]'\n"
