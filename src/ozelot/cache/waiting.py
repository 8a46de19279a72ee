"""Waiting, in a way that can be told to stop: of many threads that wait, all end soon after Ctrl-C."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SLICE = 0.25  # seconds after which a thread that waits looks whether it is to stop


class Stopped(Exception):
    """Nobody wants any more what this thread waits for."""


class _Stop(threading.local):
    wanted: Callable[[], bool] | None = None


_stop = _Stop()


@contextmanager
def stopping(wanted: Callable[[], bool]) -> Iterator[None]:
    """Let whatever this thread waits for within the block end with :class:`Stopped` once ``wanted`` says so."""
    _stop.wanted = wanted
    try:
        yield
    finally:
        _stop.wanted = None


def check_stopped() -> None:
    """Raise :class:`Stopped` where this thread is to stop."""
    if _stop.wanted is not None and _stop.wanted():
        raise Stopped


class Timer:
    """The time for waits and limits; :class:`ozelot.testing.FakeWeb` has one that only pretends."""

    def now(self) -> float:
        """Seconds, on a clock that all processes of the machine share and nobody sets."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait.

        Raises:
            Stopped: as :func:`stopping` says.
        """
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            check_stopped()
            time.sleep(min(left, SLICE))
        check_stopped()
