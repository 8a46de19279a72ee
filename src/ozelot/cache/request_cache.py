"""The request cache: finds a page, or asks for it and keeps it."""

from __future__ import annotations

import datetime
import logging
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

from lxml import html

from ozelot import config
from ozelot.cache.encoding import charset_of, compiled
from ozelot.cache.fetcher import Getter, Robots
from ozelot.cache.page import Page
from ozelot.cache.parallel import Progress, in_parallel
from ozelot.cache.rate_limit import Hosts, Timer, shared_folder
from ozelot.cache.request import Age, Asked, Job, More, Options, Request, is_good, key_of_address, seconds
from ozelot.cache.retry import Asker, Fetch
from ozelot.cache.storage import Store, content_of
from ozelot.cache.transport import Web
from ozelot.db import transaction
from ozelot.redaction import masked

log = logging.getLogger("ozelot.cache")


class RequestCache:
    """Web pages, kept in a file.

    Args:
        path: the file; by default the setting ``REQUEST_CACHE_PATH``. It is created when something is kept.
        fetch: in place of the web: takes a :class:`Request`, which is the address as text, and gives the status and the
            body, or an :class:`Answer`.
        clock: the time, as kept with each page.
        timer: for waits and limits.
        timeout: seconds that a request may take, from its first byte to its last.
        max_bytes: of a page, after decompression.
        tries: how often to ask, at most, where a server does not answer or is in trouble.
        per_host: requests under way to one server, at most, across all processes of this user on this machine.
        robots: whether to honour the ``robots.txt`` of servers, also of those that redirects lead to.
        refuse_local: whether to refuse servers on this machine (loopback) or its link (link-local, such as
            169.254.169.254), whatever name or redirect leads there. Set it where addresses come from others.
        offline: whether nobody is asked; by default the setting ``OFFLINE``.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        fetch: Fetch | None = None,
        clock: Callable[[], datetime.datetime] = datetime.datetime.now,
        timer: Timer | None = None,
        timeout: float = 300.0,
        max_bytes: int = 100_000_000,
        tries: int = 4,
        per_host: int | None = None,
        robots: bool = False,
        refuse_local: bool = False,
        offline: bool | None = None,
    ) -> None:
        config.show_logs()
        self.path = Path(path if path is not None else config.REQUEST_CACHE_PATH)
        self.store = Store(self.path, max_bytes)
        self._per_host = per_host
        self._web = None if fetch is not None else Web(timeout=timeout, max_bytes=max_bytes, refuse_local=refuse_local)
        timer = timer or Timer()
        self._hosts = Hosts(shared_folder() if fetch is None else None, timer)
        asker = Asker(fetch or self._web, self._hosts, timer, tries=tries)  # type: ignore[arg-type]
        rules = Robots(lambda url, age: self.get(url, max_age=age, log_hits=False)) if robots else None
        self._getter = Getter(
            self.store,
            asker,
            self._hosts,
            lambda: clock().timestamp(),
            robots=rules,
            offline=offline,
            refuse_local=refuse_local,
        )
        _caches.add(self)

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
        **more: Unpack[More],
    ) -> str:
        """The text of a page, as :meth:`get_page` finds it.

        Raises:
            FetchError: the answer was not good, or the page has no node at the xpath; or that was so when it was kept.
        """
        return self.get_page(
            url,
            store_on_error=store_on_error,
            xpath=xpath,
            rate_limit=rate_limit,
            log_hits=log_hits,
            log_misses=log_misses,
            **more,
        ).text

    def get_json(self, url: str, **options: Unpack[Options]) -> Any:
        """As :meth:`get_page`, read as JSON."""
        return self.get_page(url, **options).json()

    def get_html(self, url: str, **options: Unpack[Options]) -> html.HtmlElement:
        """As :meth:`get_page`, read as an HTML document by lxml."""
        return self.get_page(url, **options).html()

    def get_page(
        self,
        url: str,
        *,
        store_on_error: bool = False,
        xpath: str | None = None,
        rate_limit: float | None = None,
        log_hits: bool = True,
        log_misses: bool = True,
        max_age: Age | None = None,
        refresh: bool = False,
        stale_if_error: bool = False,
        **asked: Unpack[Asked],
    ) -> Page:
        """A page, with all that is known of it: from the cache, or else from the web and then kept.

        Args:
            url: the address.
            store_on_error: keep a failure, too; asked again, it fails again without a request. A failure never takes
                the place of a page.
            xpath: give, and keep, only the first node at this xpath, as HTML.
            rate_limit: seconds from one request to the same server to the next, at least, across all processes of this
                user on this machine.
            log_hits: log a line where the page was there.
            log_misses: log a line where it was not.
            max_age: seconds (or a timedelta). Where the server last confirmed the page longer ago, it is asked whether
                the page has changed.
            refresh: ask the web, whatever is kept.
            stale_if_error: return the kept page, with a warning, if a page that is due for a refresh cannot be had: no
                connection, offline, 408, 429 or 5xx. An answer that the page is gone is still an error.
            **asked: ``params``, ``headers``, ``method``, ``data`` and ``json``, as for the library requests. All of
                them say which page is meant.

        Raises:
            FetchError: the answer was not good, or the page has no node at the xpath; or that was so when it was kept.
        """
        job = Job(
            Request.of(url, **asked) if asked else Request(url),
            xpath,
            store_on_error=store_on_error,
            max_age=seconds(max_age),
            refresh=refresh,
            every=rate_limit,
            at_once=self._per_host,
            stale_if_error=stale_if_error,
        )
        page = self._getter.kept(job)
        if page is None:
            if log_misses:
                log.info("Request cache miss: %s", job.request.shown)
            page = self._getter.fetched(job)
        elif log_hits:
            log.info("Request cache hit: %s", page.entry.url)
        self._note(job, page)
        if page.error is not None:
            raise page.error
        return page

    def get_many(
        self,
        urls: Iterable[str],
        *,
        concurrency: int = 16,
        rate_limit: float | None = None,
        per_host: int | None = None,
        progress: bool = False,
        store_on_error: bool = False,
        xpath: str | None = None,
        max_age: Age | None = None,
        refresh: bool = False,
        stale_if_error: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[Page]:
        """Many pages, as they come: those that are kept at once, the others in parallel.

        A failure is a page, too: its ``error`` says why, and asking for its ``text`` raises that. What came is kept,
        whenever this is interrupted.

        Args:
            urls: the addresses; what yields them is asked for a thousand more than are under way.
            concurrency: requests under way at a time. Several servers share them, so that a slow one does not hold up
                the others.
            rate_limit: seconds from one request to the same server to the next, at least: 0.05 is 20 a second. It holds
                across all processes of this user on this machine.
            per_host: requests under way to one server, at most, likewise.
            progress: log every few seconds how far it is.
            store_on_error: keep failures, too.
            xpath: as in :meth:`get_page`, as the other arguments.
            max_age: see there.
            refresh: see there.
            stale_if_error: see there.
            headers: see there.
        """
        age = seconds(max_age)
        if xpath is not None:
            compiled(xpath)
        at_once = per_host if per_host is not None else self._per_host
        jobs = (
            Job(Request(url, headers=headers), xpath, store_on_error, age, refresh, rate_limit, at_once, stale_if_error)
            for url in urls
        )
        told = Progress(len(urls) if isinstance(urls, Sized) else None, wanted=progress)
        kept, fetched = self._getter.kept, self._getter.fetched
        for job, page in in_parallel(jobs, kept, fetched, concurrency=concurrency, progress=told):
            self._note(job, page)
            yield page

    def put(self, url: str, content: str | bytes, *, status_code: int = 200, xpath: str | None = None) -> None:
        """Keep a page, in place of what was kept under the same URL and xpath."""
        body = content.encode() if isinstance(content, str) else content
        encoding = "utf-8" if isinstance(content, str) else charset_of(None, content).name
        request = Request(url)
        self.store.keep(request, self._getter.entry(request, xpath, status_code, body, encoding))

    def has(self, url: str, xpath: str | None = None, **asked: Unpack[Asked]) -> bool:
        """Whether the page (or its failure) is kept."""
        return self.store.find(Request.of(url, **asked), xpath, body=False) is not None

    def get_timestamp(self, url: str, xpath: str | None = None, **asked: Unpack[Asked]) -> datetime.datetime | None:
        """When the page was fetched, in local time; None where it is not kept."""
        found = self.store.find(Request.of(url, **asked), xpath, body=False)
        return None if found is None else datetime.datetime.fromtimestamp(found.fetched)

    def clear(self, url: str | None = None, xpath: str | None = None, **asked: Unpack[Asked]) -> None:
        """Forget a page; without a URL, close the cache and delete its file.

        Raises:
            KeyError: the page is not kept.
            ConfigError: the file is no request cache; it is left as it is.
        """
        if url is None:
            self.store.delete_file()
        elif not self.store.forget(Request.of(url, **asked), xpath):
            raise KeyError(f"Cannot clear URL, not in cache: {masked(url)} xpath: {xpath}")

    def close(self) -> None:
        """Close the file, and connections to servers; all is opened again when needed."""
        self.store.close()
        self._hosts.close()
        if self._web is not None:
            self._web.close()

    def _note(self, job: Job, page: Page) -> None:
        """Tell the task under way in this context, if any, what it read."""
        pages = transaction.pages_read()
        if pages is None:
            return
        request, entry = job.request, page.entry
        if page.error is not None and not page.from_cache:
            before = self.store.find(request, job.xpath, body=False)
            if before is not None and is_good(before.status):
                return  # the cache holds a page: that it could not be refreshed is no other content
        pages[request.key(job.xpath)] = key_of_address(request), entry.url, content_of(entry.status, entry.hash)

    def _before_fork(self) -> None:
        self.close()  # a process must not have an SQLite file open when it forks

    def _after_fork_in_child(self) -> None:
        self.store.renew()
        self._hosts.renew()
        self._getter.renew()


_caches: weakref.WeakSet[RequestCache] = weakref.WeakSet()


def _before_fork() -> None:
    for cache in list(_caches):
        cache._before_fork()


def _after_fork_in_child() -> None:
    for cache in list(_caches):
        cache._after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
