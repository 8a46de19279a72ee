"""Ctrl-C during a run: the first one stops handing out tasks, the second one ends at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, cast


class Interruption:
    """Listens for Ctrl-C, where it can: Python tells the main thread only.

    Args:
        stop: is called at the first one; the next one raises ``KeyboardInterrupt``.

    Attributes:
        came: whether there was one.
        was_told: for the caller to note that somebody was told of it.
    """

    def __init__(self, stop: Callable[[], object]) -> None:
        self.came = self.was_told = False
        self._stop = stop
        self._before: Any = None

    def _hear(self, _number: int, _frame: object) -> None:
        if self.came:
            raise KeyboardInterrupt
        self.came = True
        self._stop()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._hear)
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, cast(Callable[..., Any], self._before))
