"""What can be said of a page that is wanted, as keywords."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

from ozelot.cache.request import Request

Age = float | datetime.timedelta


class Asked(TypedDict, total=False):
    """What says which page is meant, next to its address; as for the library requests."""

    params: Mapping[str, Any] | Sequence[tuple[str, Any]] | None
    headers: Mapping[str, str] | None
    method: str | None
    data: Mapping[str, Any] | str | bytes | None
    json: Any


class More(Asked, total=False):
    """What else :meth:`RequestCache.get` takes."""

    max_age: Age | None
    refresh: bool
    stale_if_error: bool


class Options(More, total=False):
    """What :meth:`RequestCache.get_page` takes."""

    store_on_error: bool
    xpath: str | None
    rate_limit: float | None
    log_hits: bool
    log_misses: bool


class Job(NamedTuple):
    """One page that somebody wants, as :meth:`RequestCache.get_page` was told."""

    request: Request
    xpath: str | None = None
    store_on_error: bool = False
    max_age: float | None = None
    refresh: bool = False
    every: float | None = None
    at_once: int | None = None
    stale_if_error: bool = False


def seconds(age: Age | None) -> float | None:
    """An age in seconds."""
    return age.total_seconds() if isinstance(age, datetime.timedelta) else age
