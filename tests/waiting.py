"""Waiting for another thread, process or server."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(
    is_so: Callable[[], object],
    what: str,
    *,
    unless: Callable[[], bool] | None = None,
    seconds: float = 60.0,
    pause: float = 0.005,
) -> None:
    """Wait until something is so.

    Args:
        is_so: whether it is.
        what: the message of the error.
        unless: whether it will never be, such as when a process has ended.
        seconds: how long to wait.
        pause: seconds from one look to the next.
    """
    end = time.monotonic() + seconds
    while not is_so():
        assert unless is None or not unless() or is_so(), what
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(pause)
