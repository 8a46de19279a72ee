"""The request cache: every web page is fetched once, so that a run can be repeated in seconds, offline.

One SQLite file with one table, laid out as in ozelot 0.2, whose files open as they are. It is no part of the data
model: ``Base.drop_all`` never touches it.
"""

from __future__ import annotations

import datetime
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import requests
from lxml import etree, html

from ozelot import config
from ozelot.errors import ConfigError, FetchError

log = logging.getLogger(__name__)

#: In place of an HTTP status: there was no connection, or no answer.
ERROR_CONNECTION_ERROR = 999
#: In place of an HTTP status: the page has no node at the xpath.
ERROR_XPATH_NOT_FOUND = 998

_TIMEOUT = (10, 60)  # seconds: to connect, and between two pieces of an answer
_BUSY = 60.0  # seconds to wait for another process that is storing

_SCHEMA = """
CREATE TABLE IF NOT EXISTS cachedrequest (
    id INTEGER NOT NULL PRIMARY KEY,
    url VARCHAR(2048), xpath VARCHAR(512), content VARCHAR, status_code INTEGER, queried_on DATETIME
);
CREATE INDEX IF NOT EXISTS ix_cachedrequest_url ON cachedrequest (url);
"""

#: Asks the web for a URL; gives the HTTP status and the text, or a code of this module and what went wrong.
Fetch = Callable[[str], tuple[int, str]]


def fetch(url: str) -> tuple[int, str]:
    """Ask the web for a URL, following redirects."""
    try:
        with requests.get(url, timeout=_TIMEOUT) as response:
            if "charset" not in response.headers.get("Content-Type", "").lower():
                response.encoding = response.apparent_encoding
            return response.status_code, response.text
    except requests.RequestException as exc:
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
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.RLock()
        self._asked_at: float | None = None

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
        with self._lock:
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
        with self._lock, self._open() as connection:  # one transaction
            connection.execute("DELETE FROM cachedrequest WHERE url = ? AND xpath IS ?", (url, xpath))
            connection.execute(
                "INSERT INTO cachedrequest (url, xpath, content, status_code, queried_on) VALUES (?, ?, ?, ?, ?)",
                (url, xpath, content, status_code, self._clock().isoformat(" ", "microseconds")),
            )

    def has(self, url: str, xpath: str | None = None) -> bool:
        """Whether the page (or its failure) is kept."""
        with self._lock:
            return self._look_up(url, xpath) is not None

    def get_timestamp(self, url: str, xpath: str | None = None) -> datetime.datetime | None:
        """When the page was fetched, in local time; None where it is not kept."""
        with self._lock:
            if not self.path.exists():
                return None
            query = "SELECT queried_on FROM cachedrequest WHERE url = ? AND xpath IS ? ORDER BY id LIMIT 1"
            row = self._open().execute(query, (url, xpath)).fetchone()
        return None if row is None or row[0] is None else datetime.datetime.fromisoformat(row[0])

    def clear(self, url: str | None = None, xpath: str | None = None) -> None:
        """Forget a page; without a URL, close the cache and delete its file.

        Raises:
            KeyError: the page is not kept.
        """
        with self._lock:
            if url is None:
                self.close()
                for suffix in ("", "-wal", "-shm"):
                    Path(f"{self.path}{suffix}").unlink(missing_ok=True)
                return
            if not self.has(url, xpath):
                raise KeyError(f"Cannot clear URL, not in cache: {url} xpath: {xpath}")
            with self._open() as connection:
                connection.execute("DELETE FROM cachedrequest WHERE url = ? AND xpath IS ?", (url, xpath))

    def close(self) -> None:
        """Close the file; it is opened again when needed."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            if self.path.is_dir():
                raise ConfigError(f"The request cache {self.path} is a folder: name a file in REQUEST_CACHE_PATH")
            try:
                new = sqlite3.connect(self.path, timeout=_BUSY, check_same_thread=False)
                new.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; {_SCHEMA}")
            except sqlite3.Error as exc:
                raise ConfigError(
                    f"Cannot open the request cache {self.path} ({exc}): name another file in REQUEST_CACHE_PATH"
                ) from exc
            self._connection = new
        return self._connection

    def _look_up(self, url: str, xpath: str | None) -> tuple[str, int] | None:
        if not self.path.exists():
            return None
        query = "SELECT content, status_code FROM cachedrequest WHERE url = ? AND xpath IS ? ORDER BY id LIMIT 1"
        row: tuple[str, int] | None = self._open().execute(query, (url, xpath)).fetchone()
        return row

    def _ask(self, url: str, xpath: str | None, rate_limit: float | None) -> tuple[int, str]:
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


def _first_node(page: str, xpath: str) -> tuple[int, str]:
    try:
        nodes = html.fromstring(page).xpath(xpath) if page.strip() else []
    except etree.XPathError as exc:
        raise ConfigError(f"Not an xpath: {xpath!r} ({exc})") from exc
    except etree.ParserError:
        nodes = []
    if not isinstance(nodes, list) or not nodes:
        return ERROR_XPATH_NOT_FOUND, f"xpath not found: {xpath}"
    node = nodes[0]
    return 200, html.tostring(node, encoding="unicode") if isinstance(node, html.HtmlElement) else str(node)


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
