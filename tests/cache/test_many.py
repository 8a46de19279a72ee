"""Many pages at once: in parallel, within the limits of each server, each once, and none lost."""

from __future__ import annotations

import logging
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ozelot.cache import Answer, Request, RequestCache
from ozelot.cache.rate_limit import Timer
from ozelot.errors import ConfigError, FetchError
from ozelot.testing import FakeWeb
from tests import quick
from tests.cache.server import PAGE, Server

pytestmark = pytest.mark.slow


def test_pages_come_as_they_do_and_failures_are_pages_too(tmp_path: Path) -> None:
    urls = [f"https://a.example/{number}" for number in range(30)]
    web = FakeWeb({**dict.fromkeys(urls, "text"), urls[7]: 404})
    with web.cache(tmp_path / "cache.db") as cache:
        cache.put(urls[3], "kept")
        pages = list(cache.get_many(urls))
        assert [(page.url, page.text) for page in pages if page.from_cache] == [(urls[3], "kept")]
        assert sorted(page.url for page in pages) == sorted(urls)
        (failed,) = [page for page in pages if page.error is not None]
        assert failed.url == urls[7]
        with pytest.raises(FetchError, match="HTTP status 404"):
            _ = failed.text
        assert len(web.asked) == 29
        assert sum(page.from_cache for page in cache.get_many(urls)) == 29


def test_url_that_is_asked_for_twice_at_once_is_fetched_once(tmp_path: Path) -> None:
    web = FakeWeb({"https://a.example/": "text"}, latency={"a.example": 0.05}, timer=Timer())
    with web.cache(tmp_path / "cache.db") as cache:
        pages = list(cache.get_many(["https://a.example/"] * 20))
    assert [page.text for page in pages] == ["text"] * 20
    assert len(web.asked) == 1


def test_misses_are_fetched_in_parallel(tmp_path: Path, server: Server) -> None:
    urls = [server(f"/late/{number}") for number in range(80)]
    with RequestCache(tmp_path / "cache.db") as cache:
        begin = time.monotonic()
        pages = list(cache.get_many(urls, concurrency=16))
        took = time.monotonic() - begin
    assert all(page.content == PAGE for page in pages)
    assert took < 80 * 0.05 / 3  # one after the other, it would be longer than 4 s


def test_per_host_holds_for_threads(tmp_path: Path) -> None:
    lock = threading.Lock()
    under_way, most = 0, 0

    def counting(_request: Request) -> Answer:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        Timer().sleep(0.02)
        with lock:
            under_way -= 1
        return Answer(200, "text")

    urls = [f"https://a.example/{number}" for number in range(30)]
    with FakeWeb(dict.fromkeys(urls, counting), timer=Timer()).cache(tmp_path / "cache.db") as cache:
        assert len(list(cache.get_many(urls, concurrency=10, per_host=3))) == 30
    assert most == 3


def test_slow_server_does_not_hold_up_the_others(tmp_path: Path) -> None:
    release = threading.Event()

    def slow(_request: Request) -> Answer:
        assert release.wait(60)
        return Answer(200, "slow")

    slow_urls = [f"https://slow.example/{number}" for number in range(50)]
    quick_urls = [f"https://quick.example/{number}" for number in range(50)]
    web = FakeWeb({**dict.fromkeys(slow_urls, slow), **dict.fromkeys(quick_urls, "quick")}, timer=Timer())
    with web.cache(tmp_path / "cache.db") as cache:
        pages = []
        for page in cache.get_many(slow_urls + quick_urls, concurrency=8):
            pages.append(page.text)
            if pages.count("quick") == 50:
                release.set()
    assert pages == ["quick"] * 50 + ["slow"] * 50


MANY = """
import sys
from ozelot.cache import RequestCache
path, base, number, mine, limits = sys.argv[1:]
with RequestCache(path) as cache:
    sys.stdin.readline()
    urls = [f"{base}/page/{mine}{count}" for count in range(int(number))]
    pages = list(cache.get_many(urls, concurrency=8, **eval(limits)))
    assert [page.status for page in pages] == [200] * len(urls), [page.error for page in pages]
"""


def processes(folder: Path, server: Server, number: int, *, files: bool, limits: str) -> None:
    """Four processes that each fetch so many pages at once: other pages into files of their own, or the same ones."""

    def command(name: str) -> list[str]:
        mine = name if files else ""
        return quick.python("-c", MANY, str(folder / f"{mine}.db"), server.base, str(number), mine, limits)

    started = [
        subprocess.Popen(
            command(name),
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in "abcd"
    ]
    outputs = [process.communicate("go\n", timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0] * 4, outputs


def test_four_processes_with_files_of_their_own_keep_to_one_limit(tmp_path: Path, server: Server) -> None:
    processes(tmp_path, server, 15, files=True, limits="{'rate_limit': 0.05}")
    assert len(server.asked) == 60
    assert server.most_in_a_second() <= 20


def test_four_processes_that_want_the_same_pages_fetch_each_once(tmp_path: Path, server: Server) -> None:
    processes(tmp_path, server, 40, files=False, limits="{}")
    assert sorted(server.paths) == sorted(f"/page/{number}" for number in range(40))


INTERRUPTED = """
import sys
from ozelot.cache import RequestCache
with RequestCache(sys.argv[1]) as cache:
    urls = [f"{sys.argv[2]}/late/{number}" for number in range(100_000)] + [f"{sys.argv[2]}/drip"] * 3
    for number, page in enumerate(cache.get_many([urls[-1], *urls], concurrency=8)):
        print(page.url, flush=True)
"""


def test_interrupted_it_ends_at_once_and_what_came_is_kept(tmp_path: Path, server: Server) -> None:
    process = subprocess.Popen(
        quick.python("-c", INTERRUPTED, str(tmp_path / "cache.db"), server.base),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    came = [process.stdout.readline().strip() for _ in range(40)]
    process.send_signal(signal.SIGINT)
    begin = time.monotonic()
    rest, errors = process.communicate(timeout=60)
    assert time.monotonic() - begin < 10
    assert "KeyboardInterrupt" in errors
    with RequestCache(tmp_path / "cache.db") as cache:
        assert cache.store.check() == []
        for url in [*came, *rest.split()]:
            assert cache.get_page(url).content == PAGE
        assert not cache.has(server("/drip"))


def test_who_has_enough_just_stops(tmp_path: Path) -> None:
    urls = [f"https://a.example/{number}" for number in range(5000)]
    web = FakeWeb(dict.fromkeys(urls, "text"), latency={"a.example": 0.01}, timer=Timer())
    with web.cache(tmp_path / "cache.db") as cache:
        for page in cache.get_many(iter(urls), concurrency=4):
            assert page.text == "text"
            break
    assert len(web.asked) < 200


def test_progress_tells_how_many_of_how_many(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    urls = [f"https://a.example/{number}" for number in range(3)]
    with FakeWeb({urls[0]: "text", urls[1]: "text"}).cache(tmp_path / "cache.db") as cache:
        cache.put(urls[0], "kept")
        list(cache.get_many(urls, progress=True))
        list(cache.get_many(urls))
    (line,) = [record.getMessage() for record in caplog.records if "Pages" in record.getMessage()]
    assert line.startswith("Pages: 3 of 3 (1 failed, 1 fetched, 1 from the cache), ")


def test_xpath_that_is_none_says_so_before_anybody_is_asked(tmp_path: Path) -> None:
    web = FakeWeb()
    with web.cache(tmp_path / "cache.db") as cache, pytest.raises(ConfigError, match="Not an xpath"):
        list(cache.get_many(["https://a.example/"], xpath="//p["))
    assert web.asked == []


def test_addresses_that_are_none_are_failures_like_any_other(tmp_path: Path) -> None:
    urls = ["http://[broken", "no address", "http://", "https://a.example:port/", "https://a.example/"]
    with RequestCache(tmp_path / "cache.db", tries=1) as cache:
        cache.put(urls[-1], "text")
        pages = list(cache.get_many(urls))
    assert sorted(page.url for page in pages if page.error is not None) == sorted(urls[:-1])


ODD = [
    "http://[broken",
    "no address",
    "",
    "   ",
    "\ud800",
    "http://",
    "http:/x",
    "//x.invalid/",
    "mailto:x",
    "file:///etc/passwd",
    "http://127.0.0.1:99999/",
    "http://a\udc80b.invalid/",
    "http://127.0.0.1:1/\udc80",
    "http://127.0.0.1:1/\r\nHost: y",
    "http://127.0.0.1:1/\0",
    "http://a b.invalid/",
    "http://.invalid/",
    f"http://{'a' * 300}.invalid/",
    "http://%zz.invalid/",
    "http://[v1.x]/",
]
BROKEN = [
    b"garbage",
    b"",
    b"HTTP/1.1 999999 X",
    b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\nzz",
    b"HTTP/1.1 200 OK\nX: " + b"y" * 70_000,
    b"HTTP/1.1 200 OK" + b"\nX: y" * 200,
    b"HTTP/1.1 302 X\nLocation: http://\xff\xfe",
    b"HTTP/1.1 302 X\nLocation: http://[",
    b"HTTP/1.1 302 X\nLocation: //\xe2\x98\x83.invalid:x/",
    b"HTTP/1.1 200 OK\nContent-Length: 99999999999999999999",
]


@pytest.mark.parametrize("robots", [False, True])
@pytest.mark.parametrize("options", [{}, {"store_on_error": True}, {"xpath": "//p"}, {"stale_if_error": True}])
def test_page_that_fails_for_good_never_ends_the_others(
    tmp_path: Path, server: Server, robots: bool, options: Any
) -> None:
    for number, head in enumerate(BROKEN):
        server.pages[f"/broken/{number}"] = lambda handler, _, head=head: handler.send(head)  # type: ignore[misc]
    server.pages["/robots.txt"] = lambda handler, _: handler.answer(200, b"\xff\xfe\0 User-agent\0: *\nDisallow: [(*")
    bad = [*ODD, *[server(f"/broken/{number}") for number in range(len(BROKEN))]]
    good = [server(f"/page/{number}") for number in range(3)]
    with RequestCache(tmp_path / "cache.db", tries=1, robots=robots) as cache:
        pages = list(cache.get_many([good[0], *bad, *good[1:]], **options))
    assert sorted(page.url for page in pages) == sorted([*bad, *good])
    assert {page.url for page in pages if page.error is None} == set(good)
    assert [str(page.error) for page in pages if "\n" in str(page.error)] == []
