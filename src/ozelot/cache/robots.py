"""What the ``robots.txt`` of a server allows."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from protego import Protego

from ozelot.cache.request import Request
from ozelot.errors import FetchError

_DAY = 24 * 3600.0


class Robots:
    """The rules of servers, read through the cache and kept in it for a day.

    Args:
        read: gives the text of an address, not older than so many seconds.
    """

    def __init__(self, read: Callable[[str, float], str]) -> None:
        self._read = read
        self._rules: dict[str, Protego] = {}

    def of(self, request: Request) -> Protego:
        """The rules of the server of a request; one that has none allows all.

        Raises:
            FetchError: the server does not say, as it is in trouble; that is no leave to go ahead.
        """
        parts = urlsplit(request)
        site = f"{parts.scheme}://{parts.netloc}"
        if site not in self._rules:
            try:
                text = self._read(f"{site}/robots.txt", _DAY)
            except FetchError as exc:
                if not 400 <= exc.status < 500 or exc.status == 429:
                    raise
                text = ""
            self._rules[site] = Protego.parse(text)
        return self._rules[site]
