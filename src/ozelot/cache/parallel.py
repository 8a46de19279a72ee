"""Many pages at once: those that are kept first, the others in parallel, with room for every server."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue

from ozelot.cache.page import Page
from ozelot.cache.rate_limit import stopping
from ozelot.cache.request import Job

log = logging.getLogger("ozelot.cache")

_AHEAD = 1000  # addresses that may wait: enough to see that there are other servers
_TELL = 5.0  # seconds from one line of progress to the next


class Progress:
    """Says every few seconds how far it is.

    Args:
        total: how many pages there will be; None: nobody knows.
        wanted: whether to say anything.
    """

    def __init__(self, total: int | None, *, wanted: bool) -> None:
        self._total = "" if total is None else f" of {total:,}"
        self._wanted = wanted
        self._begun = self._told = time.monotonic()
        self._came: Counter[str] = Counter()

    def count(self, page: Page) -> None:
        """One more page came."""
        self._came["failed" if page.error is not None else "from the cache" if page.from_cache else "fetched"] += 1
        self.tell()

    def tell(self, *, last: bool = False) -> None:
        """Say it, where it is time to."""
        now = time.monotonic()
        if self._wanted and (last or now - self._told >= _TELL):
            self._told = now
            parts = ", ".join(f"{number:,} {what}" for what, number in sorted(self._came.items()))
            number = self._came.total()
            rate = number / max(now - self._begun, 1e-3)
            log.info("Pages: %s%s (%s), %.1f a second", f"{number:,}", self._total, parts or "none yet", rate)


class _Line:
    """Jobs that wait for a worker, by server."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._waiting: dict[str, deque[Job]] = {}
        self._running: Counter[str] = Counter()
        self.length = 0
        self.all_seen = False  # else some workers are left to servers that may yet turn up

    def add(self, job: Job) -> None:
        self._waiting.setdefault(_server(job), deque()).append(job)
        self.length += 1

    def next(self) -> Job | None:
        """A job of the server that has the fewest under way, unless that has its share of the workers already."""
        if not self._waiting or self.busy >= self._workers:
            return None
        servers = len(self._waiting.keys() | self._running.keys()) + (not self.all_seen)
        share = max(1, self._workers // servers)
        server = min(self._waiting, key=lambda name: self._running[name])
        if self._running[server] >= share:
            return None
        job = self._waiting[server].popleft()
        if not self._waiting[server]:
            del self._waiting[server]
        self.length -= 1
        self._running[server] += 1
        return job

    def ended(self, job: Job) -> None:
        server = _server(job)
        self._running[server] -= 1
        if not self._running[server]:
            del self._running[server]

    @property
    def busy(self) -> int:
        return self._running.total()


def _server(job: Job) -> str:
    try:
        return job.request.host
    except ValueError:  # an address that Python cannot take apart
        return ""


def in_parallel(
    jobs: Iterable[Job],
    kept: Callable[[Job], Page | None],
    fetched: Callable[[Job], Page],
    *,
    concurrency: int,
    progress: Progress,
) -> Iterator[tuple[Job, Page]]:
    """The page of each job, as they come.

    Args:
        jobs: what is wanted.
        kept: looks for a page without asking anybody.
        fetched: asks for it.
        concurrency: how many are asked for at a time.
        progress: is told what came.
    """
    stop = threading.Event()
    came: SimpleQueue[tuple[Job, Page | BaseException]] = SimpleQueue()
    line = _Line(concurrency)

    def work(job: Job) -> None:
        with stopping(stop.is_set):
            try:
                came.put((job, fetched(job)))
            except BaseException as exc:  # noqa: BLE001 - handed over to who waits for it
                came.put((job, exc))

    def start(*, all_seen: bool | None = None) -> None:
        if all_seen is not None:
            line.all_seen = all_seen
        while (job := line.next()) is not None:
            pool.submit(work, job)

    def next_one(*, wait: bool) -> tuple[Job, Page] | None:
        try:
            job, page = came.get(block=wait, timeout=_TELL if wait else None)
        except Empty:
            progress.tell()
            return None
        line.ended(job)
        start()
        if isinstance(page, BaseException):
            raise page
        progress.count(page)
        return job, page

    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="ozelot-web")
    try:
        for job in jobs:
            page = kept(job)
            if page is None:
                line.add(job)
                start(all_seen=line.length >= _AHEAD)
            else:
                progress.count(page)
                yield job, page
            while (found := next_one(wait=line.length >= _AHEAD)) is not None:
                yield found
        start(all_seen=True)
        while line.busy:
            if (found := next_one(wait=True)) is not None:
                yield found
        progress.tell(last=True)
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
