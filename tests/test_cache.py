"""The request cache: what it keeps, what it says, and which files it leaves alone."""

from __future__ import annotations

import datetime
import gc
import logging
import pickle
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ozelot import cache, config
from ozelot.cache import ERROR_CONNECTION_ERROR, ERROR_XPATH_NOT_FOUND, RequestCache
from ozelot.client import Client
from ozelot.errors import ConfigError, FetchError
from ozelot.orm.base import Base
from tests.cache.hurried import Hurried
from tests.ports import refusing_port
from tests.sqlite_files import execute_script, query, read_only_folder

pytestmark = pytest.mark.usefixtures("turns_of_their_own")

PAGE = "<html><body><h1>Iron Man</h1> and more <p class='x'>Tony <b>Stark</b></p> tail</body></html>"

ANSWERS: dict[str, tuple[int, str, bytes]] = {
    "/page": (200, "text/html; charset=utf-8", PAGE.encode()),
    "/empty": (200, "text/html", b""),
    "/utf8": (200, "text/html", "Köln, Žižek, 漢字".encode()),
    "/short": (200, "text/html", "é".encode()),
    "/bom": (200, "text/html", b"\xef\xbb\xbfWakanda"),
    "/latin1": (200, "text/html; charset=ISO-8859-1", "Köln".encode("latin-1")),
    "/meta": (
        200,
        "text/html",
        '<html><head><meta charset="iso-8859-1"></head><body>Straße in Köln</body></html>'.encode("latin-1"),
    ),
    "/xml": (200, "text/html", '<?xml version="1.0" encoding="utf-8"?><html><body><p>é</p></body></html>'.encode()),
    "/gone": (404, "text/html", b"no such page"),
    "/broken": (500, "text/html", b"oops"),
}


class Web:
    """A server of the pages above, which counts what it is asked for."""

    def __init__(self, server: ThreadingHTTPServer, asked: list[str]) -> None:
        self.base = f"http://127.0.0.1:{server.server_address[1]}"
        self.asked = asked

    def __call__(self, path: str) -> str:
        return self.base + path


@pytest.fixture
def web() -> Iterator[Web]:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", "/page")
                self.end_headers()
                return
            status, kind, body = ANSWERS[self.path]
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield Web(server, asked)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[RequestCache]:
    with RequestCache(tmp_path / "cache.db", timer=Hurried()) as found:
        yield found


def never(url: str) -> tuple[int, str]:
    raise AssertionError(f"asked for {url}")


def answering(status: int, text: str = "") -> Callable[[str], tuple[int, str]]:
    return lambda _url: (status, text)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("ozelot")]


def test_second_get_asks_nobody_and_gives_the_same(kept: RequestCache, web: Web) -> None:
    assert [kept.get(web("/page")) for _ in range(3)] == [PAGE] * 3
    assert web.asked == ["/page"]


def test_page_is_there_for_another_cache_on_the_same_file(kept: RequestCache, web: Web) -> None:
    kept.get(web("/page"))
    with RequestCache(kept.path, fetch=never) as other:
        assert other.get(web("/page")) == PAGE


def test_log_lines_of_hits_and_misses(kept: RequestCache, web: Web, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ozelot")
    url = web("/page")
    kept.get(url)
    kept.get(url)
    assert messages(caplog) == [f"Request cache miss: {url}", f"Request cache hit: {url}"]


def test_log_lines_can_be_left_out_each_by_itself(
    kept: RequestCache, web: Web, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ozelot")
    kept.get(web("/page"), log_misses=False)
    kept.get(web("/page"), log_hits=False)
    assert messages(caplog) == []
    kept.get(web("/utf8"), log_hits=False)
    kept.get(web("/utf8"), log_misses=False)
    assert messages(caplog) == [f"Request cache miss: {web('/utf8')}", f"Request cache hit: {web('/utf8')}"]


def test_redirects_are_followed_and_kept_under_the_address_asked_for(kept: RequestCache, web: Web) -> None:
    assert kept.get(web("/moved")) == PAGE
    assert kept.has(web("/moved"))
    assert not kept.has(web("/page"))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/utf8", "Köln, Žižek, 漢字"),
        ("/short", "é"),
        ("/bom", "Wakanda"),
        ("/latin1", "Köln"),
    ],
)
def test_text_is_decoded_as_declared_or_else_as_utf8(kept: RequestCache, web: Web, path: str, expected: str) -> None:
    assert kept.get(web(path)) == expected
    assert kept.get(web(path)) == expected


def test_encoding_declared_in_the_page_itself_counts(kept: RequestCache, web: Web) -> None:
    assert "Straße in Köln" in kept.get(web("/meta"))


@pytest.mark.parametrize(("path", "status"), [("/gone", 404), ("/broken", 500)])
def test_failure_raises_and_is_not_kept(kept: RequestCache, web: Web, path: str, status: int) -> None:
    with pytest.raises(FetchError, match=f"No page from {web(path)}: HTTP status {status}") as caught:
        kept.get(web(path))
    assert (caught.value.url, caught.value.status) == (web(path), status)
    assert not kept.has(web(path))
    assert not kept.path.exists()


def test_kept_failure_fails_again_without_a_request(kept: RequestCache, web: Web) -> None:
    with pytest.raises(FetchError):
        kept.get(web("/gone"), store_on_error=True)
    assert kept.has(web("/gone"))
    with pytest.raises(FetchError, match="clear it there") as caught:
        kept.get(web("/gone"))
    assert caught.value.status == 404
    assert web.asked == ["/gone"]


def test_fetch_error_is_a_runtime_error_and_survives_pickling(kept: RequestCache, web: Web) -> None:
    with pytest.raises(RuntimeError) as caught:
        kept.get(web("/gone"))
    copy = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(copy, FetchError)
    assert (str(copy), copy.url, copy.status) == (str(caught.value), web("/gone"), 404)


def test_refused_connection_is_a_fetch_error_of_its_own_status(kept: RequestCache) -> None:
    with refusing_port() as port:
        url = f"http://127.0.0.1:{port}/"
        with pytest.raises(FetchError, match="ConnectionError") as caught:
            kept.get(url, store_on_error=True)
    assert caught.value.status == ERROR_CONNECTION_ERROR == 999
    with pytest.raises(FetchError, match="kept in the request cache"):
        kept.get(url)


@pytest.mark.parametrize("url", ["no address", "http://", "http://a..b/", "ftp://127.0.0.1/x"])
def test_address_that_is_none_is_a_fetch_error(kept: RequestCache, url: str) -> None:
    with pytest.raises(FetchError) as caught:
        kept.get(url)
    assert caught.value.status == ERROR_CONNECTION_ERROR


def test_xpath_gives_and_keeps_the_first_node_alone(kept: RequestCache, web: Web) -> None:
    node = '<p class="x">Tony <b>Stark</b></p>'
    assert kept.get(web("/page"), xpath="//p") == node
    assert kept.get(web("/page"), xpath="//p") == node
    assert kept.get(web("/page"), xpath="//p/@class") == "x"
    assert kept.get(web("/page"), xpath="//p/b/text()") == "Stark"
    assert web.asked == ["/page"] * 3
    assert kept.has(web("/page"), xpath="//p")
    assert not kept.has(web("/page"))


@pytest.mark.parametrize("path", ["/page", "/empty"])
def test_xpath_without_a_node_fails_and_is_not_kept(kept: RequestCache, web: Web, path: str) -> None:
    with pytest.raises(FetchError, match="xpath not found: //table") as caught:
        kept.get(web(path), xpath="//table")
    assert caught.value.status == ERROR_XPATH_NOT_FOUND == 998
    assert not kept.has(web(path), xpath="//table")


def test_xpath_without_a_node_can_be_kept(kept: RequestCache, web: Web) -> None:
    for _ in range(2):
        with pytest.raises(FetchError, match="xpath not found: //table"):
            kept.get(web("/page"), xpath="//table", store_on_error=True)
    assert web.asked == ["/page"]


def test_xpath_on_an_error_page_gives_the_error_of_the_page(kept: RequestCache, web: Web) -> None:
    with pytest.raises(FetchError, match="HTTP status 404"):
        kept.get(web("/gone"), xpath="//p")


@pytest.mark.parametrize("xpath", ["//p[", "", "//p[nothing("])
def test_invalid_xpath_says_so_before_anybody_is_asked(kept: RequestCache, web: Web, xpath: str) -> None:
    with pytest.raises(ConfigError, match="Not an xpath: "):
        kept.get(web("/page"), xpath=xpath)
    assert web.asked == []


def test_xpath_with_an_unknown_prefix_or_function_says_so(kept: RequestCache, web: Web) -> None:
    for xpath in ("//x:p", "//p[nothing()]"):
        with pytest.raises(ConfigError, match="Not an xpath: "):
            kept.get(web("/page"), xpath=xpath)


def test_xpath_on_a_page_that_declares_its_encoding(kept: RequestCache, web: Web) -> None:
    assert kept.get(web("/xml"), xpath="//p") == "<p>é</p>"


def test_rate_limit_waits_between_requests_but_not_before_hits(tmp_path: Path, web: Web) -> None:
    with RequestCache(tmp_path / "cache.db") as kept:
        begin = time.monotonic()
        kept.get(web("/page"), rate_limit=0.2)
        kept.get(web("/utf8"), rate_limit=0.2)
        kept.get(web("/latin1"), rate_limit=0.2)
        assert time.monotonic() - begin >= 0.4
        begin = time.monotonic()
        for _ in range(50):
            kept.get(web("/page"), rate_limit=60)
        assert time.monotonic() - begin < 60


def test_timestamp_is_that_of_the_clock(tmp_path: Path) -> None:
    moment = datetime.datetime(2018, 5, 28, 11, 18, 11, 257000)
    with RequestCache(tmp_path / "c.db", fetch=answering(200, "text"), clock=lambda: moment) as kept:
        assert kept.get_timestamp("http://x") is None
        kept.get("http://x")
        assert kept.get_timestamp("http://x") == moment
        assert kept.get_timestamp("http://x", xpath="//p") is None


def test_clear_forgets_one_page_or_raises_key_error(kept: RequestCache, web: Web) -> None:
    kept.get(web("/page"))
    kept.get(web("/page"), xpath="//p")
    kept.clear(web("/page"))
    assert not kept.has(web("/page"))
    assert kept.has(web("/page"), xpath="//p")
    with pytest.raises(KeyError, match="not in cache"):
        kept.clear(web("/page"))
    kept.clear(web("/page"), xpath="//p")
    assert not kept.has(web("/page"), xpath="//p")


def test_clear_of_everything_deletes_the_file_and_the_cache_goes_on(kept: RequestCache, web: Web) -> None:
    kept.get(web("/page"))
    kept.clear()
    assert list(kept.path.parent.iterdir()) == []
    assert not kept.has(web("/page"))
    assert kept.get(web("/page")) == PAGE


def test_closed_cache_opens_again_when_needed(kept: RequestCache, web: Web) -> None:
    kept.get(web("/page"))
    kept.close()
    kept.close()
    assert kept.get(web("/page")) == PAGE
    assert web.asked == ["/page"]


def test_asking_an_absent_cache_creates_no_file(kept: RequestCache) -> None:
    assert not kept.has("http://x")
    assert kept.get_timestamp("http://x") is None
    with pytest.raises(KeyError):
        kept.clear("http://x")
    kept.clear()
    assert list(kept.path.parent.iterdir()) == []


def test_put_replaces_what_was_kept(kept: RequestCache) -> None:
    kept.put("http://x", "old")
    kept.put("http://x", "new")
    assert kept.get("http://x") == "new"
    with sqlite3.connect(kept.path) as connection:
        assert connection.execute("SELECT count(*) FROM cached_page").fetchone() == (1,)
    connection.close()


def test_drop_all_leaves_the_cache_alone(tmp_path: Path) -> None:
    database = Client(params={"driver": "sqlite", "database": str(tmp_path / "both.db")})
    assert "cachedrequest" not in Base.metadata.tables
    with RequestCache(tmp_path / "both.db") as kept:
        kept.put("http://x", "text")
        Base.create_all(database)
        Base.drop_all(database)
        assert kept.get("http://x") == "text"
    database.engine.dispose()


def test_shared_cache_is_made_once_from_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OZELOT_REQUEST_CACHE_PATH", str(tmp_path / "from environment.db"))
    shared = cache.get_request_cache()
    assert cache.get_request_cache() is shared
    shared.put("http://x", "text")
    assert (tmp_path / "from environment.db").is_file()
    cache.reset_request_cache()
    assert cache.get_request_cache() is not shared
    assert cache.get_request_cache().get("http://x") == "text"


def test_path_assigned_by_the_program_counts_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OZELOT_REQUEST_CACHE_PATH", "environment.db")
    monkeypatch.setitem(vars(config), "REQUEST_CACHE_PATH", str(tmp_path / "assigned.db"))
    assert RequestCache().path == tmp_path / "assigned.db"


def test_default_path_is_in_the_working_folder() -> None:
    assert RequestCache().path == Path("ozelot_web_cache.db")


def test_file_of_0_2_opens_and_hits(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    connection = sqlite3.connect(path)
    connection.executescript(
        """
        CREATE TABLE cachedrequest (
            id INTEGER NOT NULL, url VARCHAR(2048), xpath VARCHAR(512), content VARCHAR,
            status_code INTEGER, queried_on DATETIME, PRIMARY KEY (id));
        CREATE INDEX ix_cachedrequest_url ON cachedrequest (url);
        CREATE INDEX ix_cachedrequest_xpath ON cachedrequest (xpath);
        INSERT INTO cachedrequest VALUES
            (1, 'http://x', NULL, 'whole', 200, '2018-05-28 11:18:11.257000'),
            (2, 'http://x', '//p', '<p>part</p>', 200, '2018-05-28 11:18:12.000000'),
            (3, 'http://y', NULL, 'not found', 404, '2018-05-28 11:18:13.000000');
        """
    )
    connection.close()
    with RequestCache(path, fetch=never) as kept:
        before = path.read_bytes()
        assert kept.get("http://x") == "whole"
        assert kept.get("http://x", xpath="//p") == "<p>part</p>"
        assert kept.get_timestamp("http://x") == datetime.datetime(2018, 5, 28, 11, 18, 11, 257000)
        with pytest.raises(FetchError) as caught:
            kept.get("http://y")
        assert caught.value.status == 404
        assert path.read_bytes() == before
        kept.put("http://z", "new")
        assert kept.get("http://z") == "new"


STORE = """
import sys
from ozelot.cache import RequestCache
with RequestCache(sys.argv[1], fetch=lambda url: (200, "text of " + url)) as kept:
    sys.stdin.readline()
    for number in range(200):
        kept.get(f"http://{sys.argv[2]}/{number}", log_misses=False)
        kept.get(f"http://shared/{number}", log_misses=False, log_hits=False)
"""


@pytest.mark.slow
def test_processes_that_store_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", STORE, path, name], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for name in ("a", "b", "c")
    ]
    outputs = [process.communicate("go\n", timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    with RequestCache(path, fetch=never) as kept:
        for number in range(200):
            for name in ("a", "b", "c", "shared"):
                assert kept.get(f"http://{name}/{number}", log_hits=False) == f"text of http://{name}/{number}"
    assert query(path, "SELECT count(*), count(DISTINCT url) FROM cached_page") == [(800, 800)]


def test_threads_share_one_cache(kept: RequestCache, web: Web) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(kept.get(web("/page")))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [PAGE] * 8
    assert web.asked == ["/page"]


FORK = """
import multiprocessing, os, sys
from ozelot.cache import RequestCache

fork = multiprocessing.get_context("fork")
say, go = fork.Queue(), fork.Event()
kept = RequestCache(sys.argv[1], fetch=lambda url: (200, "text of " + url))

def child():
    kept.get("http://child/before")
    say.put(1)
    assert go.wait(30)
    for number in range(50):
        kept.get(f"http://child/{number}")
    os._exit(0)  # as one that is killed

kept.get("http://parent/before")
process = fork.Process(target=child)
process.start()
say.get(timeout=30)
kept.get("http://parent/after")
kept.close()  # the last one to close the file deletes its log, which the child is writing to
go.set()
process.join()
assert process.exitcode == 0
"""


def test_cache_that_was_used_before_a_fork_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    done = subprocess.run([sys.executable, "-c", FORK, path], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    with RequestCache(path, fetch=never) as kept:
        assert [kept.has(f"http://{url}") for url in ("parent/before", "child/before", "parent/after")] == [True] * 3
        assert all(kept.has(f"http://child/{number}") for number in range(50))


def foreign(path: Path) -> Path:
    return execute_script(path, "CREATE TABLE movie (id INTEGER, name TEXT); INSERT INTO movie VALUES (1, 'Iron Man')")


def text(path: Path) -> Path:
    path.write_text("Dear diary, " * 1000)
    return path


def other_layout(path: Path) -> Path:
    return execute_script(path, "CREATE TABLE cachedrequest (address TEXT, page TEXT)")


@pytest.mark.parametrize("make", [foreign, text, other_layout])
def test_file_that_is_no_request_cache_is_refused_and_left_as_it_is(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    path = make(tmp_path / "not mine.db")
    before = path.read_bytes()
    with RequestCache(path, fetch=answering(200, "text")) as kept:
        for use in (
            lambda: kept.get("http://x"),
            lambda: kept.has("http://x"),
            lambda: kept.get_timestamp("http://x"),
            lambda: kept.put("http://x", "text"),
            lambda: kept.clear("http://x"),
            lambda: kept.clear(),
        ):
            with pytest.raises(ConfigError, match=r"not mine\.db is no request cache.*REQUEST_CACHE_PATH"):
                use()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_folder_in_place_of_the_file_says_what_to_change(tmp_path: Path) -> None:
    kept = RequestCache(tmp_path, fetch=never)
    for use in (lambda: kept.get("http://x"), kept.clear):
        with pytest.raises(ConfigError, match="is a folder: name a file in REQUEST_CACHE_PATH"):
            use()
    assert tmp_path.is_dir()


def test_missing_folder_says_what_to_change(tmp_path: Path) -> None:
    kept = RequestCache(tmp_path / "missing" / "cache.db", fetch=answering(200, "text"))
    with pytest.raises(ConfigError, match="name another file in REQUEST_CACHE_PATH"):
        kept.get("http://x")


READ = """
import sys
from ozelot.cache import RequestCache
from ozelot.errors import ConfigError
kept = RequestCache(sys.argv[1], fetch=lambda url: (200, "new"))
assert kept.get("http://x") == "text"
try:
    kept.get("http://y")
except ConfigError as exc:
    assert "readonly" in str(exc), exc
else:
    sys.exit("wrote to it")
"""


def test_read_only_cache_hits_and_says_that_it_cannot_keep() -> None:
    with read_only_folder() as folder:
        with RequestCache(folder.path / "cache.db") as kept:
            kept.put("http://x", "text")
        done = folder.run(READ, folder.path / "cache.db")
    assert done.returncode == 0, done.stderr


def test_cache_that_is_dropped_closes_its_files_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", warned.append)
    dropped = RequestCache(tmp_path / "dropped.db", fetch=answering(200, "page"))
    assert dropped.get("http://x", rate_limit=0.001) == "page"
    assert dropped.get("http://x") == "page"
    del dropped
    gc.collect()
    assert warned == []
