"""What the ``robots.txt`` of a server allows."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urldefrag, urlsplit

from protego import Protego

from ozelot.cache.request import ERROR_DISALLOWED, Request, Unreachable
from ozelot.errors import FetchError

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
