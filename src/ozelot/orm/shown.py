"""Values in messages: short, in one line, and not at all where they are secret."""

from __future__ import annotations

import datetime
import re
from typing import Any

_LONGEST = 40  # characters of a value that are shown
_SECRET = re.compile(r"passw|secret|token", re.I)


def is_secret(name: str) -> bool:
    """Whether a name says that values are not to be shown."""
    return _SECRET.search(name) is not None


def shown(name: str, value: Any) -> str:
    """A value in a message: shortened, and not at all where its name says that it is secret."""
    if is_secret(name):
        return "[hidden]"
    text = _text(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_text, value))})"
    if isinstance(value, datetime.date | datetime.time):
        return str(value)
    return ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
