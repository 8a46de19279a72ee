"""What servers and networks do wrong: each is one error in one line, and nothing is kept of it."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from ozelot.cache import ERROR_CONNECTION_ERROR, ERROR_TOO_LARGE, RequestCache
from ozelot.errors import FetchError, TooLarge
from tests import quick
from tests.cache.hurried import Hurried
from tests.cache.server import CERTIFICATE, PAGE, Server, serving
from tests.ports import refusing_port


def failure(cache: RequestCache, url: str) -> FetchError:
    """The error for a page, in one line; nothing is kept."""
    with pytest.raises(FetchError) as caught:
        cache.get(url)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"No page from {url}: ")
    assert not cache.has(url)
    return caught.value


def test_refused_connection_is_tried_four_times(cache: RequestCache) -> None:
    with refusing_port() as port:
        error = failure(cache, f"http://127.0.0.1:{port}/")
    assert (error.status, error.tries) == (ERROR_CONNECTION_ERROR, 4)
    assert "refused, 4 times. Check the address and the network" in str(error)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/reset", "reset by peer"),
        ("/cut", "IncompleteRead"),
        ("/broken_gzip", "is no gzip, or breaks off"),
        ("/no_gzip", "is no gzip, or breaks off"),
        ("/half_gzip", "is no gzip, or breaks off (its end is missing)"),
        ("/half_br", "is no br, or breaks off (its end is missing)"),
        ("/half_zstd", "is no zstd, or breaks off (its end is missing)"),
        ("/half_deflate", "is no deflate, or breaks off (its end is missing)"),
        ("/rot13", "in the encoding 'rot13', which nobody asked for"),
        ("/loop", "over 20 redirects"),
        ("/to_file", "begins with http:// or https://"),
        ("/busy_for_hours", "the server asks to be left alone for 7,200 s"),
    ],
)
def test_answer_that_is_none(cache: RequestCache, server: Server, path: str, said: str) -> None:
    assert said in str(failure(cache, server(path)))


def test_body_that_breaks_off_is_asked_for_again(cache: RequestCache, server: Server) -> None:
    assert failure(cache, server("/cut")).tries == 4
    assert server.paths == ["/cut"] * 4


@pytest.mark.parametrize("path", ["/endless", "/bomb", "/large"])
def test_body_beyond_the_limit_is_left(tmp_path: Path, server: Server, path: str) -> None:
    with RequestCache(tmp_path / "cache.db", max_bytes=1_000_000) as cache:
        error = failure(cache, server(path))
    assert isinstance(error, TooLarge)
    assert error.status == ERROR_TOO_LARGE
    assert "longer than the 1,000,000 bytes that 'max_bytes' allows" in str(error)
    assert server.paths == [path]


@pytest.mark.parametrize("path", ["/drip", "/drip_headers"])
def test_slow_drip_ends_when_its_time_is_over(tmp_path: Path, server: Server, path: str) -> None:
    with RequestCache(tmp_path / "cache.db", timeout=0.4, tries=1) as cache:
        begin = time.monotonic()
        error = failure(cache, server(path))
    assert time.monotonic() - begin < 5
    assert "it takes longer than 'timeout' allows" in str(error)


def test_page_of_50_mb_is_kept_as_it_is(cache: RequestCache, server: Server) -> None:
    page = cache.get_page(server("/large"))
    kept = cache.get_page(server("/large"))
    assert len(page.content) == 50_000_000
    assert kept.from_cache and kept.content == page.content
    assert server.paths == ["/large"]


def test_body_ends_where_its_length_says(cache: RequestCache, server: Server) -> None:
    assert cache.get_page(server("/too_short")).content == PAGE[:-10]


def test_empty_body_is_a_page(cache: RequestCache, server: Server) -> None:
    assert [cache.get(server("/empty")) for _ in range(2)] == ["", ""]
    assert server.paths == ["/empty"]


@pytest.mark.parametrize("path", ["/gzip", "/br", "/zstd", "/deflate", "/twice"])
def test_compressed_bodies_are_unpacked(cache: RequestCache, server: Server, path: str) -> None:
    assert [cache.get(server(path)) for _ in range(2)] == [PAGE.decode()] * 2
    assert {"gzip", "br", "zstd"} <= set(server.headers[0]["accept-encoding"].replace(" ", "").split(","))


def test_encoding_that_the_page_declares_counts(cache: RequestCache, server: Server) -> None:
    assert [cache.get(server("/cp1251"), xpath="//p/text()") for _ in range(2)] == ["Привет"] * 2
    assert "Привет" in cache.get(server("/cp1251"))


def test_encoding_that_is_none_of_text_is_not_believed(cache: RequestCache, server: Server) -> None:
    texts = [cache.get(server("/bytes")) for _ in range(2)]
    assert texts[0] == texts[1]
    assert "ABC" in texts[0]
    assert cache.get_page(server("/bytes")).content == bytes(range(256)) * 4


def test_429_is_asked_again_when_the_server_said(tmp_path: Path, server: Server) -> None:
    with RequestCache(tmp_path / "cache.db") as cache:
        assert cache.get(server("/busy")) == PAGE.decode()
    (first, _), (second, _) = server.asked
    assert second - first >= 1


def test_429_that_says_nothing_is_asked_again_a_little_later(tmp_path: Path, server: Server) -> None:
    timer = Hurried()
    with RequestCache(tmp_path / "cache.db", timer=timer) as cache:
        assert cache.get(server("/busy_and_silent")) == PAGE.decode()
    assert len(timer.slept) == 1
    assert 0.5 <= timer.slept[0] <= 1


def test_server_in_trouble_is_asked_again_later_and_later(tmp_path: Path, server: Server) -> None:
    timer = Hurried()
    with RequestCache(tmp_path / "cache.db", timer=timer) as cache:
        assert cache.get(server("/in_trouble")) == PAGE.decode()
    assert server.paths == ["/in_trouble"] * 3
    assert 0.5 <= timer.slept[0] <= 1 <= timer.slept[1] <= 1.5


def test_server_that_asks_for_patience_is_not_asked_again_by_others_either(
    cache: RequestCache, server: Server, tmp_path: Path
) -> None:
    failure(cache, server("/busy_for_hours"))
    with RequestCache(tmp_path / "other.db", timer=Hurried()) as other:
        assert "left alone for 7," in str(failure(other, server("/page")))
    assert server.paths == ["/busy_for_hours"]


def test_certificate_that_nobody_vouches_for_is_an_error_at_once(cache: RequestCache) -> None:
    with serving(secure=True) as server:
        error = failure(cache, server("/page"))
        assert "CERTIFICATE_VERIFY_FAILED" in str(error)
        assert error.tries == 1
        assert server.paths == []


def test_certificate_that_the_user_vouches_for_is_fine(cache: RequestCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    with serving(secure=True) as server:
        assert cache.get(server("/page")) == PAGE.decode()


def test_tls_that_is_none_is_an_error(cache: RequestCache, server: Server) -> None:
    assert "SSL" in str(failure(cache, server("/page").replace("http:", "https:")))


FULL = """
import sys
from ozelot.cache import RequestCache
from ozelot.errors import ConfigError
kept = RequestCache(sys.argv[1], fetch=lambda url: (200, "new " * 10))
kept.get("http://before")
import sqlite3
kept.store._writer.execute("PRAGMA max_page_count = 1")
import random
try:
    kept.put("http://x", random.randbytes(400_000).hex())
except ConfigError as exc:
    assert "full" in str(exc), exc
else:
    sys.exit("it was kept")
assert not kept.has("http://x")
assert kept.get("http://before") == "new " * 10
"""


def test_disk_full_while_storing_keeps_nothing_of_that_page_and_all_others(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    done = subprocess.run(quick.python("-c", FULL, str(path)), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    with RequestCache(path) as cache:
        assert (cache.has("http://before"), cache.has("http://x")) == (True, False)
        assert cache.store.check() == []


KILLED = """
import os, sys
from ozelot.cache import RequestCache
kept = RequestCache(sys.argv[1], fetch=lambda url: (200, f"page of {url} " * 2000))
for number in range(100_000):
    kept.get(f"http://x/{number}", log_misses=False)
    print(number, flush=True)
"""


@pytest.mark.slow
def test_killed_while_storing_loses_nothing_that_was_handed_out(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    last = -1
    for stop_at in (3, 40, 111):
        process = subprocess.Popen(quick.python("-c", KILLED, str(path)), stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= stop_at:
                process.kill()
                break
        rest = [int(line) for line in process.stdout if line.endswith("\n")]
        process.wait()
        process.stdout.close()
        last = max([last, stop_at, *rest])
        with RequestCache(path) as cache:
            assert cache.store.check() == []
            for number in range(last + 1):
                assert cache.get(f"http://x/{number}", log_hits=False) == f"page of http://x/{number} " * 2000
            for _, entry in cache.store.every():
                assert entry.size == len(f"page of {entry.url} ") * 2000


def test_headers_that_the_library_refuses_are_an_error(cache: RequestCache, server: Server) -> None:
    with pytest.raises(FetchError, match="InvalidHeader"):
        cache.get(server("/page"), headers={"X-Broken": "a\nb"})
    assert server.paths == []
