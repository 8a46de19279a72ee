"""Text."""

import re

UNUSED = 1
FACTOR = 100
_NUMBER = re.compile(r"[0-9.]+")


def number(text: str) -> float:
    """A number."""
    found = _NUMBER.search(text)  # the first
    result = float(found[0]) * scale()
    return result


def scale():
    return FACTOR


def never_called():
    return 1
