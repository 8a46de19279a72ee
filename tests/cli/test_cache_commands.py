"""``ozelot cache``: each command, with what it prints and what it leaves."""

from __future__ import annotations

import datetime
import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from ozelot.cache import RequestCache
from ozelot.errors import FetchError
from tests.cache.server import PAGE, Server, serving
from tests.cli.calling import called

pytestmark = pytest.mark.usefixtures("turns_of_their_own")

THOR = "https://wiki.example/Thor"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as found:
        yield found


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "pages.db"
    monkeypatch.setenv("OZELOT_REQUEST_CACHE_PATH", str(path))
    old = datetime.datetime.now() - datetime.timedelta(days=40)
    with RequestCache(path, clock=lambda: old) as cache:
        cache.put(THOR, "<p>Thor</p>")
        cache.put(f"{THOR}?token=geheim", "secret page")
    with RequestCache(path) as cache:
        cache.put("https://other.example/Loki", "gone", status_code=404)
    return path


def test_info_tells_how_many_of_which_servers(path: Path) -> None:
    done = called("cache", "info", "--json")
    told = json.loads(done.out)
    assert (done.code, told["pages"], told["failures"]) == (0, 3, 1)
    assert told["servers"] == {"wiki.example": 2, "other.example": 1}
    told = called("cache", "info").out
    assert "wiki.example       2" in told and "3 pages, of which 1 failure; " in told


def test_commands_make_no_file(tmp_path: Path) -> None:
    for command in (["info"], ["list"], ["verify"], ["clear", "--yes"], ["refresh", "*"]):
        assert called("cache", *command).code == 0
    shown = called("cache", "show", THOR)
    assert shown.code == 1
    assert re.fullmatch(rf"error: {THOR} is not in the request cache \S+\.db\n", shown.err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], [THOR, f"{THOR}?token=[hidden]", "https://other.example/Loki"]),
        ([THOR], [THOR]),
        ([f"{THOR}?token=geheim"], [f"{THOR}?token=[hidden]"]),
        (["*wiki.example*"], [THOR, f"{THOR}?token=[hidden]"]),
        (["--older-than", "30d"], [THOR, f"{THOR}?token=[hidden]"]),
        (["--older-than", "50d"], []),
    ],
)
def test_list_shows_what_is_meant(path: Path, arguments: list[str], expected: list[str]) -> None:
    done = called("cache", "list", "--json", *arguments)
    assert [entry["url"] for entry in json.loads(done.out)] == expected
    assert "geheim" not in called("cache", "list", *arguments).out


def test_age_that_is_none_is_a_usage_error(path: Path) -> None:
    done = called("cache", "list", "--older-than", "long")
    assert (done.code, done.err) == (2, "error: --older-than long: write an age as in 30d, 12h or 90m\n")


def test_show_tells_all_but_the_page(path: Path) -> None:
    (told,) = json.loads(called("cache", "show", THOR).out)
    assert (told["status"], told["bytes"], told["encoding"], told["final_url"]) == (200, 11, "utf-8", THOR)
    assert "Thor</p>" not in called("cache", "show", THOR).out


def test_offline_a_page_that_is_not_kept_is_an_error(path: Path) -> None:
    with serving() as server:
        done = called("cache", "get", server("/page"), "--offline")
        assert (done.code, server.paths) == (1, [])
    assert done.err.startswith(
        f"error: No page from {server('/page')}: it is not in the request cache {path}, and OFFLINE"
    )


@pytest.mark.parametrize("command", ["get", "show"])
def test_a_title_is_no_address(path: Path, command: str) -> None:
    done = called("cache", command, "Anthony_Stark")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: Anthony_Stark is no address of a page: write all of it, as in https://")
    with RequestCache(path) as cache:
        cache.put("Anthony_Stark", "kept under a name of one's own")
    assert called("cache", "show", "Anthony_Stark").code == 0


def test_get_fetches_what_is_not_kept_and_refresh_asks_what_has_changed(path: Path, server: Server) -> None:
    assert called("cache", "get", server("/page"), "--xpath", "//p/text()").out == "Köln\n"
    with RequestCache(path) as cache:
        cache.get(server("/tagged"))
        cache.put(server("/page"), "old")
        cache.get(server("/echo"), data="x")
    done = called("cache", "refresh", f"{server.base}/*", "--rate-limit", "0")
    assert done.out.splitlines() == [
        "1 page changed",
        "1 page left, as only their pipeline knows how to ask for them",
        "2 pages unchanged",
    ]
    assert [headers["if-none-match"] for headers in server.headers if "if-none-match" in headers] == ['"1"']
    with RequestCache(path) as cache:
        assert cache.get_page(server("/page")).content == PAGE


def test_refresh_that_fails_leaves_the_page_and_says_so(path: Path, server: Server) -> None:
    with RequestCache(path) as cache:
        cache.put(server("/gone"), "kept")
    done = called("cache", "refresh", server("/gone"), "--rate-limit", "0")
    assert (done.code, done.out) == (1, "1 page failed\n")
    assert "HTTP status 404" in done.err
    with RequestCache(path) as cache:
        assert cache.get(server("/gone")) == "kept"


def test_a_page_that_is_still_not_there_is_no_failure_of_a_refresh(path: Path, server: Server) -> None:
    with RequestCache(path) as cache:
        cache.put(server("/gone"), "gone", status_code=404)
        with pytest.raises(FetchError):
            cache.get(server("/page"), xpath="//table", store_on_error=True)
    done = called("cache", "refresh", f"{server.base}/*", "--rate-limit", "0")
    assert (done.code, done.out, done.err) == (0, "2 pages still not there\n", "")
    with RequestCache(path) as cache:
        cache.put(server("/gone"), "broken", status_code=500)
    assert called("cache", "refresh", server("/gone"), "--rate-limit", "0").code == 1
    with RequestCache(path) as cache:
        cache.put(server("/page"), "gone", status_code=404)
    done = called("cache", "refresh", server("/page"), "--rate-limit", "0")
    assert (done.code, done.out) == (0, "1 page changed\n1 page still not there\n")


def test_clear_asks_first_and_forgets_what_is_meant(path: Path) -> None:
    refused = called("cache", "clear", "*Thor*")
    assert (refused.code, "2 pages" in refused.out) == (1, True)
    assert called("cache", "clear", "*Thor*", "--yes").out.endswith("Forgot 2 pages\n")
    with RequestCache(path) as cache:
        assert [entry.url for _, entry in cache.store.every()] == ["https://other.example/Loki"]
    assert called("cache", "clear", "--yes").code == 0
    assert not path.exists()


def test_verify_finds_a_page_that_is_not_what_it_was(path: Path) -> None:
    assert called("cache", "verify").out == "3 pages: all are whole\n"
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE cached_page SET hash = zeroblob(32) WHERE id = 1")
        connection.execute("UPDATE cached_page SET body = zeroblob(9) WHERE id = 3")
    connection.close()
    done = called("cache", "verify")
    assert done.code == 1
    assert done.out.splitlines()[0] == f"{THOR}: it is not what it was when it came"
    assert done.out.splitlines()[-1] == "3 pages: 2 broken"


def test_file_that_is_none_is_one_line_and_exit_code_3(path: Path) -> None:
    path.write_text("no cache")
    for command in (["info"], ["list"], ["verify"], ["get", THOR]):
        done = called("cache", *command)
        assert (done.code, len(done.err.splitlines())) == (3, 1)
        assert "this one was left as it is" in done.err
