"""A copy of an SQLite database, beside it."""

from __future__ import annotations

import contextlib
import datetime
import sqlite3
from pathlib import Path

from ozelot.errors import UpgradeRefused


def backup(path: Path, now: datetime.datetime) -> Path:
    """Copy what is committed in an SQLite database.

    Args:
        path: of the database.
        now: the time that the name of the copy tells.

    Returns:
        The path of the copy, beside the database.

    Raises:
        UpgradeRefused: it cannot be written.
    """
    name = f"{path.stem}-before-{now:%Y%m%d-%H%M%S}"
    number = 1
    copy = path.with_name(f"{name}{path.suffix}")
    while copy.exists():
        number += 1
        copy = path.with_name(f"{name}-{number}{path.suffix}")
    unfinished = copy.with_name(f"{copy.name}.part")
    try:
        with (
            contextlib.closing(sqlite3.connect(path)) as source,
            contextlib.closing(sqlite3.connect(unfinished)) as target,
        ):
            source.backup(target)
        unfinished.replace(copy)
    except (sqlite3.Error, OSError) as exc:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise UpgradeRefused(f"Nothing was changed: no backup could be written to {copy} ({exc})") from exc
    return copy
