"""The request cache: every web page is fetched once, so that a run can be repeated in seconds, offline.

One SQLite file, laid out by :mod:`ozelot.cache.file_format`; files of ozelot 0.2 open as they are. It is no part of the
data model: ``Base.drop_all`` never touches it.
"""

from __future__ import annotations

from ozelot.cache.page import Page
from ozelot.cache.request import (
    ERROR_CONNECTION_ERROR,
    ERROR_DISALLOWED,
    ERROR_LOCAL_TARGET,
    ERROR_OFFLINE,
    ERROR_TOO_LARGE,
    ERROR_XPATH_NOT_FOUND,
    Answer,
    Request,
    Unreachable,
)
from ozelot.cache.request_cache import RequestCache
from ozelot.cache.retry import Fetch

__all__ = [
    "ERROR_CONNECTION_ERROR",
    "ERROR_DISALLOWED",
    "ERROR_LOCAL_TARGET",
    "ERROR_OFFLINE",
    "ERROR_TOO_LARGE",
    "ERROR_XPATH_NOT_FOUND",
    "Answer",
    "Fetch",
    "Page",
    "Request",
    "RequestCache",
    "Unreachable",
    "get_request_cache",
    "reset_request_cache",
    "set_request_cache",
]

_shared: dict[str, RequestCache] = {}  # one entry at most; a dictionary, as setdefault() is atomic
_CACHE = "cache"


def get_request_cache() -> RequestCache:
    """The one cache that the whole program shares, made from the settings at first use."""
    found = _shared.get(_CACHE)
    if found is None:
        made = RequestCache()
        found = _shared.setdefault(_CACHE, made)
        if found is not made:  # another thread was faster
            made.close()
    return found


def current_request_cache() -> RequestCache | None:
    """What :func:`get_request_cache` would return, or None where it would make a new one."""
    return _shared.get(_CACHE)


def set_request_cache(cache: RequestCache | None) -> None:
    """Make ``cache`` the one that :func:`get_request_cache` returns; None: make it anew from the settings.

    The one before is left as it is, not closed.
    """
    _shared.pop(_CACHE, None)
    if cache is not None:
        _shared[_CACHE] = cache


def reset_request_cache() -> None:
    """Close the shared cache; the next use makes it anew from the settings. Its file stays."""
    cache = _shared.pop(_CACHE, None)
    if cache is not None:
        cache.close()
