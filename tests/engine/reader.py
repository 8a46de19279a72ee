"""Somebody who reads all the time, and remembers each state that there was."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.engine.contents import Contents, engine_for, look
from tests.engine.steps import PATIENCE


class Reader:
    """Reads everything again and again, each time by one statement.

    Args:
        url: of the database.
        waiting: the name of a task that waits in the middle; it may go on when it was looked at.
    """

    def __init__(self, url: str, waiting: str = "") -> None:
        self._engine = engine_for(url)
        self._waiting = waiting
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._looked = threading.Event()
        self.seen: list[Contents] = []
        self.looks = self.looks_in_the_middle = 0
        self.error: BaseException | None = None

    def _read(self) -> None:
        try:
            with self._engine.connect() as connection:
                while not self._stop.wait(0.002):  # so that the others come to something, too
                    is_in_the_middle = bool(self._waiting) and Path(f"came by {self._waiting}").exists()
                    found = look(connection)
                    self.looks += 1
                    if found not in self.seen:
                        self.seen.append(found)
                    self._looked.set()
                    if is_in_the_middle:
                        self.looks_in_the_middle += 1
                    if self.looks_in_the_middle == 5:
                        Path(f"wish {self._waiting}").unlink(missing_ok=True)
        except BaseException as exc:  # noqa: BLE001 - for the thread that asks
            self.error = exc
            self._looked.set()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read until the block ends, and once before it begins."""
        self._thread.start()
        assert self._looked.wait(PATIENCE)
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()
        if self.error is not None:
            raise self.error
