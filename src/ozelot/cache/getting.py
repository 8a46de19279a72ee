"""Getting one page: as it is kept, or from the web, once for all who want it at the same time."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
from collections.abc import Callable, Mapping

from ozelot import config
from ozelot.cache.asking import Asker, Reply
from ozelot.cache.flight import Flights
from ozelot.cache.hosts import Hosts
from ozelot.cache.options import Job
from ozelot.cache.page import Page, error_of, told_by
from ozelot.cache.request import ERROR_DISALLOWED, ERROR_OFFLINE, ERROR_XPATH_NOT_FOUND, Request, is_good
from ozelot.cache.robots import Robots
from ozelot.cache.secrets import without
from ozelot.cache.store import Entry, Store
from ozelot.cache.text import compiled, encoding_of, first_node, text_of

#: What is kept of the headers of an answer.
_KEPT = {"cache-control", "content-disposition", "content-language", "content-type", "date", "etag", "expires"}
_KEPT |= {"last-modified", "link"}


class Getter:
    """Gets pages.

    Args:
        store: what is kept.
        asker: asks the web.
        hosts: where processes agree on who asks.
        now: the time, in seconds since 1970.
        robots: the rules of servers, where they are to be honoured.
        offline: whether nobody is asked; None: as the setting says at that moment.
    """

    def __init__(
        self,
        store: Store,
        asker: Asker,
        hosts: Hosts,
        now: Callable[[], float],
        robots: Robots | None,
        offline: bool | None,
    ) -> None:
        self._store = store
        self._asker = asker
        self._hosts = hosts
        self._now = now
        self._robots = robots
        self._offline = offline
        self.renew()

    def renew(self) -> None:
        """Forget what is under way, as a forked child must."""
        self._flights: Flights[Page] = Flights()

    def kept(self, job: Job) -> Page | None:
        """The page as it is kept, where it need not be asked for."""
        if job.refresh:
            return None
        found = self._store.find(job.request, job.xpath)
        if found is None or not (job.max_age is None or self._now() - found.checked <= job.max_age):
            return None
        if is_good(found.status):
            return Page(str(job.request), found, from_cache=True)
        error = error_of(found, told=told_by(found), tries=0, kept=True)
        return Page(str(job.request), found, from_cache=True, error=error)

    def fetched(self, job: Job) -> Page:
        """The page from the web, which several threads and processes ask for once; it is kept."""
        if job.xpath is not None:
            compiled(job.xpath)  # before anybody is asked
        key = job.request.key(job.xpath)
        page = self._flights.join(key, lambda: self._asked(job, key))
        if page.error is not None and job.store_on_error and not page.from_cache and page.status != ERROR_OFFLINE:
            before = self._store.find(job.request, job.xpath, body=False)
            if before is None or not is_good(before.status):
                self._store.keep(job.request, page.entry)
        return page

    def _asked(self, job: Job, key: bytes) -> Page:
        if config.flag("OFFLINE") if self._offline is None else self._offline:
            path = self._store.path
            there = f"it is not in the request cache {path}"
            none = f"there is no request cache {path} (REQUEST_CACHE_PATH says where)"
            return self._failed(job, ERROR_OFFLINE, f"{there if path.exists() else none}, and OFFLINE is set")
        began = self._now()
        with self._hosts.alone(f"{self._store.path.absolute()} {key.hex()}") as waited:
            page = self.kept(job._replace(refresh=False)) if waited or not job.refresh else None
            if page is not None and (not job.refresh or page.entry.checked >= began):
                return page  # another thread or process was faster
            every = job.every
            if self._robots is not None and not job.request.partition("?")[0].endswith("/robots.txt"):
                rules = self._robots.of(job.request)
                if not rules.can_fetch(str(job.request), user_agent()):
                    return self._failed(job, ERROR_DISALLOWED, "the robots.txt of the server forbids it")
                every = max(every or 0.0, rules.crawl_delay(user_agent()) or 0.0) or None
            before = self._store.find(job.request, job.xpath)
            headers = {"User-Agent": user_agent(), **job.request.headers}
            if before is not None and not job.refresh and is_good(before.status):
                headers = {**_conditions(before.headers), **headers}
            sent = Request(str(job.request), job.request.method, headers, job.request.body)
            reply = self._asker.ask(sent, every=every, at_once=job.at_once)
            if reply.status == 304 and before is not None:
                now = self._now()
                same = before._replace(checked=now, headers={**before.headers, **_kept_headers(reply.headers)})
                self._store.still_so(job.request, same)
                return Page(str(job.request), same, from_cache=False)
            return self._came(job, reply)

    def _came(self, job: Job, reply: Reply) -> Page:
        """What came is kept, where it is a page."""
        request, secrets = job.request, job.request.secrets
        told = without(reply.told, secrets)
        status, body = reply.status, told.encode() if reply.told else reply.body
        encoding = reply.encoding or encoding_of(reply.headers.get("content-type"), body)
        if job.xpath is not None and is_good(status):
            node = first_node(text_of(body, encoding), job.xpath)
            if node is None:
                status = ERROR_XPATH_NOT_FOUND
                told = f"xpath not found: {job.xpath}"
            body, encoding = (told if node is None else node).encode("utf-8", "replace"), "utf-8"
        entry = self.entry(request, job.xpath, status, body, encoding)._replace(
            final_url=without(reply.url, secrets),
            redirects=[(code, without(url, secrets)) for code, url in reply.redirects],
            headers={name: without(value, secrets) for name, value in _kept_headers(reply.headers).items()},
        )
        if is_good(status):
            self._store.keep(request, entry)
            return Page(str(request), entry, from_cache=False)
        error = error_of(entry, told=told, tries=reply.tries, kept=False)
        if reply.cause is not None and not secrets:  # else its text would show them
            error.__cause__ = reply.cause
        return Page(str(request), entry, from_cache=False, error=error)

    def _failed(self, job: Job, status: int, told: str) -> Page:
        entry = self.entry(job.request, job.xpath, status, told.encode(), "utf-8")
        error = error_of(entry, told=told, tries=0, kept=False)
        return Page(str(job.request), entry, from_cache=False, error=error)

    def entry(self, request: Request, xpath: str | None, status: int, body: bytes, encoding: str) -> Entry:
        shown, now = request.shown, self._now()
        found = hashlib.sha256(body).digest()
        return Entry(shown, request.method, xpath, status, now, now, shown, (), {}, encoding, found, len(body), body)


def _conditions(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers that ask only for what has changed."""
    found = {"If-None-Match": headers.get("etag"), "If-Modified-Since": headers.get("last-modified")}
    return {name: value for name, value in found.items() if value}


def _kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name in _KEPT}


@functools.cache
def _version() -> str:
    return importlib.metadata.version("ozelot")


def user_agent() -> str:
    """What to call oneself: the setting, or the pipeline and ozelot."""
    given = config.USER_AGENT
    if given:
        return str(given)
    project = str(config.PIPELINE or "").partition(":")[0].partition(".")[0]
    ours = f"ozelot/{_version()}"
    return f"{project} ({ours})" if project else ours
