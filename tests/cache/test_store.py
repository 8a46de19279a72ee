"""The file: which ones are taken, which are left as they are, and what a stranger may put in one."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from ozelot.cache import RequestCache
from ozelot.cache.file_format import APPLICATION_ID, VERSION
from ozelot.errors import ConfigError, FetchError
from ozelot.testing import FakeWeb
from tests.sqlite_files import execute_script, read_only_folder

URL = "https://wiki.example/Thor"

OF_0_2 = """
    CREATE TABLE cachedrequest (
        id INTEGER NOT NULL, url VARCHAR(2048), xpath VARCHAR(512), content VARCHAR,
        status_code INTEGER, queried_on DATETIME, PRIMARY KEY (id));
    CREATE INDEX ix_cachedrequest_url ON cachedrequest (url);
    INSERT INTO cachedrequest VALUES
        (1, 'https://wiki.example/Thor', NULL, 'Köln', 200, '2018-05-28 11:18:11.257000'),
        (2, 'https://wiki.example/Loki', NULL, 'gone', 404, '2018-05-28 11:18:13.000000');
"""


def filled(path: Path, pages: int = 1) -> Path:
    with RequestCache(path) as cache:
        for number in range(pages):
            cache.put(URL if not number else f"{URL}/{number}", f"page {number} " + os.urandom(2000).hex())
    return path


def newer(path: Path) -> None:
    execute_script(filled(path), f"PRAGMA user_version = {VERSION + 1}")


def cut_off(path: Path) -> None:
    os.truncate(filled(path, 40), 30_000)


def with_trigger(path: Path) -> None:
    execute_script(filled(path), "CREATE TRIGGER t AFTER INSERT ON cached_page BEGIN DELETE FROM cached_page; END")


def with_view(path: Path) -> None:
    execute_script(
        path,
        f"PRAGMA application_id = {APPLICATION_ID}; CREATE TABLE other (a); "
        "CREATE VIEW cached_page AS SELECT a AS key FROM other",
    )


def with_column_that_computes(path: Path) -> None:
    execute_script(filled(path), "ALTER TABLE cached_page ADD COLUMN more GENERATED ALWAYS AS (hex(zeroblob(1000)))")


def of_another_program(path: Path) -> None:
    execute_script(path, "PRAGMA application_id = 42")


def noise(path: Path) -> None:
    path.write_bytes(os.urandom(20_000))


def short_text(path: Path) -> None:
    path.write_text("hello")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (newer, "was made by a newer ozelot (layout 2; this one knows 1)"),
        (cut_off, "malformed"),
        (with_trigger, "it holds a trigger"),
        (with_view, "not as ozelot makes it"),
        (with_column_that_computes, "not as ozelot makes it"),
        (of_another_program, "is no request cache"),
        (noise, "file is not a database"),
        (short_text, "file is not a database"),
    ],
)
def test_file_that_is_not_to_be_trusted_is_one_error_and_stays_as_it_is(
    tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    path = tmp_path / "cache.db"
    make(path)
    before = path.read_bytes()
    with FakeWeb({URL: "new"}).cache(path) as cache:
        for use in (
            lambda: cache.get(URL),
            lambda: cache.put(URL, "new"),
            lambda: cache.has(URL),
            lambda: cache.clear(URL),
            lambda: cache.clear(),
            lambda: list(cache.get_many([URL])),
            lambda: list(cache.store.every()),
        ):
            with pytest.raises(ConfigError) as caught:
                use()
            assert said in str(caught.value)
            assert "this one was left as it is" in str(caught.value)
            assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("body", b"no zstd"),
        ("size", 10**15),
        ("size", 3),
        ("size", "many"),
        ("status", "fine"),
        ("fetched", b"x"),
        ("headers", "no json"),
        ("redirects", "[" * 100_000),
        ("encoding", "hex"),
        ("encoding", "no such"),
    ],
)
def test_row_that_is_not_as_it_should_be_is_one_error(tmp_path: Path, column: str, value: object) -> None:
    path = filled(tmp_path / "cache.db")
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(f"UPDATE cached_page SET {column} = ?", (value,))
    connection.close()
    with FakeWeb().cache(path) as cache, pytest.raises(ConfigError) as caught:
        cache.get(URL)
    assert "\n" not in str(caught.value)


def test_page_whose_bits_rotted_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    with RequestCache(path) as cache:
        cache.put(URL, "abcdefgh" * 10 + os.urandom(3000).hex())
    connection = sqlite3.connect(path)
    ((body,),) = connection.execute("SELECT body FROM cached_page")
    at = len(body) // 2
    with connection:
        connection.execute("UPDATE cached_page SET body = ?", (body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :],))
    connection.close()
    with RequestCache(path) as cache, pytest.raises(ConfigError, match="damaged"):
        cache.get(URL)


def test_file_of_0_2_is_read_as_it_is_and_gets_new_pages_beside_the_old(tmp_path: Path) -> None:
    path = execute_script(tmp_path / "cache.db", OF_0_2)
    before = path.read_bytes()
    web = FakeWeb({f"{URL}/new": "new", URL: "newer"})
    with web.cache(path) as cache:
        assert cache.get(URL) == "Köln"
        with pytest.raises(FetchError, match="HTTP status 404"):
            cache.get("https://wiki.example/Loki")
        assert [page.text for page in cache.get_many([URL])] == ["Köln"]
        assert len(list(cache.store.every())) == 2
        assert path.read_bytes() == before
        assert cache.get(f"{URL}/new") == "new"
        assert cache.get(URL) == "Köln"
        assert cache.get(URL, refresh=True) == "newer"
        assert cache.get(URL) == "newer"
        assert [entry.url.rpartition("/")[2] for _, entry in cache.store.every()] == ["Loki", "new", "Thor"]
        cache.clear("https://wiki.example/Loki")
        assert not cache.has("https://wiki.example/Loki")
    with web.cache(path) as cache:
        assert cache.get(URL) == "newer"


READ_OF_0_2 = """
import sys
from ozelot.cache import RequestCache
from ozelot.errors import ConfigError
kept = RequestCache(sys.argv[1], fetch=lambda url: (200, "new"))
assert kept.get("https://wiki.example/Thor") == "Köln"
try:
    kept.get("https://wiki.example/new")
except ConfigError as exc:
    assert "readonly" in str(exc), exc
else:
    sys.exit("wrote to it")
"""


def test_file_of_0_2_that_may_only_be_read_is_read() -> None:
    with read_only_folder() as folder:
        path = execute_script(folder.path / "cache.db", OF_0_2)
        done = folder.run(READ_OF_0_2, path)
        assert done.returncode == 0, done.stderr
        assert list(folder.path.iterdir()) == [path]


def test_file_that_another_process_deleted_or_replaced_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    with RequestCache(path) as one, RequestCache(path) as other:
        one.put(URL, "old")
        assert other.get(URL) == "old"
        one.clear()
        assert not other.has(URL)
        one.put(URL, "new")
        assert other.get(URL) == "new"
        one.clear()
        other.put(URL, "newest")
        assert one.get(URL) == "newest"


def test_bytes_are_kept_as_they_are(tmp_path: Path) -> None:
    with RequestCache(tmp_path / "cache.db") as cache:
        cache.put(URL, bytes(range(256)))
        assert cache.get_page(URL).content == bytes(range(256))
        cache.put(URL, "\ufeffmark")
        assert cache.get(URL) == "mark"


def test_pages_are_packed(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    with RequestCache(path) as cache:
        for number in range(20):
            cache.put(f"{URL}/{number}", f"<p>page {number}</p>" * 5000)
    assert path.stat().st_size < 20 * 80_000 / 10
