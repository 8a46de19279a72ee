"""Time in which no sleep takes longer than it must to be one."""

from __future__ import annotations

import threading

from ozelot.cache.rate_limit import Timer


class Hurried(Timer):
    """Notes what it would have slept, and lets that time pass at once."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._ahead = 0.0
        self._lock = threading.Lock()

    def now(self) -> float:
        return super().now() + self._ahead

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.slept.append(seconds)
            self._ahead += seconds
