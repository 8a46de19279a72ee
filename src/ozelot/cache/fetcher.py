"""Getting one page: from the cache or the web, once for all who want it at the same time, if robots.txt allows it."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Generic, TypeVar
from urllib.parse import urldefrag, urlsplit

from protego import Protego

from ozelot import config
from ozelot.cache.encoding import charset_of, compiled, first_node, is_text, text_of
from ozelot.cache.page import Page, error_of, told_by
from ozelot.cache.rate_limit import SLICE, Hosts, Stopped, check_stopped
from ozelot.cache.redirects import check_name
from ozelot.cache.request import (
    ERROR_CONNECTION_ERROR,
    ERROR_DISALLOWED,
    ERROR_OFFLINE,
    ERROR_XPATH_NOT_FOUND,
    Job,
    Request,
    Unreachable,
    is_good,
)
from ozelot.cache.retry import Asker, Reply
from ozelot.cache.storage import Entry, Store
from ozelot.errors import FetchError
from ozelot.redaction import without

_T = TypeVar("_T")


class Flights(Generic[_T]):
    """What is being asked for in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[bytes, Future[_T]] = {}

    def join(self, key: bytes, ask: Callable[[], _T]) -> _T:
        """What ``ask`` gives, or what it gave another thread that had begun before with the same key."""
        while True:
            with self._lock:
                found = self._under_way.get(key)
                if found is None:
                    mine = self._under_way[key] = Future()
                    break
            try:
                return _outcome(found)
            except Stopped:  # nobody wanted it there; here, somebody does
                check_stopped()
        try:
            mine.set_result(ask())
        except BaseException as exc:
            mine.set_exception(exc)
            raise
        finally:
            with self._lock:
                del self._under_way[key]
        return mine.result()


def _outcome(flight: Future[_T]) -> _T:
    while not flight.done():
        try:
            return flight.result(timeout=SLICE)
        except TimeoutError:
            check_stopped()
    return flight.result()


_DAY = 24 * 3600.0


def is_robots_file(url: str) -> bool:
    """Whether an address is that of the rules themselves, which anybody may read."""
    try:
        return urlsplit(url).path == "/robots.txt"
    except ValueError:
        return False


class Robots:
    """The rules of servers, read through the cache and kept in it for a day.

    Args:
        read: gives the text of an address, not older than so many seconds.
    """

    def __init__(self, read: Callable[[str, float], str]) -> None:
        self._read = read
        self._rules: dict[str, Protego] = {}

    def check(self, request: Request, agent: str, every: float | None) -> float | None:
        """Check that a request is allowed, and give the seconds between two requests to that server.

        Raises:
            Unreachable: it is not allowed, or that is unknown.
        """
        parts = urlsplit(request)
        if is_robots_file(request) or parts.scheme not in ("http", "https") or not parts.netloc:
            return every  # what is no address of a server fails when it is asked for
        rules = self.of(request)
        if not rules.can_fetch(urldefrag(request).url, agent):
            refused = Unreachable("the robots.txt of the server forbids it", again=False, sent=False)
            refused.status = ERROR_DISALLOWED
            raise refused
        return max(every or 0.0, rules.crawl_delay(agent) or 0.0) or None

    def of(self, request: Request) -> Protego:
        """The rules of the server of a request; one that has none allows all.

        Raises:
            Unreachable: the server does not say, as it is in trouble; that is no leave to go ahead.
        """
        parts = urlsplit(request)
        site = f"{parts.scheme}://{parts.netloc}"
        if site not in self._rules:
            try:
                text = self._read(f"{site}/robots.txt", _DAY)
            except FetchError as exc:
                if not 400 <= exc.status < 500 or exc.status in (408, 429):
                    unknown = Unreachable(f"it is unknown what robots.txt allows ({exc})", again=False)
                    unknown.status = exc.status
                    raise unknown from exc
                text = ""
            self._rules[site] = Protego.parse(text)
        return self._rules[site]


log = logging.getLogger("ozelot.cache")

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
        refuse_local: whether to refuse servers that are local by their name alone; what a name resolves to is checked
            where the connection is made.
    """

    def __init__(
        self,
        store: Store,
        asker: Asker,
        hosts: Hosts,
        now: Callable[[], float],
        *,
        robots: Robots | None,
        offline: bool | None,
        refuse_local: bool,
    ) -> None:
        self._store = store
        self._asker = asker
        self._hosts = hosts
        self._now = now
        self._robots = robots
        self._offline = offline
        self._refuse_local = refuse_local
        self._guessed: set[str] = set()  # servers of pages whose encoding was a guess
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
        if page.error is not None and job.stale_if_error and _may_be_served_stale(page.status):
            before = self._store.find(job.request, job.xpath)
            if before is not None and is_good(before.status):
                log.warning("Not refreshed, so the page of the cache is used: %s", page.error)
                return Page(page.url, before, from_cache=True, refresh_error=page.error)
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
            before = self._store.find(job.request, job.xpath)
            if before is not None and (job.refresh or not is_good(before.status)):
                before = None
            hop = _Hop(job, before, self._robots, refuse_names=self._refuse_local)
            headers = {"User-Agent": user_agent(), **job.request.headers}
            sent = Request(str(job.request), job.request.method, headers, job.request.body)
            reply = self._asker.ask(sent, at_once=job.at_once, prepare=hop.prepare)
            if reply.status == 304 and before is not None and hop.is_conditional:
                now = self._now()
                same = before._replace(checked=now, headers={**before.headers, **_kept_headers(reply.headers)})
                self._store.still_so(job.request, same)
                return Page(str(job.request), same, from_cache=False)
            return self._came(job, reply)

    def _came(self, job: Job, reply: Reply) -> Page:
        """What came is kept, where it is a page."""
        request, secrets = job.request, job.request.secrets
        told = without(reply.told, secrets)
        status, body = reply.status, told.encode("utf-8", "backslashreplace") if reply.told else reply.body
        encoding = reply.encoding or self._encoding(request, reply.headers.get("content-type"), body, status)
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

    def _encoding(self, request: Request, content_type: str | None, body: bytes, status: int) -> str:
        found = charset_of(content_type, body)
        if found.is_guess and is_good(status) and is_text(content_type) and request.host not in self._guessed:
            self._guessed.add(request.host)
            log.warning(
                "%s is not UTF-8 and declares no charset: read as %s. If that is wrong, decode its 'content'",
                request.shown,
                found.name,
            )
        return found.name

    def _failed(self, job: Job, status: int, told: str) -> Page:
        entry = self.entry(job.request, job.xpath, status, told.encode("utf-8", "backslashreplace"), "utf-8")
        error = error_of(entry, told=told, tries=0, kept=False)
        return Page(str(job.request), entry, from_cache=False, error=error)

    def entry(self, request: Request, xpath: str | None, status: int, body: bytes, encoding: str) -> Entry:
        shown, now = request.shown, self._now()
        found = hashlib.sha256(body).digest()
        return Entry(shown, request.method, xpath, status, now, now, shown, (), {}, encoding, found, len(body), body)


class _Hop:
    """Prepares each request on the way to a page: the first one, and those that redirects ask for.

    Args:
        job: what is wanted.
        before: the page that is kept, if the server is to say whether it has changed.
        robots: the rules of servers, where they are to be honoured.
        refuse_names: whether to refuse names of this machine.

    Attributes:
        is_conditional: whether the last request asked only for what has changed.
    """

    def __init__(self, job: Job, before: Entry | None, robots: Robots | None, *, refuse_names: bool) -> None:
        self._job = job
        self._before = before
        self._robots = None if is_robots_file(job.request) else robots  # rules may be anywhere (RFC 9309, 2.3.1.2)
        self._refuse_names = refuse_names
        self.is_conditional = False

    def prepare(self, request: Request) -> tuple[Request, float | None]:
        """The request as it is to be sent, and the seconds between two requests to its server.

        Raises:
            Unreachable: it is not to be sent.
        """
        every = self._job.every
        try:
            if self._refuse_names:
                check_name(urlsplit(request).hostname or "")
            if self._robots is not None:
                every = self._robots.check(request, user_agent(), every)
        except ValueError as exc:  # an address that Python cannot take apart
            raise Unreachable(str(exc), again=False, sent=False) from exc
        headers = request.headers
        # A validator is that of the address where the page was found; another page may have the same one.
        if self._before is not None and without(str(request), self._job.request.secrets) == self._before.final_url:
            headers = {**_conditions(self._before.headers), **headers}
            request = Request(str(request), request.method, headers, request.body)
        self.is_conditional = any(name.lower() in ("if-none-match", "if-modified-since") for name in headers)
        return request, every


def _may_be_served_stale(status: int) -> bool:
    """Whether the server cannot be asked, or is in trouble: RFC 5861, and timeouts and limits."""
    return 500 <= status < 600 or status in (408, 429, ERROR_CONNECTION_ERROR, ERROR_OFFLINE)


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
