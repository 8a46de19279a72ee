"""Who is answered: by the right name, with the token, and only to look."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

import pytest

from ozelot import client
from ozelot.client import Client
from ozelot.orm.base import Base
from tests.etl import staff
from tests.folders import ROOT
from tests.ui.serving import Served, served

TOKEN = "0123456789abcdef"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a database in which a pipeline was run."""
    url = f"sqlite:///{tmp_path_factory.mktemp('ui') / 'test.db'}"
    database = Client(connection_string=url)
    client.set_client(database)
    Base.create_all(database)
    assert staff.LoadEmployees.build()
    yield url
    client.set_client(None)
    database.engine.dispose()


@pytest.fixture(scope="module")
def page(loaded: str) -> Iterator[Served]:
    """Its page."""
    with served(loaded, staff.LoadEmployees()) as found:
        yield found


@pytest.fixture(scope="module")
def guarded(loaded: str) -> Iterator[Served]:
    """The same beyond this machine, with a token."""
    with served(loaded, staff.LoadEmployees(), host="0.0.0.0", token=TOKEN) as found:
        yield found


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:8421", "127.0.0.1:1", "[::1]:8421"])
def test_the_names_of_this_machine_are_answered(page: Served, host: str) -> None:
    assert page.ask("/", headers={"Host": host}).code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8421",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "",
        "192.168.0.7",
        "[::2]",
        "0",
    ],
)
def test_any_other_name_is_refused(page: Served, host: str) -> None:
    answer = page.ask("/", headers={"Host": host})
    assert answer.code == 400
    assert "LoadEmployees" not in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PROPFIND"])
@pytest.mark.parametrize("path", ["/", "/tasks", "/data", "/events", "/nowhere"])
def test_nothing_but_looking_is_allowed(page: Served, method: str, path: str) -> None:
    answer = page.ask(path, method)
    assert (answer.code, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static/....//app.py",
        "/static/%2e%2e%2f%2e%2e%2fclient.py",
        "/static//etc/passwd",
        "/static/vendor/../../app.py",
        "/data/..%2f..%2fetc%2fpasswd",
        "/data/ozelot_run",
        "/data/sqlite_master",
        "/data/unit;drop table unit",
        "/data/unit%00",
        "/tasks/../../etc/passwd",
        "/tasks/' or 1=1 --",
        "/runs/1%20or%201=1",
        "/runs/-1",
        "/runs/9999999999999999999999",
        "//evil.example/",
        "/\\evil.example",
    ],
)
def test_tricks_with_paths_find_nothing(page: Served, path: str) -> None:
    answer = page.ask(path.replace(" ", "%20"))
    assert answer.code == 404
    assert "root:" not in answer.text
    assert "import" not in answer.text


@pytest.mark.parametrize("path", ["/", "/tasks", "/data", "/runs", "/graph.json", "/static/page.css", "/nowhere"])
def test_every_answer_says_what_a_browser_may_do_with_it(page: Served, path: str) -> None:
    headers = page.ask(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == ("no-cache" if path.startswith("/static") else "no-store")
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("path", ["/", "/tasks", "/graph.json", "/static/page.css", "/events", "/nowhere"])
def test_without_the_token_nothing_is_answered(guarded: Served, path: str) -> None:
    for headers in ({}, {"Cookie": "ozelot_token=0123456789abcdeX"}, {"Authorization": "Bearer other"}):
        answer = guarded.ask(path, headers=headers)
        assert answer.code == 401
        assert TOKEN not in answer.text
    assert guarded.ask(f"{path}?token=other", headers={"Cookie": f"ozelot_token={TOKEN}"}).code == 401


def test_the_token_goes_from_the_address_into_a_cookie(guarded: Served) -> None:
    answer = guarded.ask(f"/tasks?state=failed&token={TOKEN}")
    assert (answer.code, answer.headers["location"]) == (303, "/tasks?state=failed")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert guarded.ask("/tasks", headers={"Cookie": cookie.partition(";")[0]}).code == 200
    assert guarded.ask("/tasks", headers={"Authorization": f"Bearer {TOKEN}"}).code == 200


def test_the_token_sends_nobody_to_another_host(guarded: Served) -> None:
    assert guarded.ask(f"//evil.example/?token={TOKEN}").headers["location"] == "/evil.example/"


def test_beyond_this_machine_a_foreign_name_is_refused_with_the_token_too(guarded: Served) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert guarded.ask("/", headers={**headers, "Host": "evil.example"}).code == 400
    assert guarded.ask("/", headers={**headers, "Host": "192.168.0.7:8421"}).code == 200


def test_what_is_vendored_is_as_it_was_published() -> None:
    vendor = ROOT / "src" / "ozelot" / "ui" / "static" / "vendor"
    told = re.findall(
        r"^\| `([\w.]+)` .*\[(LICENSE\.\w+)\].*`([0-9a-f]{64})` \|$", (vendor / "README.md").read_text(), re.M
    )
    assert {name for name, _, _ in told} == {path.name for path in vendor.glob("*.js")}
    for name, licence, digest in told:
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == digest
        assert "Permission" in (vendor / licence).read_text()
