"""A reader that looks at the database all the time, while somebody else writes there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.crash.contents import Contents, contents
from tests.crash.databases import Database


class Reader:
    """What was seen.

    Attributes:
        looks: how often it looked.
        seen: in what the rows differed from what was expected, at the first look where they did.
    """

    def __init__(self) -> None:
        self.looks = 0
        self.seen: list[str] = []


@contextmanager
def watched(database: Database, expected: Contents) -> Iterator[Reader]:
    """Look at the rows (not at markers and runs) again and again until the block ends; twice at least."""
    reader = Reader()
    over = threading.Event()
    failed: list[BaseException] = []

    def look() -> None:
        try:
            while not reader.seen:
                last = over.is_set()
                now = contents(database)
                reader.seen = Contents(now.rows, expected.complete, expected.made).differences(expected)
                reader.looks += 1
                if last:
                    return
        except BaseException as exc:  # noqa: BLE001 - raised again below, in the thread that waits
            failed.append(exc)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield reader
    finally:
        over.set()
        thread.join()
    if failed:
        raise failed[0]
