"""Values in messages: short, in one line, and not at all where they are secret."""

from __future__ import annotations

import datetime
import re
from typing import Any

_LONGEST = 40  # characters of a value that are shown
_NOUNS = {
    **{"str": "string", "int": "integer", "bool": "boolean", "float": "float", "NotStored": "time"},
    **{"date": "date", "datetime": "datetime", "time": "time", "timedelta": "timedelta"},
}
_SECRET = re.compile(r"passw|secret|token", re.I)


def is_secret(name: str) -> bool:
    """Whether a name says that values are not to be shown."""
    return _SECRET.search(name) is not None


def shown(name: str, value: Any, longest: int = _LONGEST) -> str:
    """A value in a message: shortened, and not at all where its name says that it is secret."""
    if is_secret(name):
        return "[hidden]"
    text = _text(value)
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def shown_with_type(name: str, value: Any) -> str:
    """A value with its type, as messages name it: ``the string '2.185'``."""
    if value is None:
        return "None"
    kind = type(value)
    noun = _NOUNS.get(kind.__name__, kind.__name__)
    if is_secret(name):
        return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun} {shown(name, value)}"
    text = shown(name, value)
    return text if text.startswith((f"{kind.__name__}(", "np.")) else f"the {noun} {text}"


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_text, value))})"
    if isinstance(value, datetime.date | datetime.time):
        return str(value)
    return ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
