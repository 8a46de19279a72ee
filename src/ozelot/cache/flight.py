"""One flight: what several threads ask for at once is asked for by one of them, and all get what came."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from ozelot.cache.waiting import SLICE, Stopped, check_stopped

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
