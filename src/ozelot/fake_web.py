"""A web that is not there, for tests: canned answers, slow and failing servers, and limits that it enforces."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ozelot.cache import Answer, Request, RequestCache
from ozelot.cache.rate_limit import Timer, check_stopped

#: What to answer: a text or bytes (with status 200), a status, an answer, what makes one, or an error to raise.
Canned = str | bytes | int | Answer | Callable[[Request], Answer] | Exception


class PretendedTimer(Timer):
    """Time that passes only where somebody sleeps, and then at once."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._lock = threading.Lock()

    def now(self) -> float:
        """Seconds."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        check_stopped()
        with self._lock:
            self._now += seconds


class FakeWeb:
    """Answers as told, in place of the web.

    ::

        web = FakeWeb({"https://wiki.example/Thor": "<html>Thor</html>", "https://wiki.example/Loki": [503, "Loki"]})
        with web.cache(tmp_path / "cache.db") as cache:
            assert cache.get("https://wiki.example/Loki") == "Loki"
        assert len(web.asked) == 2

    Args:
        pages: by address what to answer; of a list the first answer first, and the last one from then on. What is not
            there is answered with 404. An answer with an ETag is 304 to who has it.
        latency: seconds that an answer takes, by server.
        limits: requests in any second that a server takes, by server; more are answered with 429, and asked to wait.
        timer: the time; by default it only pretends, so that no test has to wait.

    Attributes:
        pages: as given; may be changed.
        asked: all requests, in the order in which they came.
        refused: how many requests were too many, by server.
    """

    def __init__(
        self,
        pages: Mapping[str, Canned | Sequence[Canned]] | None = None,
        *,
        latency: Mapping[str, float] | None = None,
        limits: Mapping[str, int] | None = None,
        timer: Timer | None = None,
    ) -> None:
        self.pages: dict[str, Any] = dict(pages or {})
        self.timer = timer or PretendedTimer()
        self.asked: list[Request] = []
        self.refused: Counter[str] = Counter()
        self._latency = dict(latency or {})
        self._limits = dict(limits or {})
        self._lately: defaultdict[str, deque[float]] = defaultdict(deque)
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    def cache(self, path: str | Path, **options: Any) -> RequestCache:
        """A request cache that asks this web; takes what :class:`ozelot.cache.RequestCache` takes."""
        return RequestCache(path, fetch=self, timer=self.timer, **options)

    def __call__(self, request: Request) -> Answer:
        """Answer a request."""
        with self._lock:
            self.asked.append(request)
            is_refused = self._is_too_much(request.host)
        if latency := self._latency.get(request.host):
            self.timer.sleep(latency)
        if is_refused:
            return Answer(429, "too many requests", {"retry-after": "1"})
        answer = _answer(self._next(request), request)
        tag = {name.lower(): value for name, value in answer.headers.items()}.get("etag")
        given = {name.lower(): value for name, value in request.headers.items()}.get("if-none-match")
        return Answer(304, b"", answer.headers) if tag is not None and tag == given else answer

    def _next(self, request: Request) -> Canned:
        with self._lock:
            found = self.pages.get(str(request), 404)
            if not isinstance(found, list | tuple) or isinstance(found, Answer):
                return found
            number = min(self._taken[str(request)], len(found) - 1)
            self._taken[str(request)] += 1
            return found[number]  # type: ignore[no-any-return]

    def _is_too_much(self, host: str) -> bool:
        limit = self._limits.get(host)
        if limit is None:
            return False
        now, lately = self.timer.now(), self._lately[host]
        while lately and lately[0] <= now - 1:
            lately.popleft()
        if len(lately) >= limit:
            self.refused[host] += 1
            return True
        lately.append(now)
        return False


def _answer(canned: Canned, request: Request) -> Answer:
    if isinstance(canned, Answer):
        return canned
    if isinstance(canned, Exception):
        raise canned
    if isinstance(canned, str | bytes):
        return Answer(200, canned)
    if isinstance(canned, int):
        return Answer(canned, "")
    return canned(request)
