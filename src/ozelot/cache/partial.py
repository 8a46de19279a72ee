"""Answers with a part of the content (206), and what they say of it in ``Content-Range``."""

from __future__ import annotations

import re
from typing import NamedTuple

from ozelot.cache.request import Answer, Request, Unreachable

PARTIAL_CONTENT = 206


class ContentRange(NamedTuple):
    """A part, in bytes: the first and the last, and the size of the whole content; None where the server omits it."""

    first: int
    last: int
    total: int | None


def content_range(header: str | None) -> ContentRange | None:
    """The header ``Content-Range``; None where it is missing or makes no sense."""
    found = re.fullmatch(r"\s*bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18}|\*)\s*", header or "", re.IGNORECASE | re.ASCII)
    if found is None:
        return None
    parts = ContentRange(int(found[1]), int(found[2]), None if found[3] == "*" else int(found[3]))
    is_valid = parts.first <= parts.last and (parts.total is None or parts.last < parts.total)
    return parts if is_valid else None


def check_partial(request: Request, answer: Answer) -> None:
    """Check that a partial answer is what was requested.

    Raises:
        Unreachable: all of the page was requested, or another part.
    """
    if answer.status != PARTIAL_CONTENT:
        return
    requested = next((value for name, value in request.headers.items() if name.lower() == "range"), None)
    if requested is None:
        raise Unreachable("the server sent a part of it (HTTP status 206), but all of it was requested", again=False)
    one = re.fullmatch(r"\s*bytes\s*=\s*(\d{1,18})-(\d{0,18})\s*", requested, re.ASCII)
    sent = next((value for name, value in answer.headers.items() if name.lower() == "content-range"), None)
    if one is not None:
        found = content_range(sent)
        last = int(one[2]) if one[2] else None
        if found is None or found.first != int(one[1]) or (last is not None and found.last > last):
            raise Unreachable(f"the server sent the part {sent!r}, but {requested!r} was requested", again=False)
