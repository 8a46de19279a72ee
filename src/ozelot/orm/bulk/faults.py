"""Bad rows in words."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from typing import Any

from ozelot.errors import LoadError

_NAMED = 5  # rows
_LONGEST = 40  # characters of a value that are shown
_SECRET = re.compile(r"passw|secret|token", re.I)


def shown(name: str, value: Any) -> str:
    """A value in a message: shortened, and not at all where its name says that it is secret."""
    if _SECRET.search(name):
        return "[hidden]"
    text = _text(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_text, value))})"
    if isinstance(value, datetime.date | datetime.time):
        return str(value)
    return ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)


def bad_rows(where: str, faults: Sequence[tuple[int, str, Any]]) -> LoadError:
    """The error for rows that do not fit.

    Args:
        where: ``Model.attribute``.
        faults: position in the input, what is wrong, and the value, of each bad row; the first few are named.
    """
    by_reason: dict[str, list[str]] = {}
    for position, reason, value in faults[:_NAMED]:
        by_reason.setdefault(reason, []).append(f"row {position} ({shown(where, value)})")
    told = "; ".join(f"{reason} in {', '.join(rows)}" for reason, rows in by_reason.items())
    more = f" and {len(faults) - _NAMED:,} more" if len(faults) > _NAMED else ""
    return LoadError(f"{where}: {told}{more}. Rows are counted from 0; nothing of this load is in the database")
