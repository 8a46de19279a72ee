"""A gate that lets several processes go on at the same moment, once all of them have come to it.

Whoever holds the gate has a lock on its file; those who come to it wait for that lock. Should the holder die, its lock
is gone, and nobody waits for ever.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import waiting

#: Names the file of the gate.
VARIABLE = "OZELOT_TEST_GATE"

PATIENCE = 120.0  # seconds


def until(is_so: Callable[[], bool], what: str) -> None:
    """Wait until something is so, with the patience of a race."""
    waiting.until(is_so, what, seconds=PATIENCE, pause=0.002)


def come() -> None:
    """Say that this process has come to the gate, and wait until it opens; without a gate, do nothing."""
    if VARIABLE not in os.environ:
        return
    path = Path(os.environ.pop(VARIABLE))  # processes that this one starts do not come to it
    with path.open("rb") as gate:
        Path(f"{path}.{os.getpid()}").touch()
        fcntl.flock(gate, fcntl.LOCK_SH)


@contextmanager
def closed(path: Path) -> Iterator[None]:
    """Hold the gate; it opens at the end."""
    with path.open("wb") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        yield


def has_come(path: Path, process: int) -> bool:
    """Whether a process waits at the gate."""
    return Path(f"{path}.{process}").exists()
