"""Values as the page shows them."""

from __future__ import annotations

import datetime
from typing import Any

import sqlalchemy as sa

from ozelot.orm.run import utc_now
from ozelot.orm.shown import is_secret

_LONGEST = 200  # characters of a value
HIDDEN = "[hidden]"


def is_hidden(column: sa.Column[Any]) -> bool:
    """Whether the values of a column are not to be shown: its model says so, or its name."""
    return bool(column.info.get("hidden")) or is_secret(column.name)


def value(found: Any) -> str:
    """A value in a cell: of a long one the beginning, of bytes how many."""
    if isinstance(found, bytes | bytearray | memoryview):
        return f"{len(found):,} bytes"
    text = str(found)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def named(text: str, longest: int = _LONGEST) -> str:
    """A name or a reason in a line: of a long one the beginning, and one that nobody would see in quotes."""
    cut = text if len(text) <= longest else f"{text[:longest]}…"
    return cut if cut.strip() or not cut else f'"{cut}"'


def ago(when: datetime.datetime, now: datetime.datetime | None = None) -> str:
    """How long ago a moment is, in one unit.

    >>> ago(datetime.datetime(2026, 1, 1), datetime.datetime(2026, 1, 3))
    '2 days ago'
    """
    seconds = ((now or utc_now()) - when).total_seconds()
    if seconds < 0:
        return "in the future"
    if seconds < 10:
        return "just now"
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size:
            number = int(seconds // size)
            return f"{number:,} {name}{'' if number == 1 else 's'} ago"
    return "just now"
