"""The request cache: every web page is fetched once, so that a run can be repeated in seconds, offline.

One SQLite file with one table, laid out as in ozelot 0.2, whose files open as they are. It is no part of the data
model: ``Base.drop_all`` never touches it.
"""

from __future__ import annotations

import datetime
import logging
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
from lxml import etree, html

from ozelot import config, sqlite
from ozelot.errors import ConfigError, FetchError

log = logging.getLogger(__name__)

#: In place of an HTTP status: there was no connection, or no answer.
ERROR_CONNECTION_ERROR = 999
#: In place of an HTTP status: the page has no node at the xpath.
ERROR_XPATH_NOT_FOUND = 998

_TIMEOUT = (10, 60)  # seconds: to connect, and between two pieces of an answer
_BUSY = 60.0  # seconds to wait for another process that is storing

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS cachedrequest (id INTEGER NOT NULL PRIMARY KEY, url VARCHAR(2048), "
    "xpath VARCHAR(512), content VARCHAR, status_code INTEGER, queried_on DATETIME)",
    "CREATE INDEX IF NOT EXISTS ix_cachedrequest_url ON cachedrequest (url)",
)

#: Asks the web for a URL; gives the HTTP status and the text, or a code of this module and what went wrong.
Fetch = Callable[[str], tuple[int, str]]


def fetch(url: str) -> tuple[int, str]:
    """Ask the web for a URL, following redirects."""
    try:
        with requests.get(url, timeout=_TIMEOUT) as response:
            if "charset" in response.headers.get("Content-Type", "").lower():
                return response.status_code, response.text
            try:
                return response.status_code, response.content.decode("utf-8-sig")
            except UnicodeDecodeError:  # what the page itself declares, or else a guess
                response.encoding = response.apparent_encoding
                return response.status_code, response.text
    except (requests.RequestException, ValueError) as exc:  # ValueError: addresses that requests does not catch
        return ERROR_CONNECTION_ERROR, f"{type(exc).__name__}: {exc}"


class RequestCache:
    """Web pages by URL, kept in a file.

    Args:
        path: the file; by default the setting ``REQUEST_CACHE_PATH``. It is created when something is stored.
        fetch: what gets a page that is not there.
        clock: the time, as stored with each page.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        fetch: Fetch = fetch,
        clock: Callable[[], datetime.datetime] = datetime.datetime.now,
    ) -> None:
        config.show_logs()
        self.path = Path(path if path is not None else config.REQUEST_CACHE_PATH)
        self._fetch = fetch
        self._clock = clock
        self._asked_at: float | None = None
        self._renew()
        _caches.add(self)

    def _renew(self) -> None:
        self._connection: sqlite3.Connection | None = None
        self._writable = False
        self._lock = threading.RLock()  # around each use of the connection
        self._asking = threading.RLock()  # around a look-up and the request that may follow

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get(
        self,
        url: str,
        store_on_error: bool = False,
        xpath: str | None = None,
        rate_limit: float | None = None,
        log_hits: bool = True,
        log_misses: bool = True,
    ) -> str:
        """The text of a page: from the cache, or else from the web and then kept.

        Args:
            url: the address.
            store_on_error: keep a failure, too; asked again, it fails again without a request.
            xpath: give, and keep, only the first node at this xpath, as HTML.
            rate_limit: where the web must be asked, let so many seconds pass since the last request.
            log_hits: log a line where the page was there.
            log_misses: log a line where it was not.

        Raises:
            FetchError: the answer was not good, or the page has no node at the xpath; or that was so when it was kept.
        """
        with self._asking:
            found = self._look_up(url, xpath)
            if found is not None:
                if log_hits:
                    log.info("Request cache hit: %s", url)
                content, status = found
            else:
                if log_misses:
                    log.info("Request cache miss: %s", url)
                status, content = self._ask(url, xpath, rate_limit)
                if _good(status) or store_on_error:
                    self.put(url, content, status_code=status, xpath=xpath)
        if not _good(status):
            kept = " (kept in the request cache: clear it there to ask again)" if found else ""
            raise FetchError(f"No page from {url}: {_told(status, content)}{kept}", url=url, status=status)
        return content

    def put(self, url: str, content: str, *, status_code: int = 200, xpath: str | None = None) -> None:
        """Keep a page, in place of what was kept under the same URL and xpath."""
        with self._lock, self._writing() as connection:
            connection.execute("DELETE FROM cachedrequest WHERE url = ? AND xpath IS ?", (url, xpath))
            connection.execute(
                "INSERT INTO cachedrequest (url, xpath, content, status_code, queried_on) VALUES (?, ?, ?, ?, ?)",
                (url, xpath, content, status_code, self._clock().isoformat(" ", "microseconds")),
            )

    def has(self, url: str, xpath: str | None = None) -> bool:
        """Whether the page (or its failure) is kept."""
        return self._look_up(url, xpath) is not None

    def get_timestamp(self, url: str, xpath: str | None = None) -> datetime.datetime | None:
        """When the page was fetched, in local time; None where it is not kept."""
        row = self._row("queried_on", url, xpath)
        return None if row is None or row[0] is None else datetime.datetime.fromisoformat(row[0])

    def clear(self, url: str | None = None, xpath: str | None = None) -> None:
        """Forget a page; without a URL, close the cache and delete its file.

        Raises:
            KeyError: the page is not kept.
            ConfigError: the file is no request cache; it is left as it is.
        """
        with self._lock:
            if url is None:
                if self.path.exists():
                    self._open()  # refuses a file that is no request cache
                self.close()
                for suffix in ("", "-wal", "-shm"):
                    Path(f"{self.path}{suffix}").unlink(missing_ok=True)
                return
            if not self.has(url, xpath):
                raise KeyError(f"Cannot clear URL, not in cache: {url} xpath: {xpath}")
            with self._writing() as connection:
                connection.execute("DELETE FROM cachedrequest WHERE url = ? AND xpath IS ?", (url, xpath))

    def close(self) -> None:
        """Close the file; it is opened again when needed."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection, self._writable = None, False

    def _open(self) -> sqlite3.Connection:
        """The connection; nothing is written to the file by opening it."""
        if self._connection is None:
            if self.path.is_dir():
                raise ConfigError(f"The request cache {self.path} is a folder: name a file in REQUEST_CACHE_PATH")
            new = None
            try:
                if sqlite.is_read_only(self.path):
                    new = sqlite.connect_read_only(self.path)
                else:
                    new = sqlite3.connect(self.path, timeout=_BUSY, check_same_thread=False)
                tables = {name for (name,) in new.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
                if tables:  # otherwise the file is new
                    new.execute("SELECT id, url, xpath, content, status_code, queried_on FROM cachedrequest LIMIT 0")
            except sqlite3.Error as exc:
                if new is not None:
                    new.close()
                raise ConfigError(
                    f"{self.path} is no request cache, or cannot be read ({exc}): name another file in "
                    "REQUEST_CACHE_PATH; this one was left as it is"
                ) from exc
            self._connection = new
        return self._connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        connection = self._open()
        try:
            if not self._writable:
                sqlite.begin(connection)  # switches a new file to WAL, whatever other processes are doing with it
                for statement in _SCHEMA:
                    connection.execute(statement)
                connection.commit()
                connection.execute("PRAGMA synchronous = NORMAL")
                self._writable = True
            with connection:  # one transaction
                yield connection
        except sqlite3.OperationalError as exc:
            if connection.in_transaction:
                connection.rollback()
            raise ConfigError(
                f"Cannot write to the request cache {self.path} ({exc}): name another file in REQUEST_CACHE_PATH"
            ) from exc

    def _row(self, columns: str, url: str, xpath: str | None) -> tuple[Any, ...] | None:
        with self._lock:
            if not self.path.exists():
                return None
            query = f"SELECT {columns} FROM cachedrequest WHERE url = ? AND xpath IS ? ORDER BY id LIMIT 1"  # noqa: S608
            try:
                row: tuple[Any, ...] | None = self._open().execute(query, (url, xpath)).fetchone()
            except sqlite3.OperationalError:
                if self._open().execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    raise
                return None  # a new file, with no table yet
            return row

    def _look_up(self, url: str, xpath: str | None) -> tuple[str, int] | None:
        row = self._row("content, status_code", url, xpath)
        return None if row is None else (row[0], row[1])

    def _ask(self, url: str, xpath: str | None, rate_limit: float | None) -> tuple[int, str]:
        if xpath is not None:
            _compiled(xpath)  # before anybody is asked
        if rate_limit is not None and self._asked_at is not None:
            time.sleep(max(0.0, self._asked_at + rate_limit - time.monotonic()))
        self._asked_at = time.monotonic()
        status, content = self._fetch(url)
        if xpath is not None and _good(status):
            return _first_node(content, xpath)
        return status, content


def _good(status: int) -> bool:
    return 200 <= status < 300


def _told(status: int, content: str) -> str:
    return content if status >= ERROR_XPATH_NOT_FOUND else f"HTTP status {status}"


def _compiled(xpath: str) -> etree.XPath:
    try:
        return etree.XPath(xpath)
    except etree.XPathError as exc:
        raise ConfigError(f"Not an xpath: {xpath!r} ({exc})") from exc


def _first_node(page: str, xpath: str) -> tuple[int, str]:
    # As bytes: a text that declares an encoding of its own is refused by lxml.
    parser = html.HTMLParser(encoding="utf-8")
    try:
        found = _compiled(xpath)(html.fromstring(page.encode("utf-8", "replace"), parser=parser))
    except etree.XPathError as exc:
        raise ConfigError(f"Not an xpath: {xpath!r} ({exc})") from exc
    except etree.ParserError:  # an empty page
        found = []
    if not isinstance(found, list) or not found:
        return ERROR_XPATH_NOT_FOUND, f"xpath not found: {xpath}"
    node = found[0]
    is_element = isinstance(node, html.HtmlElement)
    return 200, html.tostring(node, encoding="unicode", with_tail=False) if is_element else str(node)


_caches: weakref.WeakSet[RequestCache] = weakref.WeakSet()


def _before_fork() -> None:
    for cache in list(_caches):
        cache.close()  # a process must not have an SQLite file open when it forks


def _after_fork_in_child() -> None:
    for cache in list(_caches):
        cache._renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)


_request_cache: RequestCache | None = None


def get_request_cache() -> RequestCache:
    """The one cache that the whole program shares, made from the settings at first use."""
    global _request_cache
    if _request_cache is None:
        _request_cache = RequestCache()
    return _request_cache


def reset_request_cache() -> None:
    """Close the shared cache; the next use makes it anew from the settings. Its file stays."""
    global _request_cache
    if _request_cache is not None:
        _request_cache.close()
        _request_cache = None
